"""Replaces voters that are gone for good, and gives a mesh that has grown more of them: one voter at a time.

The coordinator of a declaration proposes; whoever else does so, for whatever reason, proposes the same in the same
situation. Should voters have signed different successors of one set, that set stays for ever: no lease is lost by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from beemesh_node.healing.context import Context
from beemesh_node.healing.effects import FormVoterSet, ShowVoterSets
from beemesh_node.healing.leases.times import ASK_TIMEOUT
from beemesh_node.healing.leases.voters import Voters
from beemesh_node.healing.outbox import Answer
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import LeaseRefusal, VoterAnswer, VoterProposal
from beemesh_node.protocol.record import MAX_VOTERS
from beemesh_node.protocol.voters import SlotMark

LOOK_EVERY = 15.0
"""Seconds between two looks at the voters of a declaration."""


def successor(
    voters: Voters, gone: Iterable[MachineId], candidates: Sequence[MachineId], machines: int
) -> frozenset[MachineId] | None:
    """Return who should vote instead; None if all is well, or nobody is better.

    `gone` are voters that may be given up, `candidates` are who might vote, the best first, and `machines` is how many
    there are. A new voter comes before an old one goes, so that the set is never smaller than it should be.
    """
    members, lost = voters.members, sorted(set(gone) & voters.members)
    fresh = [machine for machine in candidates if machine not in members]
    wanted = min(MAX_VOTERS, machines)
    wanted -= 1 - wanted % 2
    if len(members) % 2 == 0 and lost:
        return members - {lost[0]}
    if fresh and (len(members) < wanted or (lost and len(members) <= MAX_VOTERS)):
        return members | {fresh[0]}
    if len(members) % 2 == 0 and len(members) > wanted:
        return members - {max(members)}
    return None


@dataclass
class Reform:
    """Watches the voters of the declarations that this machine coordinates."""

    context: Context
    marks: Callable[[Uid], tuple[SlotMark, ...]]
    """What this machine's own voter knows of the slots of a declaration."""
    _missed: dict[MachineId, float] = field(default_factory=dict)
    """Since when a voter is no member."""
    _signers: dict[Uid, tuple[Voters, frozenset[MachineId], set[MachineId]]] = field(default_factory=dict)
    """The voter set that is to be followed, by whom, and who has signed that."""
    _signed: dict[Uid, tuple[int, frozenset[MachineId]]] = field(default_factory=dict)
    """A successor, by its number, that some voter has signed already: only that one can still come of it."""

    def watch(self, uid: Uid, now: float) -> None:
        """Look at a declaration's voters from now on."""
        self.context.outbox.timers.set(("voters", uid), now + LOOK_EVERY, partial(self._look, uid))

    def forget(self, uid: Uid) -> None:
        """Look at a declaration's voters no more."""
        self.context.outbox.timers.cancel(("voters", uid))
        self._signers.pop(uid, None)
        self._signed.pop(uid, None)

    def formed(self, uid: Uid) -> None:
        """A newer voter set is in force: tell everybody in it, if it came about here."""
        proposed = self._signers.pop(uid, None)
        if proposed is None:
            return
        for machine in sorted(proposed[0].members | proposed[1]):
            if machine != self.context.me:
                self.context.outbox.emit(ShowVoterSets(uid, machine))

    def _look(self, uid: Uid, now: float) -> None:
        declaration, voters = self.context.declarations.get(uid), self.context.voters.get(uid)
        if declaration is None or declaration.deleted or voters is None:
            return
        self.watch(uid, now)
        members = self.context.members
        for voter in voters.members:
            if voter in members:
                self._missed.pop(voter, None)
            else:
                self._missed.setdefault(voter, now)
        if self.context.rank(uid) != 0:
            return
        patience = self.context.config.voter_patience
        gone = [voter for voter in voters.members if now - self._missed.get(voter, now) >= patience]
        number, signed = self._signed.get(uid, (0, frozenset()))
        wanted = signed if number == voters.number + 1 else None
        if wanted is None:
            wanted = successor(voters, gone, self.context.guardians_of(uid), len(members))
        if wanted is not None:
            self._propose(uid, voters, wanted, now)

    def _propose(self, uid: Uid, voters: Voters, wanted: frozenset[MachineId], now: float) -> None:
        self._signers[uid] = (voters, wanted, set())
        proposal = VoterProposal(uid, voters.number + 1, tuple(sorted(wanted)))
        for voter in sorted(voters.members):
            self.context.outbox.ask(voter, proposal, ASK_TIMEOUT, partial(self._answered, uid, voter, proposal), now)

    def _answered(self, uid: Uid, voter: MachineId, proposal: VoterProposal, answer: Answer | None, now: float) -> None:
        proposed = self._signers.get(uid)
        if not isinstance(answer, VoterAnswer) or proposed is None or proposed[0].number + 1 != proposal.number:
            return
        voters, wanted, signers = proposed
        if answer.refusal is LeaseRefusal.SIGNED:
            self._signed[uid] = (proposal.number, frozenset(MachineId(member) for member in answer.signed_voters))
        elif answer.refusal is LeaseRefusal.BEHIND and voter != self.context.me:
            self.context.outbox.emit(ShowVoterSets(uid, voter))
        elif answer.refusal is LeaseRefusal.NONE and voter not in signers:
            signers.add(voter)
            if len(signers) == voters.majority:
                members = tuple(sorted(wanted))
                signed = tuple(sorted(signers))
                self.context.outbox.emit(FormVoterSet(uid, proposal.number, members, signed, self.marks(uid)))
