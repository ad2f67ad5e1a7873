"""What this machine votes: a voter for each leased declaration that it holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from beemesh_node.healing.context import Context
from beemesh_node.healing.effects import PersistVoter, ShowVoterSets, VoteCast
from beemesh_node.healing.leases.voter import HeldVoter, Voter
from beemesh_node.healing.leases.voters import Voters
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    LeaseQuery,
    LeaseRefusal,
    LeaseRelease,
    LeaseReply,
    LeaseRequest,
    LeaseState,
    VoterProposal,
)
from beemesh_node.protocol.voters import SlotMark


@dataclass
class Desk:
    """The voters of this machine."""

    context: Context
    _voters: dict[Uid, Voter] = field(default_factory=dict)
    _written: dict[Uid, HeldVoter] = field(default_factory=dict)

    def restarted(self, held: Iterable[HeldVoter], now: float) -> None:
        """Take up what was persisted by an earlier life of the daemon."""
        for each in held:
            self._voters[each.uid] = Voter.restarted(self.context.me, each, now)
            self._written[each.uid] = each
            self._tell_homes(each)

    def requested(self, machine: MachineId, request: LeaseRequest, now: float) -> LeaseReply:
        """Answer for a lease."""
        voter = self._voter(Uid(request.uid), now)
        if voter is None:
            return LeaseReply(LeaseRefusal.UNKNOWN)
        reply = voter.requested(machine, request, now)
        if reply.refusal is LeaseRefusal.OUTDATED and machine != self.context.me:
            self.context.outbox.emit(ShowVoterSets(voter.uid, machine))
        self._persist(voter)
        return reply

    def released(self, machine: MachineId, release: LeaseRelease) -> None:
        """Free a lease."""
        voter = self._voters.get(Uid(release.uid))
        if voter is not None:
            voter.released(machine, release)
            self._persist(voter)

    def proposed(self, machine: MachineId, proposal: VoterProposal, now: float) -> VoteCast:
        """Vote on a successor of a voter set."""
        voter = self._voter(Uid(proposal.uid), now)
        if voter is None:
            return VoteCast(LeaseRefusal.UNKNOWN, Uid(proposal.uid), 0, (), ())
        refusal = voter.proposed(proposal, now)
        if refusal is LeaseRefusal.OUTDATED and machine != self.context.me:
            self.context.outbox.emit(ShowVoterSets(voter.uid, machine))
        self._persist(voter)
        signed = tuple(sorted(voter.signed))
        return VoteCast(refusal, voter.uid, voter.voters.number, signed, self.marks(voter.uid))

    def shown(self, uid: Uid, sets: Iterable[Voters], now: float) -> None:
        """Follow voter sets that are in force."""
        voter = self._voter(uid, now)
        if voter is not None and voter.shown(sets, now):
            self._persist(voter)

    def state(self, query: LeaseQuery, now: float) -> LeaseState:
        """Tell what is known of a declaration's leases."""
        voter = self._voter(Uid(query.uid), now)
        return voter.state(now) if voter is not None else LeaseState(0, (), ())

    def marks(self, uid: Uid) -> tuple[SlotMark, ...]:
        """Return what is known of the slots of a declaration."""
        voter = self._voters.get(uid)
        return voter.held.marks if voter is not None else ()

    def bound(self, uid: Uid, mark: SlotMark, now: float) -> None:
        """Remember that a pod of this machine holds the lease of a slot with volumes: they are here from now on."""
        voter = self._voter(uid, now)
        if voter is not None:
            voter.noted(mark)
            self._persist(voter)

    def binds(self, uid: Uid) -> bool:
        """Whether volumes of a declaration's slots are on this machine, as far as it has heard."""
        return any(mark.home == self.context.me for mark in self.marks(uid))

    def _voter(self, uid: Uid, now: float) -> Voter | None:
        voter, declaration = self._voters.get(uid), self.context.declarations.get(uid)
        if voter is None and declaration is not None and declaration.voters:
            voter = Voter(self.context.me, uid, Voters(0, frozenset(declaration.voters)), now)
            self._voters[uid] = voter
        return voter

    def _tell_homes(self, held: HeldVoter) -> None:
        self.context.homes.update({(held.uid, mark.slot): MachineId(mark.home) for mark in held.marks if mark.home})

    def _persist(self, voter: Voter) -> None:
        held = voter.held
        if self._written.get(voter.uid) != held:
            self._written[voter.uid] = held
            self._tell_homes(held)
            self.context.outbox.emit(PersistVoter(held))
