"""A number is kept for ever for every gossip message, although only adaptive gossip, which is off, would read it.

Guarded by shortening the list at every heartbeat.
"""

from typing import Any

from beemesh_node.network.guards import Guard

_KEPT = 100


class ShortDeliveryLog:
    """Overrides `GossipSub`."""

    recent_message_deliveries: dict[str, list[float]]

    def _periodic_security_cleanup(self) -> None:
        super()._periodic_security_cleanup()  # type: ignore[misc]
        for deliveries in self.recent_message_deliveries.values():
            del deliveries[:-_KEPT]


GUARD: Any = Guard(
    "delivery-log",
    ShortDeliveryLog,
    (
        "libp2p.pubsub.gossipsub.GossipSub._periodic_security_cleanup",
        "libp2p.pubsub.gossipsub.GossipSub.publish",
    ),
)
