"""One voter of one declaration: what it has granted, and which successors of its voter set it has signed.

Each rule below is needed: without any one of them, random walks end with two holders of one lease (tests/walks).

- A grant is exclusive until the voter's own, longer, count of its time is over.
- A restarted voter has forgotten its grants, and is silent until they must be over. What it signed it remembers.
- It follows the newest voter set that it has seen in force, and grants nothing under an older one.
- It signs one successor for each set, which differs by one voter, and that only once whatever it granted under the one
  before the present set is over: by what it counted when it followed, for grants since then end later and say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from beemesh_node.healing.leases.times import LONG_TTL, TTL, voter_seconds
from beemesh_node.healing.leases.voters import Voters, merged
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    LeaseRefusal,
    LeaseRelease,
    LeaseReply,
    LeaseRequest,
    LeaseState,
    SlotLease,
    VoterProposal,
)
from beemesh_node.protocol.voters import SlotMark


@dataclass(frozen=True, slots=True)
class LongGrant:
    """A grant that outlasts the silence of a restarted voter, and is therefore persisted."""

    slot: int
    machine: MachineId
    pod_uid: str
    round: int
    seconds: float


@dataclass(frozen=True, slots=True)
class HeldVoter:
    """What a voter persists before anything that follows from it leaves the machine."""

    uid: Uid
    number: int
    members: tuple[MachineId, ...]
    signed: tuple[MachineId, ...] = ()
    """The successor of this voter set that it has signed; empty for none."""
    marks: tuple[SlotMark, ...] = ()
    """Of every slot of which it has ever granted the lease."""
    long: tuple[LongGrant, ...] = ()


@dataclass(slots=True)
class Grant:
    """A lease as its voter counts it."""

    machine: MachineId
    pod_uid: str
    round: int
    until: float
    long: float = 0.0
    """Seconds that were asked for, if they are more than `TTL`."""


@dataclass
class Voter:
    """The voter `me`. A machine that is none (yet, or any more) keeps the same account and refuses."""

    me: MachineId
    uid: Uid
    voters: Voters
    since: float
    """When it saw the present voter set in force first, in this life of the daemon."""
    signed: frozenset[MachineId] = frozenset()
    marks: dict[int, SlotMark] = field(default_factory=dict)
    _grants: dict[int, Grant] = field(default_factory=dict)
    _former_until: float = -inf
    """When the last grant is over that it knew as it followed the present voter set, or was restarted."""
    _silent: dict[int, float] = field(default_factory=dict)
    """Until when nothing is granted of a slot."""
    _released: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Pod and round of the last release of a slot: what was asked for before comes too late."""

    @classmethod
    def restarted(cls, me: MachineId, held: HeldVoter, now: float) -> Voter:
        """Return the voter that persisted `held` in an earlier life of the daemon."""
        voter = cls(me, held.uid, Voters(held.number, frozenset(held.members)), now, frozenset(held.signed))
        voter.marks = {mark.slot: mark for mark in held.marks}
        voter._silent = dict.fromkeys(voter.marks, now + voter_seconds(TTL))
        for long in held.long:
            until = now + voter_seconds(long.seconds)
            voter._grants[long.slot] = Grant(long.machine, long.pod_uid, long.round, until, long.seconds)
        voter._former_until = voter._last_end()
        return voter

    @property
    def held(self) -> HeldVoter:
        """What is to be persisted."""
        marks = tuple(self.marks[slot] for slot in sorted(self.marks))
        long = tuple(
            LongGrant(slot, grant.machine, grant.pod_uid, grant.round, grant.long)
            for slot, grant in sorted(self._grants.items())
            if grant.long
        )
        members, signed = tuple(sorted(self.voters.members)), tuple(sorted(self.signed))
        return HeldVoter(self.uid, self.voters.number, members, signed, marks, long)

    # ---- leases

    def requested(self, machine: MachineId, request: LeaseRequest, now: float) -> LeaseReply:
        """Grant or renew a lease, or say why not."""
        mark = self.marks.get(request.slot, SlotMark(request.slot, 0))
        number = self.voters.number
        if refusal := self._refusal(machine, request, mark, now):
            grant = self._live(request.slot, now)
            holder, until = (grant.machine, grant.until) if grant is not None else ("", now)
            if refusal is LeaseRefusal.ELSEWHERE:
                holder = mark.home
            if refusal is LeaseRefusal.RESTARTED:
                until = self._silent[request.slot]
            return LeaseReply(refusal, number, mark.term, holder, _milliseconds(until - now))
        home = machine if request.binds and request.term else mark.home
        self.marks[request.slot] = SlotMark(request.slot, max(mark.term, request.term), home)
        self._grant(machine, request, now)
        return LeaseReply(LeaseRefusal.NONE, number, mark.term)

    def noted(self, mark: SlotMark) -> None:
        """Take in what a majority has granted."""
        self.marks = {each.slot: each for each in merged((*self.marks.values(), mark))}

    def released(self, machine: MachineId, release: LeaseRelease) -> None:
        """Free what was granted to a pod of `machine` up to the release's round."""
        grant, pod = self._grants.get(release.slot), (machine, release.pod_uid)
        if grant is not None and (grant.machine, grant.pod_uid) == pod and grant.round <= release.round:
            del self._grants[release.slot]
        self._released[release.slot] = (release.pod_uid, release.round)

    def _refusal(self, machine: MachineId, request: LeaseRequest, mark: SlotMark, now: float) -> LeaseRefusal:
        if not 0 < request.ttl_ms <= LONG_TTL * 1000:
            return LeaseRefusal.INVALID
        if self._outdated(request):
            return LeaseRefusal.OUTDATED
        if request.number > self.voters.number:
            return LeaseRefusal.BEHIND
        if self.me not in self.voters.members:
            return LeaseRefusal.NO_VOTER
        if request.binds and mark.home not in ("", machine):
            return LeaseRefusal.ELSEWHERE
        grant = self._live(request.slot, now)
        if grant is not None and (grant.machine, grant.pod_uid) != (machine, request.pod_uid):
            return LeaseRefusal.HELD
        if grant is None and self._is_silent(request.slot, now):
            return LeaseRefusal.RESTARTED
        pod_uid, round_ = self._released.get(request.slot, ("", 0))
        if request.pod_uid == pod_uid and request.round <= round_:
            return LeaseRefusal.OVER
        return LeaseRefusal.NONE

    def _outdated(self, request: LeaseRequest) -> bool:
        return request.number < self.voters.number

    def _is_silent(self, slot: int, now: float) -> bool:
        return now < self._silent.get(slot, now)

    def _live(self, slot: int, now: float) -> Grant | None:
        grant = self._grants.get(slot)
        if grant is not None and now >= grant.until:
            del self._grants[slot]
            return None
        return grant

    def _grant(self, machine: MachineId, request: LeaseRequest, now: float) -> None:
        seconds = request.ttl_ms / 1000
        grant = Grant(machine, request.pod_uid, request.round, now + voter_seconds(seconds))
        grant.long = seconds if seconds > TTL else 0.0
        known = self._grants.get(request.slot)
        if known is not None:
            grant.round, grant.until = max(grant.round, known.round), max(grant.until, known.until)
            if known.long and grant.until == known.until:
                grant.long = known.long
        self._grants[request.slot] = grant

    # ---- voter sets

    def shown(self, sets: Iterable[Voters], now: float) -> bool:
        """Follow voter sets that are in force, in their order. Whether they are has been checked. False: no news."""
        news = False
        for voters in sets:
            if voters.number == self.voters.number + 1:
                self.voters, self.since, self.signed, news = voters, now, frozenset(), True
                self._former_until = self._last_end()
                self.marks = {mark.slot: mark for mark in merged((*self.marks.values(), *voters.marks))}
        return news

    def proposed(self, proposal: VoterProposal, now: float) -> LeaseRefusal:
        """Sign a successor of the present voter set, or say why not. The same one is signed again and again."""
        members = frozenset(MachineId(member) for member in proposal.voters)
        if proposal.number <= self.voters.number:
            return LeaseRefusal.OUTDATED
        if proposal.number > self.voters.number + 1:
            return LeaseRefusal.BEHIND
        if self.me not in self.voters.members:
            return LeaseRefusal.NO_VOTER
        if not self._may_follow(members):
            return LeaseRefusal.INVALID
        if self._signed_other(members):
            return LeaseRefusal.SIGNED
        if self._too_early(now):
            return LeaseRefusal.EARLY
        self.signed = members
        return LeaseRefusal.NONE

    def _may_follow(self, members: frozenset[MachineId]) -> bool:
        return self.voters.may_follow(members)

    def _signed_other(self, members: frozenset[MachineId]) -> bool:
        return bool(self.signed) and self.signed != members

    def _too_early(self, now: float) -> bool:
        """Whether something that it granted under the set before the present one may still be in force.

        That set had no predecessor if the present one is the first that was signed: then the one after the next waits.
        """
        return self.voters.number > 0 and now < max(self.since + voter_seconds(TTL), self._former_until)

    def _last_end(self) -> float:
        return max((grant.until for grant in self._grants.values()), default=-inf)

    # ---- what people see

    def state(self, now: float) -> LeaseState:
        """Return what this voter knows."""
        slots = []
        for slot, mark in sorted(self.marks.items()):
            grant = self._live(slot, now)
            remaining = _milliseconds(grant.until - now) if grant is not None else 0
            holder, pod_uid = (grant.machine, grant.pod_uid) if grant is not None else ("", "")
            slots.append(SlotLease(slot, mark.term, mark.home, holder, pod_uid, remaining))
        return LeaseState(self.voters.number, tuple(sorted(self.voters.members)), tuple(slots))


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
