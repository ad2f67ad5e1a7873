"""An inbound connection holds its slot until the swarm stops: after as many as there are slots, the node is deaf.

The library's handler of an inbound connection parks until the end of the swarm. Guarded by letting it fail, which it
catches, as soon as its connection is closed.
"""

from typing import Any

from beemesh_node.network.guards import Guard


class ReturnedSlots:
    """Overrides `Swarm`."""

    async def upgrade_inbound_raw_conn(self, raw_conn: Any, maddr: Any) -> Any:
        """Serve the connection to its end, and then fail."""
        muxed = await super().upgrade_inbound_raw_conn(raw_conn, maddr)  # type: ignore[misc]
        await muxed.event_shutting_down.wait()
        raise ConnectionError("the inbound connection ended")


GUARD = Guard(
    "inbound-slots",
    ReturnedSlots,
    (
        "libp2p.network.swarm.Swarm.upgrade_inbound_raw_conn",
        "libp2p.network.swarm.Swarm._do_handle_inbound_connection",
        "libp2p.network.swarm.Swarm._handle_inbound_connection",
    ),
)
