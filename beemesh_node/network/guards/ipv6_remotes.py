"""A connection over IPv6 does not know its remote address: the library takes only addresses of two parts for some.

Then beats have no place to be sent to, and all strangers that come by IPv6 share the bounds of one. Guarded by reading
the host and the port from what the system says, of which IPv6 adds a flow and a scope.
"""

from contextlib import suppress

from beemesh_node.network.guards import Substitution
from beemesh_node.network.library import tcp_module


class StreamOfAnyFamily(tcp_module.TrioTCPStream):  # type: ignore[misc]
    """A TCP connection that knows its remote address whatever its family."""

    _cached_remote_address: tuple[str, int] | None

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port, None if they were never asked for while the connection was open."""
        if self._cached_remote_address is None:
            with suppress(OSError):
                host, port, *_ = self.stream.socket.getpeername()
                self._cached_remote_address = host, port
        return self._cached_remote_address


SUBSTITUTION = Substitution(
    "ipv6-remotes",
    tcp_module,
    "TrioTCPStream",
    StreamOfAnyFamily,
    ("libp2p.io.trio.TrioTCPStream.get_remote_address", "libp2p.transport.tcp.tcp.TCP.dial"),
)
