"""TCP as this node listens on it, and the steps from it to a multiplexed connection. Imports libp2p; see `library`."""

import errno
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from beemesh_node.network.addresses import parse
from beemesh_node.network.library import (
    TCP,
    YAMUX,
    Multiaddr,
    MultiselectClientError,
    MultiselectError,
    MuxerUpgradeFailure,
    OpenConnectionError,
    TransportUpgrader,
    tcp_module,
)

_BACKLOG = 128


class MeshListener:
    """Accepts TCP connections for the swarm.

    libp2p's own listener differs in two ways that matter: it runs as a system task, in which any exception ends the
    whole process, and it shares its port (SO_REUSEPORT), so that a second daemon silently takes half of the
    connections.
    """

    background_nursery: trio.Nursery

    def __init__(self, handler: Callable[[Any], Awaitable[None]], taken: list[str]) -> None:
        """`taken` gets each address of which the port is in use."""
        self._handler, self._taken = handler, taken
        self._listeners: list[trio.SocketListener] = []
        self._scope = trio.CancelScope()

    async def listen(self, maddr: Any) -> None:
        """Bind and accept; raises OpenConnectionError with the system's reason."""
        address = parse(str(maddr))
        try:
            listeners = await trio.open_tcp_listeners(address.port, host=address.host, backlog=_BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                self._taken.append(str(address))
            raise OpenConnectionError(f"cannot listen on {address}: {error}") from error
        self._listeners += listeners
        self.background_nursery.start_soon(self._accept, listeners)

    async def _accept(self, listeners: list[trio.SocketListener]) -> None:
        with self._scope:
            await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        await self._handler(tcp_module.TrioTCPStream(stream))  # as the guards have it

    def get_addrs(self) -> tuple[Any, ...]:
        """The addresses bound, with their true ports."""
        bound = [listener.socket.getsockname() for listener in self._listeners]
        return tuple(Multiaddr(f"/ip{6 if ':' in name[0] else 4}/{name[0]}/tcp/{name[1]}") for name in bound)

    async def close(self) -> None:
        """Stop accepting; connections already made go on."""
        self._scope.cancel()
        for listener in self._listeners:
            await listener.aclose()
        self._listeners.clear()


class MeshTCP(TCP):  # type: ignore[misc]
    """libp2p's TCP transport with our listener."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[str] = []
        """Addresses that could not be listened on because their port is in use."""

    def create_listener(self, handler_function: Callable[[Any], Awaitable[None]]) -> MeshListener:
        """A listener that hands what it accepts to `handler_function`."""
        return MeshListener(handler_function, self.taken)


class MeshUpgrader(TransportUpgrader):  # type: ignore[misc]
    """Upgrades to our guarded Yamux; libp2p's own takes the plain class whatever it is given."""

    def __init__(self, security: dict[str, Any], muxer: Any) -> None:
        super().__init__(security, {YAMUX: muxer})
        self._muxer = muxer

    async def upgrade_connection(self, conn: Any, peer_id: Any) -> Any:
        """Agree on Yamux; raises MuxerUpgradeFailure."""
        try:
            await self.muxer_multistream.select_transport(conn)
        except (MultiselectError, MultiselectClientError) as error:
            raise MuxerUpgradeFailure(f"{peer_id} does not speak Yamux") from error
        return self._muxer(conn, peer_id, is_initiator=conn.is_initiator)
