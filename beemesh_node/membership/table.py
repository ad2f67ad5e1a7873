"""The members of the mesh as this machine sees them: a list from presence, and when each was last heard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from beemesh_node.membership.cadence import lifetime
from beemesh_node.membership.closeness import guardians_of
from beemesh_node.membership.followed import Followed
from beemesh_node.membership.member import Member
from beemesh_node.protocol.ids import MachineId

MAX_MEMBERS = 100_000
"""Presences of more machines than this are ignored."""
MAX_CACHED = 4096
"""Keys that are not followed and whose guardians are remembered until somebody comes or goes."""


class Change(Enum):
    """What a presence means for those who decide."""

    NOTHING = 0
    """As before, only later."""
    FACTS = 1
    """It has or offers something else."""
    JOINED = 2
    """It is new, or back: guardians may be others now."""


@dataclass
class MemberTable:
    """Who is here. Times are monotonic seconds."""

    me: MachineId
    least_lifetime: float = 0.0
    """Seconds for which a presence holds at least."""
    _members: dict[MachineId, Member] = field(default_factory=dict)
    _expires: dict[MachineId, float] = field(default_factory=dict)
    _version: int = 0
    _followed: Followed = field(default_factory=Followed)
    _cached: dict[tuple[str, int], tuple[int, tuple[MachineId, ...]]] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """Grows when who is a member, or who may be a guardian, changes."""
        return self._version

    def seen(self, member: Member, now: float) -> Change:
        """Take in a presence: the member is alive for three of its periods."""
        known = self._members.get(member.machine)
        if known is None and len(self._members) >= MAX_MEMBERS:
            return Change.NOTHING
        self._members[member.machine] = member
        self._expires[member.machine] = now + lifetime(member.period, self.least_lifetime)
        if known is None or known.guardian != member.guardian:
            self._version += 1
            if known is not None:
                self._followed.left(known)
            self._followed.joined(member)
            return Change.JOINED
        return Change.NOTHING if known == member else Change.FACTS

    def remove(self, machine: MachineId) -> bool:
        """Strike off a machine that is gone. False if it was none. This machine itself is never struck off."""
        if machine == self.me or (member := self._members.pop(machine, None)) is None:
            return False
        del self._expires[machine]
        self._version += 1
        self._followed.left(member)
        return True

    def expiry(self, machine: MachineId) -> float | None:
        """Return when a machine counts as gone if nothing more is heard of it; None if it is no member."""
        return self._expires.get(machine)

    def follow(self, key: str, count: int) -> None:
        """Keep account of the guardians of a key from now on, so that `moved` tells when they change."""
        self._followed.follow(key, count, self._members.values())

    def unfollow(self, key: str) -> None:
        """Keep account of a key no more."""
        self._followed.unfollow(key)

    def moved(self) -> list[str]:
        """Return the followed keys whose guardians have changed since this was last asked."""
        return self._followed.moved()

    def guardians(self, key: str, count: int) -> tuple[MachineId, ...]:
        """Return the guardians of `key`, by rank."""
        if (found := self._followed.guardians(key, count, self._members.values())) is not None:
            return found
        cached = self._cached.get((key, count))
        if cached is None or cached[0] != self._version:
            if len(self._cached) >= MAX_CACHED:
                self._cached.clear()
            cached = (self._version, guardians_of(key, self._members.values(), count))
            self._cached[key, count] = cached
        return cached[1]

    @property
    def members(self) -> Mapping[MachineId, Member]:
        """Everyone who is here."""
        return self._members

    def get(self, machine: str) -> Member | None:
        """Return a member that is here, or None."""
        return self._members.get(MachineId(machine))

    def __contains__(self, machine: object) -> bool:
        return machine in self._members

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def __len__(self) -> int:
        return len(self._members)
