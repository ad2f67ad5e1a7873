"""A rebooted peer stays unreachable: gossip and new streams go on using its connection of before, which nobody answers.

A machine that lost power said no farewell, so its old connection looks alive until keepalive finds out. Guarded by
asking every older connection of a peer for a sign of life as soon as a newer one is admitted.
"""

from typing import Any

import trio

from beemesh_node.network.guards import Guard
from beemesh_node.network.library import BaseLibp2pError

_SIGN_OF_LIFE = 2.0
"""Seconds for an older connection to answer."""


class ReapedConnections:
    """Overrides `MeshSwarm`."""

    background_nursery: trio.Nursery
    contained: Any

    async def notify_connected(self, conn: Any) -> None:
        """Announce the connection, and ask the peer's older ones for a sign of life."""
        await super().notify_connected(conn)  # type: ignore[misc]
        for older in self.get_connections(conn.muxed_conn.peer_id):  # type: ignore[attr-defined]
            if older is not conn and not older.muxed_conn.event_shutting_down.is_set():
                self.background_nursery.start_soon(self._reap, older)

    async def _reap(self, connection: Any) -> None:
        try:
            if await connection.muxed_conn.answers(_SIGN_OF_LIFE) or connection.muxed_conn.event_shutting_down.is_set():
                return
            self.contained("stale-connections", TimeoutError("an older connection is dead"))
            await connection.close()
        except (BaseLibp2pError, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return  # it went by itself


GUARD = Guard("stale-connections", ReapedConnections, ("libp2p.network.swarm.Swarm.add_conn",))
