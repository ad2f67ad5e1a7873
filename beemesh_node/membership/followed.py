"""The guardians of keys that somebody is responsible for, kept up as machines come and go.

Choosing guardians anew means looking at every member for every key. Here a change costs one comparison a key: of each
key a few more than its guardians are known, in order, so that a machine that goes leaves enough of them.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from beemesh_node.membership.closeness import guardians_of, position
from beemesh_node.membership.member import Member
from beemesh_node.protocol.ids import MachineId

SPARE = 5
"""Machines beyond the guardians that are kept in order for each key."""


@dataclass(slots=True)
class _Closest:
    """The machines closest to a key, the closest first."""

    target: int
    count: int
    machines: list[MachineId]

    def distance(self, machine: MachineId) -> int:
        return position(machine) ^ self.target


@dataclass
class Followed:
    """Guardians by key. Only machines that may be guardians count, or all if none may."""

    _closest: dict[str, _Closest] = field(default_factory=dict)
    _moved: dict[str, None] = field(default_factory=dict)
    _allowed: int = 0
    """Members that may be guardians."""
    _others: int = 0

    def follow(self, key: str, count: int, members: Iterable[Member]) -> None:
        """Keep account of a key; its guardians count as just changed."""
        if key not in self._closest:
            self._closest[key] = _Closest(position(key), count, list(guardians_of(key, members, count + SPARE)))
            self._moved[key] = None

    def unfollow(self, key: str) -> None:
        """Keep account of a key no more; one that is not followed is fine."""
        self._closest.pop(key, None)
        self._moved.pop(key, None)

    def guardians(self, key: str, count: int, members: Collection[Member]) -> tuple[MachineId, ...] | None:
        """Return the guardians of a key by rank; None if it is not followed with this count."""
        closest = self.closest(key, count, members)
        return tuple(closest[:count]) if closest is not None else None

    def closest(self, key: str, count: int, members: Collection[Member]) -> Sequence[MachineId] | None:
        """Return the guardians of a key and at most `SPARE` that come after them; None as in `guardians`."""
        closest = self._closest.get(key)
        if closest is None or closest.count != count:
            return None
        if len(closest.machines) < min(count, self._eligible):
            closest.machines = list(guardians_of(key, members, count + SPARE))
        return closest.machines

    def moved(self) -> list[str]:
        """Return the keys whose guardians have changed since this was last asked."""
        moved, self._moved = list(self._moved), {}
        return moved

    def joined(self, member: Member) -> None:
        """Take in a machine that was no member."""
        if member.guardian:
            self._allowed += 1
            if self._allowed == 1 and self._others:
                self._begin_anew()  # until now everybody was a guardian
        else:
            self._others += 1
            if self._allowed:
                return
        eligible = self._eligible
        for key, closest in self._closest.items():
            machines = closest.machines
            if len(machines) < eligible - 1 and (
                not machines or closest.distance(member.machine) > closest.distance(machines[-1])
            ):
                if len(machines) < closest.count:
                    self._moved[key] = None
                continue  # farther than what is known, and what lies between is not known
            insort(machines, member.machine, key=closest.distance)
            if member.machine in machines[: closest.count]:
                self._moved[key] = None
            del machines[closest.count + SPARE :]

    def left(self, member: Member) -> None:
        """Take out a machine."""
        if member.guardian:
            self._allowed -= 1
            if self._allowed == 0 and self._others:
                self._begin_anew()  # from now on everybody is a guardian
                return
        else:
            self._others -= 1
            if self._allowed:
                return
        for key, closest in self._closest.items():
            if member.machine in closest.machines:
                if closest.machines.index(member.machine) < closest.count:
                    self._moved[key] = None
                closest.machines.remove(member.machine)

    @property
    def _eligible(self) -> int:
        return self._allowed or self._others

    def _begin_anew(self) -> None:
        for key, closest in self._closest.items():
            closest.machines = []
            self._moved[key] = None
