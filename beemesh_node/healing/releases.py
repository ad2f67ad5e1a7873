"""Why a runner ends a claim of its own. A guardian may only remind it; what it believes is in here.

- The declaration is deleted, or shadowed by another of its name, or the slot is beyond its replicas: at once.
- A guardian's reminder, and the claim's revision is not the declared one and may be missed (maxUnavailable): at once.
- A guardian's reminder of a better claim: once the holder of that one answers, itself, that it is ready on the
  declared revision.
"""

from __future__ import annotations

from dataclasses import dataclass

from beemesh_node.healing.claims import key_of
from beemesh_node.healing.context import Context
from beemesh_node.healing.declaration import Declaration, better
from beemesh_node.healing.outbox import Answer
from beemesh_node.healing.pods import LocalClaim
from beemesh_node.healing.runner import Runner
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import ClaimQuery, ClaimRef, ClaimReply

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
                if why := self._undeclared(declaration, claim.ref):
                    self.runner.end(claim, why, now)

    def offered(self, sender: MachineId, ref: ClaimRef, winner: ClaimRef | None, now: float) -> None:
        """A guardian holds that a claim is over."""
        claim, declaration = self.runner.find(ref), self.context.declarations.get(Uid(ref.uid))
        if claim is None:
            self.runner.deny(sender, ref, now)
            return
        if declaration is None:
            return
        if why := self._undeclared(declaration, ref):
            self.runner.end(claim, why, now)
        elif ref.revision != declaration.revision and (declaration.max_surge == 0 or declaration.max_unavailable > 0):
            self.runner.end(claim, "another revision is declared", now)
        elif winner is not None and self._surpasses(winner, ref, declaration):
            self._ask(claim, winner, now)

    def _undeclared(self, declaration: Declaration, ref: ClaimRef) -> str:
        if declaration.deleted:
            return "the workload is deleted"
        if not self.context.reigns(declaration):
            return "another declaration of this name runs"
        if ref.slot >= declaration.replicas:
            return f"{declaration.replicas} replicas are declared"
        return ""

    def _surpasses(self, winner: ClaimRef, ref: ClaimRef, declaration: Declaration) -> bool:
        """Whether the claim named as better is one on the declared revision, and comes before ours."""
        if (winner.uid, winner.slot, winner.revision) != (ref.uid, ref.slot, declaration.revision):
            return False
        return ref.revision != declaration.revision or better(winner, ref)

    def _ask(self, claim: LocalClaim, winner: ClaimRef, now: float) -> None:
        if claim.asked == winner.machine:
            return
        claim.asked = winner.machine

        def then(answer: Answer | None, at: float) -> None:
            claim.asked = ""
            declaration = self.context.declarations.get(Uid(winner.uid))
            if not isinstance(answer, ClaimReply) or declaration is None:
                return
            found = any(r.ready and not r.gone and key_of(r.claim) == key_of(winner) for r in answer.reports)
            if found and self._surpasses(winner, claim.ref, declaration):
                self.runner.end(claim, f"{self.context.name(winner.machine)} has a better claim to the slot", at)

        self.context.outbox.ask(MachineId(winner.machine), ClaimQuery(winner), ASK_TIMEOUT, then, now)
