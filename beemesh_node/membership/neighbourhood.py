"""Who is close to whom among many machines, without looking at all of them: for who watches whom.

The positions of all machines are kept in order. Machines that share the first bits of their position lie side by side,
so that a half of any range holds what is closer to a key than the other half, by the XOR metric of `closeness`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from beemesh_node.membership.closeness import position
from beemesh_node.protocol.ids import MachineId


@dataclass
class Neighbourhood:
    """A set of machines, ordered by position."""

    _positions: list[int] = field(default_factory=list)
    _machines: dict[int, MachineId] = field(default_factory=dict)

    def add(self, machine: MachineId) -> bool:
        """Take a machine in; False if it is in."""
        place = position(machine)
        if place in self._machines:
            return False
        self._machines[place] = machine
        insort(self._positions, place)
        return True

    def discard(self, machine: MachineId) -> bool:
        """Leave a machine out; False if it is not in."""
        place = position(machine)
        if self._machines.pop(place, None) is None:
            return False
        del self._positions[bisect_left(self._positions, place)]
        return True

    def closest(self, machine: MachineId, count: int) -> tuple[MachineId, ...]:
        """Return the `count` machines that are closest to a machine, the closest first, itself left out."""
        others = (found for found in self._by_distance(position(machine)) if found != machine)
        return tuple(islice(others, count))

    def watched_by(self, machine: MachineId, count: int) -> frozenset[MachineId]:
        """Return the machines of which this one is among the `count` closest."""
        place = position(machine)
        found: set[MachineId] = set()
        low, high = 0, len(self._positions)
        while high - low > 1:
            middle, bit = self._split(low, high)
            upper = bool(place >> bit & 1)
            other = (low, middle) if upper else (middle, high)
            low, high = (middle, high) if upper else (low, middle)
            if other[1] - other[0] <= count:  # in a larger half everyone has enough that are closer
                found.update(self._machines[each] for each in self._positions[slice(*other)])
        return frozenset(target for target in found if machine in self.closest(target, count))

    def _by_distance(self, target: int) -> Iterator[MachineId]:
        ranges = [(0, len(self._positions))] if self._positions else []
        while ranges:
            low, high = ranges.pop()
            if high - low == 1:
                yield self._machines[self._positions[low]]
                continue
            middle, bit = self._split(low, high)
            halves = [(low, middle), (middle, high)]
            ranges += halves if target >> bit & 1 else reversed(halves)

    def _split(self, low: int, high: int) -> tuple[int, int]:
        """Return where the first bit changes in which the positions of a range differ, and its number."""
        first, last = self._positions[low], self._positions[high - 1]
        bit = (first ^ last).bit_length() - 1
        return bisect_left(self._positions, last >> bit << bit, low, high), bit

    def __contains__(self, machine: MachineId) -> bool:
        return position(machine) in self._machines

    def __len__(self) -> int:
        return len(self._positions)
