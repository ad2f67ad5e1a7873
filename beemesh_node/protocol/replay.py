"""What has been received, so that nothing is received twice. Both windows are bounded and say so when they are full.

A look-up changes nothing; only a message whose signature held is inserted.
"""

from collections import Counter, OrderedDict, deque
from typing import Final, final

from beemesh_node.protocol.counters import Refusal
from beemesh_node.protocol.ids import Fingerprint

FRESHNESS_MS: Final = 30_000
"""How far the time of a broadcast may be from mesh time, either way."""
BROADCAST_MEMORY_MS: Final = 60_000
"""How long a broadcast is remembered: as long as any time at which it would still be fresh."""
MAX_BROADCASTS: Final = 32_768
"""Broadcasts that are remembered at most."""
MAX_BROADCASTS_OF_SENDER: Final = 1_024
"""Broadcasts of one sender that are accepted within `BROADCAST_MEMORY_MS`, so that none can fill the window alone."""
MAX_DIRECT: Final = 16_384
"""Direct messages that are remembered at most."""
MAX_FLOORS: Final = 4_096
"""Senders of whom it is known which of their messages have been forgotten."""


@final
class DirectWindow:
    """Messages to this member in its present session.

    A session lasts as long as the daemon, so that something must be forgotten one day. With the oldest entry its time
    becomes its sender's floor, and what that sender stamped at or before its floor is refused from then on: it may have
    been received. Times are compared with others of the same sender only, so that no clock is needed, and a sender
    that stamps wildly harms itself alone. When there are too many floors the lowest becomes everybody's.
    """

    def __init__(self, capacity: int = MAX_DIRECT, max_floors: int = MAX_FLOORS) -> None:
        self._capacity, self._max_floors = capacity, max_floors
        self._seen: OrderedDict[tuple[Fingerprint, bytes], int] = OrderedDict()
        self._floors: dict[Fingerprint, int] = {}
        self._common_floor = -1

    def look_up(self, sender: Fingerprint, message_id: bytes, time: int) -> Refusal | None:
        """Return why the message cannot be new, or None."""
        if (sender, message_id) in self._seen:
            return Refusal.REPLAYED
        if time <= max(self._floors.get(sender, -1), self._common_floor):
            return Refusal.BEYOND_WINDOW
        return None

    def insert(self, sender: Fingerprint, message_id: bytes, time: int) -> None:
        """Remember a message."""
        self._seen[sender, message_id] = time
        if len(self._seen) > self._capacity:
            (oldest, _), floor = self._seen.popitem(last=False)
            self._floors[oldest] = max(floor, self._floors.get(oldest, -1))
        if len(self._floors) > self._max_floors:
            lowest = min(self._floors, key=self._floors.__getitem__)
            self._common_floor = max(self._common_floor, self._floors.pop(lowest))


@final
class BroadcastWindow:
    """Messages to all members. Times are ms of mesh time, which is taken never to go back."""

    def __init__(
        self, started_at: int, capacity: int = MAX_BROADCASTS, capacity_of_sender: int = MAX_BROADCASTS_OF_SENDER
    ) -> None:
        """`started_at`: what was stamped before is refused, since it may have been received by an earlier life."""
        self._started_at = started_at
        self._capacity, self._capacity_of_sender = capacity, capacity_of_sender
        self._now = started_at
        self._seen: set[tuple[Fingerprint, bytes]] = set()
        self._received: deque[tuple[int, Fingerprint, bytes]] = deque()
        self._of_sender: Counter[Fingerprint] = Counter()

    def advance(self, now: int) -> None:
        """Forget what is over. A `now` that goes back is not followed: what was stale stays stale."""
        self._now = max(self._now, now)
        while self._received and self._received[0][0] < self._now - BROADCAST_MEMORY_MS:
            _, sender, message_id = self._received.popleft()
            self._seen.remove((sender, message_id))
            self._of_sender[sender] -= 1
            if not self._of_sender[sender]:
                del self._of_sender[sender]

    def freshness(self, time: int) -> Refusal | None:
        """Return why a message stamped `time` is not of now, or None."""
        if time < self._started_at:
            return Refusal.BEFORE_START
        if time < self._now - FRESHNESS_MS:
            return Refusal.STALE
        if time > self._now + FRESHNESS_MS:
            return Refusal.FROM_FUTURE
        return None

    def look_up(self, sender: Fingerprint, message_id: bytes) -> Refusal | None:
        """Return why the message cannot be new, or cannot be remembered, or None."""
        if (sender, message_id) in self._seen:
            return Refusal.REPLAYED
        if len(self._seen) >= self._capacity or self._of_sender[sender] >= self._capacity_of_sender:
            return Refusal.WINDOW_FULL
        return None

    def insert(self, sender: Fingerprint, message_id: bytes) -> None:
        """Remember a message that `look_up` did not refuse."""
        self._seen.add((sender, message_id))
        self._received.append((self._now, sender, message_id))
        self._of_sender[sender] += 1
