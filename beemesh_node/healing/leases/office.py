"""All that one machine has to do with leases: its votes, those of its own pods, and who votes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from beemesh_node.healing.context import Context
from beemesh_node.healing.effects import VoteCast
from beemesh_node.healing.leases.desk import Desk
from beemesh_node.healing.leases.keeper import Keeper
from beemesh_node.healing.leases.reform import Reform
from beemesh_node.healing.leases.voters import Voters
from beemesh_node.healing.pods import LocalClaim
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    LeaseQuery,
    LeaseRefusal,
    LeaseReply,
    LeaseRequest,
    LeaseState,
    VoterAnswer,
    VoterProposal,
)


class Office:
    """The parts, and what passes between them."""

    def __init__(
        self,
        context: Context,
        end: Callable[[LocalClaim, str, float], None],
        changed: Callable[[LocalClaim], None],
        tell: Callable[[LocalClaim, str, str, str, float], None],
    ) -> None:
        """`end`, `changed` and `tell` as in `Keeper`."""
        self._context = context
        self.desk = Desk(context)
        self.keeper = Keeper(context, end, changed, tell, self.desk.released, self.desk.bound)
        self._reform = Reform(context, self.desk.marks)

    def declared(self, uid: Uid, now: float) -> None:
        """A declaration, or a newer version of it, is here."""
        if uid in self._context.voters:
            self._reform.watch(uid, now)

    def concerns(self, uid: Uid) -> bool:
        """Whether this machine votes on the leases of a declaration, or has volumes of its slots."""
        voters = self._context.voters.get(uid)
        return (voters is not None and self._context.me in voters.members) or self.desk.binds(uid)

    def forget(self, uid: Uid) -> None:
        """A declaration is not here any more. What was voted and signed is kept: nothing may be voted twice."""
        self._reform.forget(uid)

    def shown(self, uid: Uid, sets: Iterable[Voters], now: float) -> None:
        """Voter sets are in force: follow them, as voter and with the own leases."""
        voters, sets = self._context.voters.get(uid), tuple(sets)
        if voters is None:
            return
        for each in sets:
            if each.number == voters.number + 1:
                voters = each
        self.desk.shown(uid, sets, now)
        if voters is not self._context.voters[uid]:
            self._context.voters[uid] = voters
            self.keeper.shown(uid)
            self._reform.formed(uid)

    def answer(
        self, machine: MachineId, payload: LeaseRequest | LeaseQuery | VoterProposal, now: float
    ) -> LeaseReply | LeaseState | VoteCast:
        """Answer another member."""
        match payload:
            case LeaseRequest():
                return self.desk.requested(machine, payload, now)
            case LeaseQuery():
                return self.desk.state(payload, now)
            case VoterProposal():
                return self.desk.proposed(machine, payload, now)

    def own_answer(self, payload: LeaseRequest | VoterProposal, now: float) -> LeaseReply | VoterAnswer:
        """Answer this machine itself, which needs no signature of its own."""
        me = self._context.me
        if isinstance(payload, LeaseRequest):
            return self.desk.requested(me, payload, now)
        cast = self.desk.proposed(me, payload, now)
        signed = cast.signed if cast.refusal in (LeaseRefusal.NONE, LeaseRefusal.SIGNED) else ()
        return VoterAnswer(cast.refusal, cast.number, signed)
