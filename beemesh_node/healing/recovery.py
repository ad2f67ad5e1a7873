"""How a machine takes up what it had before its daemon, or it itself, was restarted.

Pods that run are adopted as they are. Of a claim whose pod is gone the guardians are asked first, since they may have
placed the slot anew; only if none of them answers is it started alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from beemesh_node.healing.context import Context
from beemesh_node.healing.effects import PersistClaim
from beemesh_node.healing.events import Adopted
from beemesh_node.healing.outbox import Answer
from beemesh_node.healing.pods import LocalClaim, Signal, Stage, found_claim
from beemesh_node.healing.releases import Releases
from beemesh_node.healing.runner import Runner
from beemesh_node.protocol.ids import Uid
from beemesh_node.protocol.messages import ClaimReply, ClaimReport, ClaimsQuery
from beemesh_node.workloads.pod import PodPhase


@dataclass
class Recovery:
    """Takes up persisted claims and found pods, once."""

    context: Context
    runner: Runner
    releases: Releases
    _missing: dict[Uid, int] = field(default_factory=dict)
    _heard: dict[Uid, list[ClaimReport]] = field(default_factory=dict)
    _answered: set[Uid] = field(default_factory=set)

    def adopted(self, event: Adopted, now: float) -> None:
        """Take up what is here. From now on the machine bids."""
        runner, created = self.runner, self.context.notes.mesh_ms(now)
        pods = {status.identity.pod_uid: status for status in event.pods}
        claims = {held.identity.pod_uid: held for held in event.claims}
        for pod_uid, status in pods.items():
            if pod_uid not in claims:
                declaration = self.context.declarations.get(Uid(status.identity.uid))
                claims[pod_uid] = found_claim(status.identity, self.context.me, declaration, created)
                self.context.outbox.emit(PersistClaim(claims[pod_uid]))
        for pod_uid, held in claims.items():
            found = pods.get(pod_uid)
            claim = runner.add(held, Stage.ASKING if found is None else Stage.RUNNING, found)
            ended = found is not None and found.phase in (PodPhase.SUCCEEDED, PodPhase.FAILED)
            if not (ended or held.ending):
                runner.ledger.adopt(pod_uid, held.requirements)
            runner.changed(claim)
        runner.adopted = True
        self._go_on_ending(now)
        uids = list(dict.fromkeys(Uid(held.ref.uid) for held in claims.values()))
        for uid in uids:
            if uid in self.context.declarations:
                self.releases.stored(uid, now)
        asking = [uid for uid in uids if any(claim.stage is Stage.ASKING for claim in runner.of(uid))]
        for uid in asking:
            self._later(uid, max(now + self.context.config.settle, self._acquainted(now)))

    def _go_on_ending(self, now: float) -> None:
        """End what had to make room for other pods; those wait for it."""
        ending = [claim for claim in self.runner.claims.values() if claim.held.ending]
        for claim in ending:
            self.runner.end(claim, claim.held.ending, now)
        left = {claim.pod_uid for claim in ending if claim.stage is Stage.STOPPING}
        for claim in self.runner.claims.values():
            if claim.stage is Stage.ASKING:
                claim.after = set(left)

    def _acquainted(self, now: float) -> float:
        return self.context.acquaintance.due(self.context.members, now)

    def _later(self, uid: Uid, at: float) -> None:
        self.context.outbox.timers.set(("recover", uid), at, lambda now: self._ask(uid, now))

    def _ask(self, uid: Uid, now: float) -> None:
        if (due := self._acquainted(now)) > now:
            self._later(uid, due)
            return
        paths = {claim.path for claim in self.runner.of(uid)}
        guardians = dict.fromkeys(machine for path in sorted(paths) for machine in self.context.guardians(path))
        others = [machine for machine in guardians if machine != self.context.me]
        self._missing[uid], self._heard[uid] = len(others), []

        def then(answer: Answer | None, at: float) -> None:
            self._missing[uid] -= 1
            if isinstance(answer, ClaimReply):
                self._answered.add(uid)
                self._heard[uid] += answer.reports
            if self._missing[uid] == 0:
                self._decide(uid, at)

        for machine in others:
            self.context.outbox.ask(machine, ClaimsQuery(uid), self.context.config.survey, then, now)
        if not others:
            self._decide(uid, now)

    def _decide(self, uid: Uid, now: float) -> None:
        del self._missing[uid]
        heard, answered = self._heard.pop(uid), uid in self._answered
        self._answered.discard(uid)
        for claim in self.runner.of(uid):
            if claim.stage is not Stage.ASKING:
                continue
            if why := self._superseded(claim, heard, answered):
                self.runner.end(claim, why, now)
            elif claim.moves(Signal.CONFIRMED):
                self.runner.begin(claim)
                self.runner.changed(claim)

    def _superseded(self, claim: LocalClaim, heard: list[ClaimReport], answered: bool) -> str:
        """Why the claim is not to be started again, if so: its slot serves elsewhere, or its revision is past."""
        for report in heard:
            other = report.claim
            same = (other.uid, other.slot) == (claim.ref.uid, claim.ref.slot)
            if same and other.machine != claim.ref.machine and report.ready:
                return f"{self.context.name(other.machine)} has taken the slot"
        declaration = self.context.declarations.get(Uid(claim.ref.uid))
        if answered and declaration is not None and claim.ref.revision != declaration.revision:
            return "another revision is declared"
        return ""
