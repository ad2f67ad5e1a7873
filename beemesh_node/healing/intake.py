"""What this machine takes: it bids for tasks, and accepts or refuses what it is given.

What is accepted is reserved, persisted and starting at once; from then on it is the `runner`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from beemesh_node.healing.context import Context
from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.effects import PersistClaim
from beemesh_node.healing.events import LocalChanged
from beemesh_node.healing.pods import LocalClaim, Signal, Stage, new_claim
from beemesh_node.healing.runner import Runner
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    AssignmentReply,
    Bid,
    NoReason,
    Refusal,
    Requirements,
    SlotAttempt,
    SlotRefusal,
    Task,
)
from beemesh_node.scheduling.evaluation import Host, evaluate, preemptible, reasons
from beemesh_node.scheduling.neighbours import Neighbour
from beemesh_node.scheduling.preemption import Occupant


@dataclass
class Intake:
    """One machine as a bidder."""

    context: Context
    runner: Runner
    closed: str = ""
    """Why nothing at all is taken here, empty if something may be."""

    def bid(self, task: Task) -> Bid:
        """Answer a task."""
        bid = self._bid(task)
        self.context.tallies.bid(bid)
        return bid

    def _bid(self, task: Task) -> Bid:
        local, known = self.runner.local, self.context.declarations.get(Uid(task.uid))
        if not self.runner.adopted or local is None:
            return Bid(task.task_id, 0, 0, 0, (Refusal(NoReason.STARTING),))
        if known is not None and known.deleted:
            return Bid(task.task_id, 0, 0, 0, (Refusal(NoReason.OUTDATED, "it is deleted"),))
        claims = self.runner.of(Uid(task.uid))
        if why := self._gives_away(claims) or _unguarded(task.requirements, local):
            return Bid(task.task_id, 0, 0, len(claims), why)
        running = sum(claim.stage is not Stage.STOPPING for claim in claims)
        return evaluate(task, self._host(local), running)

    def offered(
        self, declaration: Declaration, slots: Sequence[SlotAttempt], now: float, *, preempt: bool = False
    ) -> AssignmentReply:
        """Take slots, or say why not. What is taken is reserved, persisted and starting when this returns.

        With `preempt`, pods of lower priority end for it, and what is taken starts once they have.
        """
        accepted: list[int] = []
        refused: list[SlotRefusal] = []
        for slot in slots:
            why = self._take(declaration, slot, preempt, now)
            if why:
                refused.append(SlotRefusal(slot.slot, why))
            else:
                accepted.append(slot.slot)
        self.context.tallies.offered(len(accepted), (refusal.refusals for refusal in refused))
        return AssignmentReply(tuple(accepted), tuple(refused))

    def _host(self, local: LocalChanged) -> Host:
        present = tuple(
            Neighbour(claim.held.identity.namespace, claim.held.labels, claim.held.requirements.pod_terms)
            for claim in self.runner.claims.values()
            if claim.stage is not Stage.OVER and not claim.ended_itself
        )
        occupants = tuple(
            Occupant(claim.pod_uid, claim.held.requirements)
            for claim in self.runner.claims.values()
            if claim.stage not in (Stage.STOPPING, Stage.OVER) and not claim.ended_itself
        )
        return Host(local.member, self.runner.ledger.free, local.images, present, occupants)

    def _take(self, declaration: Declaration, slot: SlotAttempt, preempt: bool, now: float) -> tuple[Refusal, ...]:
        known, local = self.context.declarations.get(declaration.uid), self.runner.local
        if not self.runner.adopted or local is None:
            return (Refusal(NoReason.STARTING),)
        if known is None or known.rank > declaration.rank:
            return (Refusal(NoReason.OUTDATED, "a newer record is known"),)
        if declaration.deleted or not 0 <= slot.slot < declaration.replicas or not self.context.reigns(declaration):
            return (Refusal(NoReason.OUTDATED, "the slot is not declared"),)
        claims = self.runner.of(declaration.uid)
        if why := self._gives_away(claims):
            return why
        for claim in claims:
            same = claim.ref.slot == slot.slot and claim.ref.revision == declaration.revision
            if same and claim.stage is not Stage.STOPPING:
                if claim.moves(Signal.CONFIRMED):
                    self.runner.begin(claim)
                self.runner.changed(claim)
                return ()
        needed, labels = declaration.requirements, declaration.labels
        if unguarded := _unguarded(needed, local):
            return unguarded
        host = self._host(local)
        why = reasons(host, needed, declaration.namespace, labels)
        gone = preemptible(host, needed, declaration.namespace, labels) if why and preempt else ()
        if why and not gone:
            return why
        after = self._evict(gone, declaration, now)
        config, created = self.context.config, self.context.notes.mesh_ms(now)
        salt = config.seed + self.runner.next_version().to_bytes(8, "big", signed=True)
        held = new_claim(declaration, slot.slot, slot.attempt, MachineId(self.context.me), salt, created)
        if why := self.runner.ledger.reserve(held.identity.pod_uid, needed):
            return why
        claim = self.runner.add(held, Stage.STARTING)
        claim.after = after
        self.context.outbox.emit(PersistClaim(held))
        self.runner.begin(claim)
        self.runner.changed(claim)
        return ()

    def _evict(self, occupants: Iterable[Occupant], preemptor: Declaration, now: float) -> set[str]:
        """End pods of lower priority, whose room is another's from now on; return those that take their time."""
        name, priority = f"{preemptor.namespace}/{preemptor.name}", preemptor.requirements.priority
        after = set()
        for occupant in occupants:
            claim = self.runner.claims[occupant.key]
            why = f"{name} of priority {priority} takes the room of priority {occupant.priority}"
            self.runner.tell(claim, "Normal", "Preempted", why, now)
            claim.held = replace(claim.held, ending=why)
            self.context.outbox.emit(PersistClaim(claim.held))
            self.runner.end(claim, why, now)
            self.runner.ledger.release(claim.pod_uid)
            if claim.stage is Stage.STOPPING:
                after.add(claim.pod_uid)
        return after

    def _gives_away(self, claims: Iterable[LocalClaim]) -> tuple[Refusal, ...]:
        """Why no further replica of a declaration, which has these claims here, is taken."""
        if self.closed:
            return (Refusal(NoReason.CORDONED, self.closed),)
        if any(claim.leaving and claim.stage is not Stage.STOPPING for claim in claims):
            return (Refusal(NoReason.LEAVING),)
        return ()


def _unguarded(needed: Requirements, local: LocalChanged) -> tuple[Refusal, ...]:
    """Why a machine cannot take what needs a lease: nothing there would end it in time."""
    return (Refusal(NoReason.GUARD),) if needed.leased and not local.guards else ()
