"""A peer whose clock went back (a Raspberry Pi has none of its own) is no longer heard: all its messages are dropped.

Messages carry a signed record of the sender's addresses, numbered by its clock; one numbered lower than the last makes
the library drop the whole message. Guarded by leaving out only the record.
"""

from typing import Any

from beemesh_node.network.guards import Guard


class ToleratedRecords:
    """Overrides `PeerStore`."""

    peer_record_map: dict[Any, Any]
    contained: Any

    def consume_peer_record(self, envelope: Any, ttl: int) -> bool:
        """Take note of a peer's addresses, unless a newer note is there."""
        record = envelope.record()
        known = self.peer_record_map.get(record.peer_id)
        if known is not None and known.seq > record.seq:
            self.contained("older-records", ValueError("a peer's address record is older than the one before"))
            return True
        accepted: bool = super().consume_peer_record(envelope, ttl)  # type: ignore[misc]
        return accepted


GUARD = Guard(
    "older-records",
    ToleratedRecords,
    (
        "libp2p.peer.peerstore.PeerStore.consume_peer_record",
        "libp2p.pubsub.utils.maybe_consume_signed_record",
        "libp2p.kad_dht.utils.maybe_consume_signed_record",
    ),
)
