"""What lies between machines: how long messages take, which are lost, and who is cut off from whom."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from beemesh_node.protocol.ids import MachineId


@dataclass(frozen=True, slots=True)
class Faults:
    """What the network does to messages. Delays in seconds, the rest as shares of 1.

    Delays are drawn for each message alone, so that messages overtake each other.
    """

    least_delay: float = 0.002
    most_delay: float = 0.01
    """Most messages take between these two, evenly spread."""
    straggling: float = 0.0
    """Share of messages that take longer …"""
    straggler_delay: float = 1.0
    """… by an exponentially distributed time with this mean."""
    drop: float = 0.0
    duplicate: float = 0.0

    def delay(self, draw: random.Random) -> float:
        """Draw how long one message takes."""
        delay = self.least_delay + (self.most_delay - self.least_delay) * draw.random()
        if self.straggling and draw.random() < self.straggling:
            delay += draw.expovariate(1 / self.straggler_delay)
        return delay


@dataclass
class Network:
    """Which links carry nothing. A message needs its link open when it arrives."""

    _cut: set[tuple[MachineId, MachineId]] = field(default_factory=set)
    """From, to."""
    _island: dict[MachineId, int] = field(default_factory=dict)
    """Those that are not in it are on the mainland, island 0."""
    _mute: set[int] = field(default_factory=set)
    """Islands that hear the others and are not heard by them."""
    _islands: int = 0

    def cut(self, one: MachineId, other: MachineId, *, one_way: bool = False) -> None:
        """Let nothing through between two machines, or only nothing from `one` to `other`."""
        self._cut.add((one, other))
        if not one_way:
            self._cut.add((other, one))

    def restore(self, one: MachineId, other: MachineId) -> None:
        """Let everything through between two machines that share an island."""
        self._cut.discard((one, other))
        self._cut.discard((other, one))

    def part(self, machines: Iterable[MachineId], *, mute: bool = False) -> int:
        """Make an island of machines and return its number; of a mute one nothing gets out, but all gets in."""
        self._islands += 1
        self._island.update(dict.fromkeys(machines, self._islands))
        if mute:
            self._mute.add(self._islands)
        return self._islands

    def join(self, island: int) -> None:
        """Make the machines of an island part of the mainland again."""
        self._mute.discard(island)
        self._island = {machine: number for machine, number in self._island.items() if number != island}

    def mend(self) -> None:
        """Let everything through again."""
        self._cut.clear()
        self._island.clear()
        self._mute.clear()

    def passes(self, source: MachineId, target: MachineId) -> bool:
        """Whether anything gets through from one machine to another."""
        return (source, target) not in self._cut and self.hears(target, source)

    def hears(self, listener: MachineId, speaker: MachineId) -> bool:
        """Whether what a machine tells everybody reaches another: over third ones, whatever single links are cut."""
        if not self._island:
            return True
        here, there = self._island.get(listener, 0), self._island.get(speaker, 0)
        return here == there or (bool(self._mute) and there not in self._mute and here in self._mute)

    @property
    def whole(self) -> bool:
        """Whether every link carries."""
        return not self._cut and not self._island
