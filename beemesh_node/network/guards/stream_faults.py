"""An exception in the handler of one stream, or in choosing its protocol, ends the swarm and with it the process.

Bytes that are not UTF-8 where a protocol's name is expected are enough. Guarded by ending only that stream.
"""

from typing import Any

from beemesh_node.network.frames import STREAM_ERRORS, Libp2pFrameStream
from beemesh_node.network.guards import Guard


class ContainedStreams:
    """Overrides `HostFacade`."""

    contained: Any

    async def accept(self, stream: Any) -> None:
        """Serve one inbound stream, whatever it brings."""
        try:
            await super().accept(stream)  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001
            if not isinstance(error, STREAM_ERRORS) or isinstance(error, ValueError):
                self.contained("stream-faults", error)
            await Libp2pFrameStream(stream, stream.muxed_conn.peer_id).reset()


GUARD = Guard(
    "stream-faults",
    ContainedStreams,
    (
        "libp2p.network.connection.swarm_connection.SwarmConn._handle_muxed_stream",
        "libp2p.protocol_muxer.multiselect.Multiselect.negotiate",
    ),
)
