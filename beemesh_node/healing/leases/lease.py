"""One pod's side of a lease: whom to ask when, and how long it lasts.

    ASKING: without a term. Once a majority has granted, the term is one more than any of it knows.
    TAKING: the same with the term. Once a majority has granted that, the lease holds, and the pod may begin.
    HELD:   renewed until the pod has ended.

A lease ends with the grant that the majority still needs: counted from when it was asked for, never from the answer.
Grants of different voter sets are never added up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from beemesh_node.healing.leases.times import (
    ASK_AGAIN,
    BACK_OFF,
    END_EARLY,
    LONG_TTL,
    MARGIN,
    RENEW_EVERY,
    TTL,
)
from beemesh_node.healing.leases.voters import Voters
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import LeaseRefusal, LeaseRelease, LeaseReply, LeaseRequest


@dataclass(frozen=True, slots=True)
class Question:
    """A request that is out, and when it left."""

    voter: MachineId
    request: LeaseRequest
    sent_at: float


@dataclass
class Lease:
    """The lease of one pod, as its machine counts it. Times are of the machine's clock."""

    uid: Uid
    slot: int
    pod_uid: str
    binds: bool
    voters: Voters
    next_round: Callable[[], int]
    """Gives numbers that grow over the whole life of the machine."""
    runs: bool = False
    """The pod may be running already, begun in an earlier life of the daemon: what it was granted is not given back."""
    term: int = 0
    """0 until it is known; never the same for two pods that held the lease."""
    end: float = -inf
    """When it ends unless it is renewed. It never comes back from there."""
    refusals: dict[MachineId, LeaseReply] = field(default_factory=dict)
    """What those voters said last that did not grant."""
    ttl: float = TTL
    _out: dict[MachineId, Question] = field(default_factory=dict)
    _terms: dict[MachineId, int] = field(default_factory=dict)
    """ASKING: what voters that granted know."""
    _grants: dict[MachineId, Question] = field(default_factory=dict)
    """TAKING and HELD: the latest request that each voter granted."""
    _asked: dict[MachineId, float] = field(default_factory=dict)
    _pause: float = -inf
    """Nobody is asked before."""
    _tries: int = 0

    def held(self, now: float) -> bool:
        """Whether the pod may run now."""
        return now < self.end

    @property
    def end_pod_at(self) -> float:
        """When the pod is to be asked to end, unless the lease is renewed before."""
        return self.end - END_EARLY

    def lengthen(self) -> None:
        """Ask for the long TTL from now on, all voters at once: the daemon is about to restart."""
        self.ttl = LONG_TTL
        self._grants, self._asked, self._pause = {}, {}, -inf

    def follow(self, voters: Voters) -> bool:
        """Count by a newer voter set from now on. False if it is none."""
        if voters.number <= self.voters.number:
            return False
        self.voters = voters
        self._out, self._terms, self._grants, self._asked, self.refusals = {}, {}, {}, {}, {}
        self._pause = -inf
        return True

    def questions(self, now: float) -> list[Question]:
        """Return what is to be asked now; each has to be answered for, by `answered`."""
        if now < self._pause:
            return []
        due = [voter for voter in sorted(self.voters.members) if self._due(voter) <= now]
        if not due:
            return []
        round_, asked = self.next_round(), []
        for voter in due:
            request = LeaseRequest(
                uid=self.uid,
                slot=self.slot,
                pod_uid=self.pod_uid,
                number=self.voters.number,
                ttl_ms=round(self.ttl * 1000),
                term=self.term,
                binds=self.binds,
                round=round_,
            )
            self._asked[voter] = now
            self._out[voter] = Question(voter, request, now)
            asked.append(self._out[voter])
        return asked

    def next(self) -> float:
        """Return when there is something to ask again; infinity while answers are awaited."""
        return max(self._pause, min(map(self._due, self.voters.members), default=inf))

    def answered(self, question: Question, reply: LeaseReply | None, now: float) -> list[LeaseRelease]:
        """Take in an answer, or that there was none. Returns what is to be told to all voters, if it was in vain."""
        voter = question.voter
        if self._out.get(voter) is not question:
            return []  # of an earlier voter set, or term
        del self._out[voter]
        if reply is None or reply.refusal is not LeaseRefusal.NONE:
            if reply is not None:
                self.refusals[voter] = reply
                self._grants.pop(voter, None)
            return self._in_vain(now)
        self.refusals.pop(voter, None)
        if question.request.term == 0:
            self._terms[voter] = reply.term
            if len(self._terms) >= self.voters.majority:
                self.term = max(self._terms.values()) + 1
                self._out, self._asked = {}, {}
                return []
        else:
            self._grants[voter] = question
            self._count()
        return self._in_vain(now)

    def _count(self) -> None:
        ends = sorted((self._end_of(question) for question in self._grants.values()), reverse=True)
        if len(ends) >= self.voters.majority:
            self.end = max(self.end, ends[self.voters.majority - 1])

    def _end_of(self, question: Question) -> float:
        return question.sent_at + question.request.ttl_ms / 1000 - MARGIN

    def _due(self, voter: MachineId) -> float:
        if voter in self._out or (self.term == 0 and voter in self._terms):
            return inf
        if (granted := self._grants.get(voter)) is not None:
            return granted.sent_at + RENEW_EVERY
        asked = self._asked.get(voter)
        if asked is None:
            return -inf
        enough = len(self._grants) >= self.voters.majority
        return asked + (RENEW_EVERY if enough else ASK_AGAIN)

    def _in_vain(self, now: float) -> list[LeaseRelease]:
        """Give back what was granted if no majority can come of it: two pods must not block each other for ever."""
        granted = self._terms if self.term == 0 else self._grants
        if self.runs or self.end > -inf or self._out or len(granted) >= self.voters.majority:
            return []
        self._tries += 1
        digest = hashlib.sha256(f"{self.pod_uid}/{self._tries}".encode()).digest()
        remaining = [reply.remaining_ms / 1000 for reply in self.refusals.values() if reply.remaining_ms]
        lasting = min(remaining, default=inf)
        pause = min(BACK_OFF * int.from_bytes(digest[:2], "big") / 65536, ASK_AGAIN + lasting, lasting + 0.05)
        self._pause = now + max(pause, 0.05)
        self._terms, self._grants, self._asked = {}, {}, {}
        return [self.release()] if granted else []

    def release(self) -> LeaseRelease:
        """Return what frees the lease. Whatever was asked for up to now counts for nothing then."""
        self._out, self._terms, self._grants = {}, {}, {}
        return LeaseRelease(self.uid, self.slot, self.pod_uid, self.next_round())

    @property
    def elsewhere(self) -> MachineId | None:
        """The machine that holds the slot's volumes, if so many voters say so that it will not be this one."""
        holders = [r.holder for r in self.refusals.values() if r.refusal is LeaseRefusal.ELSEWHERE]
        return MachineId(holders[0]) if len(self.voters.members) - len(holders) < self.voters.majority else None

    def why_not(self, name: Callable[[str], str]) -> str:
        """Say why it does not hold, in a sentence. `name` gives the names of machines."""
        told = {
            LeaseRefusal.HELD: "{holder} holds it",
            LeaseRefusal.RESTARTED: "{voter} was restarted and is silent for a while",
            LeaseRefusal.ELSEWHERE: "its volumes are on {holder}",
        }
        reasons = [
            told[reply.refusal].format(holder=name(reply.holder), voter=name(voter))
            for voter, reply in sorted(self.refusals.items())
            if reply.refusal in told
        ]
        silent = [name(voter) for voter in sorted(self.voters.members) if voter not in self.refusals]
        if not reasons and silent:
            reasons = [f"no answer from {', '.join(silent)}"]
        needed = f"needs {self.voters.majority} of {len(self.voters.members)} voters"
        return f"{needed}: {'; '.join(dict.fromkeys(reasons))}" if reasons else needed
