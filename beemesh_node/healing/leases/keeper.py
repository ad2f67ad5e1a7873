"""The leases of this machine's pods: asked for before a pod begins, renewed until it has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf

from beemesh_node.healing.context import Context
from beemesh_node.healing.effects import PushRecord, SetGuard, ShowVoterSets, StartPod, Tell
from beemesh_node.healing.leases.lease import Lease, Question
from beemesh_node.healing.leases.times import ASK_TIMEOUT, TTL
from beemesh_node.healing.outbox import Answer
from beemesh_node.healing.pods import LocalClaim, Stage
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import LeaseRefusal, LeaseRelease, LeaseReply
from beemesh_node.protocol.voters import SlotMark

WAITING = "WaitingForLease"
"""The reason of a pod that may not begin yet."""

PATIENCE = 1.0
"""Seconds that a pod waits for its lease before people are told why."""
_ROUNDS = 1 << 32
"""Rounds of one life of a daemon."""


@dataclass
class Keeper:
    """One lease for each leased claim that is not over."""

    context: Context
    end: Callable[[LocalClaim, str, float], None]
    """Ends a claim, saying why."""
    changed: Callable[[LocalClaim], None]
    """A claim shows something else."""
    tell: Callable[[LocalClaim, str, str, str, float], None]
    """Tells people of a claim: kind, reason and message of an event."""
    free: Callable[[MachineId, LeaseRelease], None]
    """Tells this machine's own voter."""
    bound: Callable[[Uid, SlotMark, float], None]
    """Called with the mark of a slot whose volumes are on this machine."""
    _leases: dict[str, Lease] = field(default_factory=dict)
    """By pod uid."""
    _claims: dict[str, LocalClaim] = field(default_factory=dict)
    _begun: set[str] = field(default_factory=set)
    _waiting: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Since when a pod waits for its lease, and what people were told of it last."""
    _rounds: int = 0

    def begin(self, claim: LocalClaim) -> None:
        """Make the pod of a claim, as soon as it has its lease; make it again if that is asked for later."""
        lease = self._lease(claim)
        if lease is None:
            return
        if claim.pod_uid in self._begun:
            self.context.outbox.emit(StartPod(claim.held.identity, lease.end, lease.term))
        else:
            self._wake(claim.pod_uid)

    def adopt(self, claim: LocalClaim) -> None:
        """Renew the lease of a claim from before a restart, whose pod may be running."""
        lease = self._lease(claim)
        if lease is not None:
            lease.runs = True
            if claim.stage is not Stage.ASKING:
                self._begun.add(claim.pod_uid)
                self._wake(claim.pod_uid)

    def over(self, claim: LocalClaim) -> None:
        """Nothing of a claim runs any more: free its lease."""
        lease = self._leases.pop(claim.pod_uid, None)
        self._claims.pop(claim.pod_uid, None)
        self._waiting.pop(claim.pod_uid, None)
        self.context.outbox.timers.cancel(("lease", claim.pod_uid))
        if lease is not None and (claim.pod_uid in self._begun or not lease.runs):
            self._release(lease, lease.release())
        self._begun.discard(claim.pod_uid)

    def shown(self, uid: Uid) -> None:
        """A newer voter set is in force."""
        for pod_uid, lease in self._leases.items():
            if lease.uid == uid and lease.follow(self.context.voters[uid]):
                self._wake(pod_uid)

    def lengthen(self) -> None:
        """The daemon is about to restart: have every lease last until it is back."""
        for pod_uid in self._begun:
            if (lease := self._leases.get(pod_uid)) is not None:
                lease.lengthen()
                self._wake(pod_uid)

    def last(self, now: float) -> bool:
        """Whether all leases last for longer than is usual."""
        return all(lease.end > now + TTL for pod, lease in self._leases.items() if pod in self._begun)

    def _lease(self, claim: LocalClaim) -> Lease | None:
        lease, uid = self._leases.get(claim.pod_uid), Uid(claim.ref.uid)
        declaration = self.context.declarations.get(uid)
        if lease is None and uid in self.context.voters:
            binds = declaration is not None and declaration.binds
            voters = self.context.voters[uid]
            lease = Lease(uid, claim.ref.slot, claim.pod_uid, binds, voters, self._next_round)
            self._leases[claim.pod_uid] = lease
        self._claims[claim.pod_uid] = claim
        return lease

    def _next_round(self) -> int:
        self._rounds += 1
        return self.context.config.life * _ROUNDS + self._rounds

    def _wake(self, pod_uid: str) -> None:
        self.context.outbox.timers.set(("lease", pod_uid), 0.0, partial(self._act, pod_uid))

    def _act(self, pod_uid: str, now: float) -> None:
        """Ask whoever is to be asked, and end the pod if its lease was not renewed in time."""
        lease, claim = self._leases.get(pod_uid), self._claims.get(pod_uid)
        if lease is None or claim is None:
            return
        for question in lease.questions(now):
            then = partial(self._answered, pod_uid, question)
            self.context.outbox.ask(question.voter, question.request, ASK_TIMEOUT, then, now)
        if lease.end > -inf and now >= lease.end_pod_at and claim.stage not in (Stage.STOPPING, Stage.OVER):
            majority, count = lease.voters.majority, len(lease.voters.members)
            self.context.tallies.leases_lost += 1
            self.end(claim, f"its lease was not renewed: {majority} of {count} voters are needed", now)
        self._arm(pod_uid, lease, claim, now)

    def _arm(self, pod_uid: str, lease: Lease, claim: LocalClaim, now: float) -> None:
        if pod_uid not in self._leases:
            return
        due = lease.next()
        if lease.end > -inf and claim.stage is not Stage.STOPPING:
            due = min(due, lease.end_pod_at)
        if due < inf:
            self.context.outbox.timers.set(("lease", pod_uid), max(due, now), partial(self._act, pod_uid))

    def _answered(self, pod_uid: str, question: Question, answer: Answer | None, now: float) -> None:
        lease, claim = self._leases.get(pod_uid), self._claims.get(pod_uid)
        if lease is None or claim is None:
            return
        before = lease.end
        reply = answer if isinstance(answer, LeaseReply) else None
        self.context.tallies.lease_answered(reply)
        for release in lease.answered(question, reply, now):
            self._release(lease, release)
        if reply is not None:
            self._help(lease, question.voter, reply)
        if lease.end > before and lease.held(now):
            self._extended(lease, claim, now)
        elif pod_uid not in self._begun and claim.stage is Stage.STARTING:
            self._wait(lease, claim, now)
        if pod_uid in self._leases:
            self._wake(pod_uid) if lease.next() <= now else self._arm(pod_uid, lease, claim, now)

    def _extended(self, lease: Lease, claim: LocalClaim, now: float) -> None:
        outbox, identity = self.context.outbox, claim.held.identity
        if lease.binds:
            claim.home = self.context.me
            self.bound(lease.uid, SlotMark(lease.slot, lease.term, claim.home), now)
        if claim.pod_uid in self._begun:
            self.context.tallies.lease_renewals += 1
            outbox.emit(SetGuard(identity, lease.end))
        elif claim.stage is Stage.STARTING:
            self._begun.add(claim.pod_uid)
            self._waiting.pop(claim.pod_uid, None)
            self.context.tallies.leases_taken += 1
            claim.reason, claim.message = "", ""
            majority, count = lease.voters.majority, len(lease.voters.members)
            granted = f"its lease was granted, term {lease.term}: at least {majority} of {count} voters"
            self.tell(claim, "Normal", "LeaseGranted", granted, now)
            outbox.emit(StartPod(identity, lease.end, lease.term))

    def _wait(self, lease: Lease, claim: LocalClaim, now: float) -> None:
        if (home := lease.elsewhere) is not None:
            claim.home = home
            self.end(claim, f"its volumes are on {self.context.name(home)}", now)
            return
        message = lease.why_not(self.context.name)
        if (claim.reason, claim.message) != (WAITING, message):
            claim.reason, claim.message = WAITING, message
            self.changed(claim)
        since, told = self._waiting.setdefault(claim.pod_uid, (now, ""))
        if now >= since + PATIENCE and message != told:
            self._waiting[claim.pod_uid] = (since, message)
            self.tell(claim, "Warning", WAITING, message, now)

    def _help(self, lease: Lease, voter: MachineId, reply: LeaseReply) -> None:
        """Bring a voter what it lacks."""
        if voter == self.context.me:
            return
        if reply.refusal is LeaseRefusal.UNKNOWN:
            self.context.outbox.emit(PushRecord(lease.uid, voter))
        elif reply.refusal is LeaseRefusal.BEHIND:
            self.context.outbox.emit(ShowVoterSets(lease.uid, voter))

    def _release(self, lease: Lease, release: LeaseRelease) -> None:
        for voter in sorted(lease.voters.members):
            if voter == self.context.me:
                self.free(voter, release)
            else:
                self.context.outbox.emit(Tell(voter, release))
