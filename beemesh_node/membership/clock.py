"""Mesh time: this machine's monotonic clock plus the median offset of what signed replies of others say.

The clock of the operating system is never believed and never set: a machine that wakes up in 1970 takes part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median_low

from beemesh_node.protocol.ids import MachineId

MAX_SAMPLES = 64
"""Offsets of so many machines are kept, the latest."""


AGREE_MS = 60_000
"""Opinions that lie within this of the median confirm it."""


@dataclass
class MeshClock:
    """Turns `now` (float seconds, monotonic) into mesh time (integer ms since the Unix epoch).

    `floor_ms` is the greatest confirmed mesh time that was ever persisted here: time never falls below it.
    `fallback_ms` is what the operating system says mesh time was at `now` = 0. Where that is plausible it is one
    opinion among those of the machines that were met, so that the first one met cannot set the time by itself.
    """

    floor_ms: int
    fallback_ms: int
    fallback_plausible: bool = True
    _offsets: dict[MachineId, int] = field(default_factory=dict)
    _last_ms: int = 0
    _confirmed: bool = False

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
    def known(self) -> bool:
        """Whether there is any opinion on the time at all."""
        return bool(self._opinions)

    @property
    def confirmed(self) -> bool:
        """Whether at least two opinions agree on the time."""
        median = self.offset_ms
        return sum(abs(opinion - median) <= AGREE_MS for opinion in self._opinions) >= 2

    @property
    def offset_ms(self) -> int:
        """Mesh time at `now` = 0, before floor and monotony: the (low) median, so that a minority cannot move it."""
        return median_low(self._opinions) if self._opinions else self.fallback_ms

    def time_ms(self, now: float) -> int:
        """Return mesh time. Once confirmed it does not run backwards: where the median falls, time stands meanwhile.

        It may fall once, when it is confirmed: what was said before was one opinion.
        """
        if not self._confirmed and self.confirmed:
            self._confirmed, self._last_ms = True, 0
        self._last_ms = max(self._last_ms, self.floor_ms, self.offset_ms + round(now * 1000))
        return self._last_ms

    @property
    def _opinions(self) -> tuple[int, ...]:
        own = (self.fallback_ms,) if self.fallback_plausible else ()
        return (*self._offsets.values(), *own)
