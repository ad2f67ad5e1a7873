"""Gossip and membership of thousands of machines, without a copy of the list and a message for each pair of them.

What is modelled. All machines share one list of members; each keeps only whom it does *not* know of those in it, so
that the view of every core is exactly its own, and a calm mesh costs nothing. Gossip is a flood: what one machine tells
everybody reaches all that its island hears, whatever single links are cut, at once and without loss. A presence comes
to a core as an event where it is news to it: the machine is new or back, or it has something else to offer and the core
waits for such a machine. Silence is counted for each pair: a machine that hears nothing of another for three periods
strikes it off. What is not modelled: the facts of a machine that is cut off are seen as they are, not as last heard.

A daemon that starts knows nobody. The machines that keep connections to it speak at once, the others as their periods
have it, which is minutes in a large mesh: just so in the real one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from beemesh_node.healing.events import MemberGone, MemberSeen
from beemesh_node.membership.cadence import lifetime, presence_period
from beemesh_node.membership.closeness import guardians_of
from beemesh_node.membership.followed import Followed
from beemesh_node.membership.member import Member
from beemesh_node.membership.table import Change, MemberTable
from beemesh_node.protocol.ids import MachineId
from beemesh_node.simulation.gossip import CONNECT_TIME, Gossip
from beemesh_node.simulation.machine import Machine
from beemesh_node.simulation.world import World

CONNECTED = 64
"""Machines that keep a connection to one that has just started, and speak to it at once."""


@dataclass
class Shared:
    """The list of everybody whom anybody knows."""

    guardians: int
    members: dict[MachineId, Member] = field(default_factory=dict)
    lacking: dict[MachineId, set[MachineId]] = field(default_factory=dict)
    """Of each machine: who does not know it."""
    tables: dict[MachineId, SharedTable] = field(default_factory=dict)
    closest: Followed = field(default_factory=Followed)

    def add(self, member: Member) -> None:
        """List a machine that nobody else knows."""
        self.members[member.machine] = member
        self.closest.joined(member)
        self.lacking[member.machine] = {other for other in self.tables if other != member.machine}
        for other in self.lacking[member.machine]:
            self.tables[other].unknown.add(member.machine)

    def drop_unknown(self, machine: MachineId) -> None:
        """Take a machine off the list that nobody but itself knows any more."""
        member = self.members.pop(machine)
        self.closest.left(member)
        for other in self.lacking.pop(machine):
            self.tables[other].unknown.discard(machine)


class SharedTable(MemberTable):
    """Whom one machine knows: the shared list without whom it lacks."""

    def __init__(self, me: MachineId, shared: Shared) -> None:
        super().__init__(me)
        self.shared = shared
        self.unknown: set[MachineId] = set()
        self._guarded: dict[str, tuple[MachineId, ...]] = {}

    def seen(self, member: Member, now: float) -> Change:
        """Take in a presence; that it comes at all means that it is news."""
        machine, shared = member.machine, self.shared
        if machine not in shared.members:
            shared.add(member)
        elif machine in self.unknown:
            self.unknown.discard(machine)
            shared.lacking[machine].discard(self.me)
        else:
            return Change.FACTS
        self._version += 1
        return Change.JOINED

    def remove(self, machine: MachineId) -> bool:
        """Strike off a machine; the shared list drops one that will never be back with the last that knew it."""
        if machine == self.me or machine not in self:
            return False
        lacking = self.shared.lacking[machine]
        self.unknown.add(machine)
        lacking.add(self.me)
        self._version += 1
        if machine not in self.shared.tables and len(lacking) >= len(self.shared.tables):
            self.shared.drop_unknown(machine)
        return True

    def expiry(self, machine: MachineId) -> float | None:
        """Return None: gossip tells when a machine was silent for too long."""
        return None

    def follow(self, key: str, count: int) -> None:
        """Keep account of the guardians of a key."""
        self.shared.closest.follow(key, count, self.shared.members.values())
        self._guarded.setdefault(key, self.guardians(key, count))

    def unfollow(self, key: str) -> None:
        """Keep account of a key no more; others may go on."""
        self._guarded.pop(key, None)

    def moved(self) -> list[str]:
        """Return the followed keys whose guardians have changed."""
        found = []
        for key, known in self._guarded.items():
            guardians = self.guardians(key, self.shared.guardians)
            if guardians != known:
                self._guarded[key] = guardians
                found.append(key)
        return found

    def guardians(self, key: str, count: int) -> tuple[MachineId, ...]:
        """Return the guardians of `key`, by rank. They change only when this machine's own view does."""
        cached = self._cached.get((key, count))
        if cached is None or cached[0] != self._version:
            cached = self._cached[key, count] = (self._version, self._choose(key, count))
        return cached[1]

    def _choose(self, key: str, count: int) -> tuple[MachineId, ...]:
        closest = self.shared.closest.closest(key, count, self.shared.members.values())
        if closest is not None:
            found = [machine for machine in closest if machine not in self.unknown]
            if len(found) >= count:
                return tuple(found[:count])
        return guardians_of(key, self, count)

    @property
    def members(self) -> Mapping[MachineId, Member]:
        """Everyone whom this machine knows."""
        return {member.machine: member for member in self} if self.unknown else self.shared.members

    def get(self, machine: str) -> Member | None:
        """Return a member, or None."""
        return None if machine in self.unknown else self.shared.members.get(MachineId(machine))

    def __contains__(self, machine: object) -> bool:
        return machine in self.shared.members and machine not in self.unknown

    def __iter__(self) -> Iterator[Member]:
        members = self.shared.members.values()
        return (m for m in members if m.machine not in self.unknown) if self.unknown else iter(members)

    def __len__(self) -> int:
        return len(self.shared.members) - len(self.unknown)


@dataclass
class SharedGossip(Gossip):
    """Floods presences, and counts silence."""

    world: World
    machines: Mapping[MachineId, Machine]
    shared: Shared
    least_lifetime: float = 0.0
    """Seconds for which a presence holds at least."""
    curious: set[MachineId] = field(default_factory=set)
    """Machines whose core waits for one that can take a replica: news of what others offer matter to them."""
    _told: dict[MachineId, float] = field(default_factory=dict)
    """When each machine last spoke."""
    _deaf: dict[MachineId, dict[MachineId, float]] = field(default_factory=dict)
    """Of each machine: who did not hear it when it last spoke, and when each last did."""

    def acquaint(self) -> None:
        """Start all daemons of a mesh that came together long ago: everybody knows everybody."""
        period = presence_period(len(self.machines))
        for machine in self.machines.values():
            member = replace(machine.member, period=period)
            self.shared.members[machine.id] = member
            self.shared.closest.joined(member)
            self.shared.lacking[machine.id] = set()
        for machine in self.machines.values():
            speaks = self.world.random.uniform(0, period)
            spoke = self._told[machine.id] = speaks - period
            silent = spoke + lifetime(period, self.least_lifetime)
            self.world.at(silent, partial(self._count_silence, machine.id, spoke))
            machine.boot(speaks)

    def table(self, machine: MachineId) -> MemberTable:
        """Return a table: of everybody at the beginning, of nobody for a daemon that started later."""
        table, shared = SharedTable(machine, self.shared), self.shared
        began_before = machine in shared.tables
        shared.tables[machine] = table
        if began_before or self.world.now > 0:
            table.unknown.update(other for other in shared.members if other != machine)
            for other in table.unknown:
                shared.lacking[other].add(machine)
        return table

    def came(self, machine: Machine) -> None:
        """Have those speak to a daemon that keep connections to it."""
        if not self.shared.tables[machine.id].unknown:
            return
        near = (m for m in sorted(self.shared.members) if self._hears(machine, m))
        for other, _ in zip(near, range(CONNECTED), strict=False):
            peer = self.machines[other]
            self.world.after(self.world.random.uniform(0.01, CONNECT_TIME), peer.announce)

    def removed(self, machine: MachineId) -> None:
        """Forget whom it knew; that it is silent, the others find out."""
        for other in self.shared.tables.pop(machine).unknown:
            self.shared.lacking[other].discard(machine)
        self.curious.discard(machine)

    def resumed(self, machine: Machine) -> None:
        """Have it speak if somebody holds it dead: it hears of that."""
        if self.shared.lacking.get(machine.id):
            machine.announce()

    def looked(self, machine: Machine) -> None:
        """Note whether the core of a machine waits for others to have room."""
        if machine.core is not None and machine.core.lacks_room:
            self.curious.add(machine.id)
        else:
            self.curious.discard(machine.id)

    def reunited(self) -> None:
        """Have machines speak that can reach again who had not heard them: links have come back."""
        for machine in list(self.machines.values()):
            if self._deaf.get(machine.id) or self.shared.lacking.get(machine.id):
                self.world.after(self.world.random.uniform(0.01, CONNECT_TIME), machine.announce)

    def tell(self, machine: Machine, said: Member) -> None:
        """Flood a presence."""
        now, me = self.world.now, machine.id
        self.spoken += 1
        before, self._told[me] = self._told.get(me, now), now
        if me in self.shared.members:
            changed = self.shared.members[me] != said
            self.shared.members[me] = said
            deaf = self._deaf.setdefault(me, {})
            news = self.shared.lacking[me] | self.curious if changed else set(self.shared.lacking[me])
            if not self.world.network.whole:
                for other, peer in self.machines.items():
                    if peer.core is not None and other != me and not self._hears(peer, me):
                        deaf.setdefault(other, before)
                        news.discard(other)
                    else:
                        deaf.pop(other, None)
            else:
                deaf.clear()
            for other in sorted(news):
                if other != me:
                    self.machines[other].tell(MemberSeen(said))
        self.world.after(lifetime(said.period, self.least_lifetime), partial(self._count_silence, me, now))

    def _hears(self, listener: Machine, speaker: MachineId) -> bool:
        peer = self.machines.get(speaker)
        up = peer is not None and peer.core is not None
        return up and speaker != listener.id and self.world.network.hears(listener.id, speaker)

    def _count_silence(self, machine: MachineId, told: float) -> None:
        """Three periods after a machine spoke: who has heard nothing since, strikes it off."""
        if self._told[machine] == told:
            silent = [other for other in self.machines if other != machine]
        else:
            deaf = self._deaf.get(machine, {})
            silent = [other for other, heard in deaf.items() if heard <= told]
        for other in silent:
            if machine in self.shared.tables.get(other, ()):  # one that has never been started knows nobody
                self.machines[other].receive(partial(self._strike_off, other, machine, told))

    def _strike_off(self, other: MachineId, machine: MachineId, told: float) -> None:
        if self._told[machine] == told or self._deaf[machine].get(other, told + 1) <= told:
            self.machines[other].tell(MemberGone(machine, "nothing heard of it"))
