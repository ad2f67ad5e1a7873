"""Two connections to a peer at once register it with gossip twice: the first sending task waits for ever.

Both registrations pass the check that the peer is new, and the second overwrites the queue that the first one's task
reads. Guarded by letting one finish before the other checks.
"""

from typing import Any
from weakref import WeakValueDictionary

import trio

from beemesh_node.network.guards import Guard


class SingleRegistration:
    """Overrides `Pubsub`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._registrations: WeakValueDictionary[Any, trio.Lock] = WeakValueDictionary()

    async def _handle_new_peer(self, peer_id: Any) -> None:
        lock = self._registrations.get(peer_id)
        if lock is None:
            lock = self._registrations[peer_id] = trio.Lock()
        async with lock:
            await super()._handle_new_peer(peer_id)  # type: ignore[misc]


GUARD = Guard("double-registration", SingleRegistration, ("libp2p.pubsub.pubsub.Pubsub._handle_new_peer",))
