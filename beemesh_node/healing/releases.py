"""Why a runner ends a claim of its own. A guardian may only remind it; what it believes is in here.

- The declaration is deleted, or shadowed by another of its name, or the slot is beyond its replicas: at once.
- A guardian's reminder, and the claim's revision is not the declared one or it is to leave this machine, and it may be
  missed (maxUnavailable) or is not ready anyway: at once.
- A guardian's reminder of another claim to the slot: once its holder answers, itself, that it is ready, if it is a
  better one, or no worse one in its revision while ours is not ready. One that leaves its machine is worse than one
  that stays.
"""

from __future__ import annotations

from dataclasses import dataclass

from beemesh_node.healing.claims import key_of
from beemesh_node.healing.context import Context
from beemesh_node.healing.declaration import Declaration, order
from beemesh_node.healing.outbox import Answer
from beemesh_node.healing.pods import LocalClaim
from beemesh_node.healing.runner import Runner
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import ClaimQuery, ClaimRef, ClaimReply
from beemesh_node.workloads.rollout import Rollout

ASK_TIMEOUT = 2.0
"""Seconds for the holder of a better claim to answer."""


@dataclass
class Releases:
    """Ends this machine's claims."""

    context: Context
    runner: Runner

    def stored(self, uid: Uid, now: float) -> None:
        """A newer version is here, of this declaration or of one of its name: end what is not declared any more."""
        for name_sharer in sorted(self.context.names[self.context.declarations[uid].path]):
            declaration = self.context.declarations[name_sharer]
            for claim in self.runner.of(name_sharer):
                if (why := self._undeclared(declaration, claim.ref)) and not self._in_its_turn(declaration):
                    self.runner.end(claim, why, now)

    def offered(self, sender: MachineId, ref: ClaimRef, winner: ClaimRef | None, now: float) -> None:
        """A guardian holds that a claim is over."""
        claim, declaration = self.runner.find(ref), self.context.declarations.get(Uid(ref.uid))
        if claim is None:
            if self.runner.adopted:  # until then nobody knows what runs here
                self.runner.deny(sender, ref, now)
            return
        if declaration is None:
            return
        if why := self._undeclared(declaration, ref):
            self.runner.end(claim, why, now)
        elif winner is not None:
            if self._yields(claim, winner, declaration):
                self._ask(claim, winner, now)
        elif declaration.unavailable > 0 or not claim.ready:
            if ref.revision != declaration.revision:
                self.runner.end(claim, "another revision is declared", now)
            elif claim.leaving:
                self.runner.end(claim, f"{claim.leaving}, and another one has room for it", now)

    def _in_its_turn(self, declaration: Declaration) -> bool:
        """Whether what is undeclared ends only when a guardian says so: slots that end one after the other."""
        gone = declaration.deleted or not self.context.reigns(declaration)
        return declaration.rollout is Rollout.ORDERED and not gone

    def _undeclared(self, declaration: Declaration, ref: ClaimRef) -> str:
        if declaration.deleted:
            return "the workload is deleted"
        if not self.context.reigns(declaration):
            return "another declaration of this name runs"
        if ref.slot >= declaration.replicas:
            return f"{declaration.replicas} replicas are declared"
        return ""

    def _yields(self, claim: LocalClaim, winner: ClaimRef, declaration: Declaration) -> bool:
        """Whether our claim gives way to another one of its slot, should that be ready."""
        ours, revision = claim.ref, declaration.revision
        if (winner.uid, winner.slot) != (ours.uid, ours.slot) or key_of(winner) == key_of(ours):
            return False
        if order(winner, revision) < order(ours, revision) or (claim.leaving and winner.revision == revision):
            return True
        return not claim.ready and (winner.revision == revision) == (ours.revision == revision)

    def _ask(self, claim: LocalClaim, winner: ClaimRef, now: float) -> None:
        if claim.asked == winner.machine:
            return
        claim.asked = winner.machine

        def then(answer: Answer | None, at: float) -> None:
            claim.asked = ""
            declaration = self.context.declarations.get(Uid(winner.uid))
            if not isinstance(answer, ClaimReply) or declaration is None:
                return
            serving = (r for r in answer.reports if r.ready and not r.gone and key_of(r.claim) == key_of(winner))
            found = next(serving, None)
            if found is None or not self._yields(claim, winner, declaration):
                return
            if found.leaving and not (
                claim.leaving and order(winner, declaration.revision) < order(claim.ref, declaration.revision)
            ):
                return  # it goes itself, and ours is to take its place
            where = self.context.name(winner.machine)
            why = (
                f"{claim.leaving}, and {where} runs it now"
                if claim.leaving
                else f"{where} has a better claim to the slot"
            )
            self.runner.end(claim, why, at)

        self.context.outbox.ask(MachineId(winner.machine), ClaimQuery(winner), ASK_TIMEOUT, then, now)
