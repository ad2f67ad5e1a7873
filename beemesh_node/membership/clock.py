"""Mesh time: this machine's monotonic clock plus the median offset of what signed replies of others say.

The clock of the operating system is never believed and never set: a machine that wakes up in 1970 takes part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median_low

from beemesh_node.protocol.ids import MachineId

MAX_SAMPLES = 64
"""Offsets of so many machines are kept, the latest."""


@dataclass
class MeshClock:
    """Turns `now` (float seconds, monotonic) into mesh time (integer ms since the Unix epoch).

    `floor_ms` is the greatest mesh time that was ever persisted here: time never falls below it, nor runs backwards in
    one life of the daemon. `fallback_ms` is mesh time at `now` = 0 for as long as nobody has answered (the daemon gives
    what the operating system says).
    """

    floor_ms: int
    fallback_ms: int
    _offsets: dict[MachineId, int] = field(default_factory=dict)
    _last_ms: int = 0

    def answered(self, machine: MachineId, time_ms: int, asked_at: float, answered_at: float) -> None:
        """Take in what `machine` signed as its mesh time; it is taken to have done so half way between the two moments.

        An answer that came before its question is ignored.
        """
        if answered_at < asked_at:
            return
        self._offsets.pop(machine, None)
        self._offsets[machine] = time_ms - round((asked_at + answered_at) / 2 * 1000)
        while len(self._offsets) > MAX_SAMPLES:
            del self._offsets[next(iter(self._offsets))]

    def forget(self, machine: MachineId) -> None:
        """Drop the opinion of a machine that is no member any more."""
        self._offsets.pop(machine, None)

    @property
    def has_answers(self) -> bool:
        """Whether any machine has told the time."""
        return bool(self._offsets)

    @property
    def offset_ms(self) -> int:
        """Mesh time at `now` = 0, before floor and monotony: the (low) median, so that a minority cannot move it."""
        return median_low(self._offsets.values()) if self._offsets else self.fallback_ms

    def time_ms(self, now: float) -> int:
        """Return mesh time. It does not run backwards: where the median falls, time stands until it is caught up."""
        self._last_ms = max(self._last_ms, self.floor_ms, self.offset_ms + round(now * 1000))
        return self._last_ms
