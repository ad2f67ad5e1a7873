"""Gossip to a peer stops when the connection that carries its stream is lost while another connection lives.

The library keeps one outbound stream a peer, and looks only whether the peer is connected at all. Guarded by
registering the peer anew when the connection of its stream is lost, keeping what it had subscribed to: that was said
on another stream.
"""

from typing import Any

from beemesh_node.network.guards import Guard


class FollowedStreams:
    """Overrides `Pubsub`."""

    peers: dict[Any, Any]
    peer_topics: dict[str, set[Any]]

    def connection_lost(self, peer_id: Any, connection: Any) -> None:
        """Called for every admitted connection that is lost, before the peer may be gone for good."""
        stream = self.peers.get(peer_id)
        if stream is None or stream.muxed_conn is not connection.muxed_conn:
            return
        topics = [topic for topic, peers in self.peer_topics.items() if peer_id in peers]
        self._handle_dead_peer(peer_id)  # type: ignore[attr-defined]
        if self._peer_is_connected(peer_id):  # type: ignore[attr-defined]
            for topic in topics:
                self.resubscribe(peer_id, topic)  # type: ignore[attr-defined]


GUARD = Guard(
    "dead-gossip-streams",
    FollowedStreams,
    ("libp2p.pubsub.pubsub.Pubsub._handle_dead_peer", "libp2p.pubsub.pubsub.Pubsub.handle_dead_peer_queue"),
)
