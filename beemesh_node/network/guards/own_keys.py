"""After a thousand peers were seen, the peer store evicts our own key pair, and publishing fails for ever.

It keeps those that have addresses, and we have none in it. Guarded by putting our own entry back, and by letting
expired ones go first.
"""

from typing import Any

from beemesh_node.network.guards import Guard


class KeptKeys:
    """Overrides `PeerStore`."""

    peer_data_map: dict[Any, Any]

    def _enforce_peer_limit(self) -> None:
        own = {peer: data for peer, data in self.peer_data_map.items() if data.privkey}
        for peer in [peer for peer, data in self.peer_data_map.items() if data.is_expired() and peer not in own]:
            del self.peer_data_map[peer]
        super()._enforce_peer_limit()  # type: ignore[misc]
        self.peer_data_map.update(own)


GUARD = Guard("own-keys", KeptKeys, ("libp2p.peer.peerstore.PeerStore._enforce_peer_limit",))
