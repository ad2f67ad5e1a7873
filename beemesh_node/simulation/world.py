"""Virtual time: everything that happens, happens in the order of one heap, from one seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from beemesh_node.protocol.ids import MachineId
from beemesh_node.simulation.network import Faults, Network


class LivelockError(Exception):
    """So many things happen that time does not get on: the seed and the moment are in the text."""


@dataclass(repr=False)
class World:
    """Time and the wires between machines. Seconds of virtual time begin at 0."""

    seed: int
    faults: Faults = field(default_factory=Faults)
    now: float = 0.0
    steps: int = 0
    """Things that have happened."""
    random: random.Random = field(init=False)
    network: Network = field(default_factory=Network)
    after_each: list[Callable[[], None]] = field(default_factory=list)
    """Called after each thing that happened: where invariants are checked."""
    _heap: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        # Not for secrets: a failure is to be found again from its seed.
        self.random = random.Random(self.seed)  # noqa: S311

    def at(self, moment: float, happen: Callable[[], None]) -> None:
        """Have something happen at a moment, or at once if that has passed."""
        self._count += 1
        heappush(self._heap, (max(moment, self.now), self._count, happen))

    def after(self, delay: float, happen: Callable[[], None]) -> None:
        """Have something happen in `delay` seconds."""
        self.at(self.now + delay, happen)

    def send(self, source: MachineId, target: MachineId, deliver: Callable[[], None]) -> None:
        """Bring a message over the wire: late, twice, or never, as the faults have it."""
        faults = self.faults
        copies = 2 if faults.duplicate and self.random.random() < faults.duplicate else 1
        for _ in range(copies):
            if faults.drop and self.random.random() < faults.drop:
                continue
            self.after(faults.delay(self.random), lambda: deliver() if self.network.passes(source, target) else None)

    def run(self, seconds: float, until: Callable[[], bool] | None = None, most_steps: int = 1_000_000) -> bool:
        """Let time pass, at most until `until` holds; return whether it does (True without one).

        Raises `LivelockError` after `most_steps`.
        """
        end = self.now + seconds
        limit = self.steps + most_steps
        while until is None or not until():
            if not self._heap or self._heap[0][0] > end:
                self.now = end
                return until is None or until()
            moment, _, happen = heappop(self._heap)
            self.now = moment
            self.steps += 1
            if self.steps > limit:
                raise LivelockError(f"seed {self.seed}: {most_steps} steps without an end, now {self.now:.3f} s")
            happen()
            for check in self.after_each:
                check()
        return True
