"""Which claims of this machine are to go to another one, and why: a drain, a taint, an operator who moves a few.

A claim that leaves goes on serving. Its guardian places another one elsewhere as in a rollout, and reminds this machine
once that one may take over; `releases` then ends it as it ends any.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from beemesh_node.healing.context import Context
from beemesh_node.healing.intake import Intake
from beemesh_node.healing.pods import LocalClaim, Stage
from beemesh_node.healing.runner import Runner
from beemesh_node.protocol.messages import ClaimRef, Maintenance
from beemesh_node.scheduling.taints import untolerated
from beemesh_node.workloads.pod import MACHINE_FAULTS

WORDS = {
    Maintenance.NONE: "an operator has uncordoned it: it takes work",
    Maintenance.CORDON: "an operator has cordoned it: it takes no work, and keeps what it has",
    Maintenance.DRAIN: "an operator drains it: everything here goes to other machines",
    Maintenance.EVICT: "an operator drains it by force: everything here ends",
}
"""What is told of each change."""
DRAINED = "its machine is drained"
STRANDED = "its machine cannot start it"
REPELLED = "its machine has the taint "
MOVED = "an operator moves it"
MOVE_WITHIN = 120.0
"""Seconds after which a claim that an operator asked to move, and that no machine could take, stays after all."""


@dataclass
class Moves:
    """What leaves this machine."""

    context: Context
    runner: Runner
    intake: Intake
    mode: Maintenance = Maintenance.NONE

    def maintain(self, mode: Maintenance, grace: float | None, now: float) -> None:
        """Do with this machine's work as an operator says. `grace`: seconds that pods have to end, or None."""
        if mode is not self.mode and self.runner.adopted:  # before, it is no news
            reason = "NodeSchedulable" if mode is Maintenance.NONE else "NodeNotSchedulable"
            self.context.notes.machine(self.context.name(self.context.me), reason, WORDS[mode], now)
        self.mode = mode
        draining = mode >= Maintenance.DRAIN
        self.intake.closed = DRAINED if draining else ""
        self.runner.grace = grace if draining else None
        self.review(now)

    def review(self, now: float) -> None:
        """See to it that everything leaves that is to, and what is not, and has not left yet, stays."""
        for claim in list(self.runner.claims.values()):
            if not self._can_leave(claim):
                continue
            why = DRAINED if self.mode >= Maintenance.DRAIN else self._repelled(claim)
            if why:
                self._leave(claim, why)
            elif claim.leaving == DRAINED or claim.leaving.startswith(REPELLED):
                self._stay(claim)
            if self.mode is Maintenance.EVICT:
                self.runner.end(claim, f"{DRAINED}, by force", now)

    def _repelled(self, claim: LocalClaim) -> str:
        """Why a pod may not run on under this machine's taints, as Kubernetes' NoExecute means it; empty if it may."""
        local = self.runner.local
        taints = (taint for taint in local.member.taints if taint.effect == "NoExecute") if local is not None else ()
        hostile = untolerated(taints, claim.held.requirements.tolerations)
        return f"{REPELLED}{hostile[0].key}:NoExecute" if hostile else ""

    def rescue(self) -> None:
        """Have those leave that do not run and that this machine cannot start, until it can.

        What runs stays, also on a machine whose disk is full or whose Podman does not answer.
        """
        for claim in list(self.runner.claims.values()):
            if self._can_leave(claim) and self._stranded(claim):
                if not claim.leaving:
                    self._leave(claim, STRANDED)
            elif claim.leaving == STRANDED:
                self._stay(claim)

    def _stranded(self, claim: LocalClaim) -> bool:
        if claim.stage is Stage.STARTING or claim.status is None:
            return not self.runner.ready
        return any(one.reason in MACHINE_FAULTS for one in claim.status.containers + claim.status.init_containers)

    def ask(self, refs: Iterable[ClaimRef], now: float) -> tuple[ClaimRef, ...]:
        """Have some claims leave; return those that do."""
        leaving = []
        for ref in refs:
            claim = self.runner.find(ref)
            if claim is not None and self._can_leave(claim):
                self._leave(claim, claim.leaving or MOVED)
                leaving.append(claim.ref)
                late = partial(self._late, claim.pod_uid)
                self.context.outbox.timers.set(("move", claim.pod_uid), now + MOVE_WITHIN, late)
        return tuple(leaving)

    def _can_leave(self, claim: LocalClaim) -> bool:
        return claim.stage in (Stage.ASKING, Stage.STARTING, Stage.RUNNING) and not claim.ended_itself

    def _leave(self, claim: LocalClaim, why: str) -> None:
        if claim.leaving != why:
            claim.leaving = why
            self.runner.changed(claim)

    def _stay(self, claim: LocalClaim) -> None:
        claim.leaving = ""
        self.runner.changed(claim)

    def _late(self, pod_uid: str, now: float) -> None:
        claim = self.runner.claims.get(pod_uid)
        if claim is not None and claim.leaving == MOVED and self._can_leave(claim):
            self._stay(claim)
            self.runner.tell(claim, "Warning", "NotMoved", "no other machine took it in time: it stays", now)
