"""The swarm as this node runs it: it admits before it announces, and dials nobody on its own account. See `library`."""

from typing import Any

import trio

from beemesh_node.network.api import Limits
from beemesh_node.network.library import Swarm, SwarmException
from beemesh_node.network.links import Links


class _Idle:
    """Stands for libp2p's auto-connector and pruner, which dial and close by rules of their own."""

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""

    async def run_background_task(self, nursery: trio.Nursery) -> None:
        """Do nothing."""

    def record_disconnect(self, peer: object) -> None:
        """Do nothing."""


class MeshSwarm(Swarm):  # type: ignore[misc]
    """libp2p's swarm, whose observers hear of a connection only once its peer is admitted."""

    links: Links

    def __init__(self, *args: Any, links: Links, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.links = links
        self.limits = limits
        self.notifees.clear()  # of libp2p's own observers only a store of tags per peer is here, kept for the pruner
        self.auto_connector = _Idle()
        self.connection_pruner = _Idle()

    def _schedule_auto_connect(self) -> None:
        """Leave it to `Keeper` whom to dial."""

    def _schedule_prune(self) -> None:
        """Leave connections alone: there are never more than their bounds allow."""

    async def notify_connected(self, conn: Any) -> None:
        """Admit the peer before anyone hears of the connection; a refusal makes `add_conn` close it."""
        await self.links.admit(conn)
        if self.background_nursery is not None:
            self.background_nursery.start_soon(self._forget_when_lost, conn)
        await super().notify_connected(conn)

    async def _forget_when_lost(self, conn: Any) -> None:
        """Notice the loss at once: closing a connection properly takes libp2p another 0.2 s."""
        await conn.muxed_conn.event_shutting_down.wait()
        self.links.closed(conn)

    def remove_conn(self, swarm_conn: Any) -> None:
        """Forget the link together with the connection."""
        super().remove_conn(swarm_conn)
        self.links.closed(swarm_conn)

    async def dial_peer(self, peer_id: Any) -> list[Any]:
        """Refuse: libp2p would try one address per peer and then remember the failure for a minute (see `Dialer`)."""
        raise SwarmException(f"not connected to {peer_id}")
