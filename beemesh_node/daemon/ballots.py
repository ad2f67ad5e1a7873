"""Voter sets with the votes that prove them: signed here, checked here, kept and shown."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import structlog
import trio

from beemesh_node.crypto.errors import CryptoError
from beemesh_node.daemon.registry import Registry
from beemesh_node.daemon.store import VOTER_SETS, VOTERS, Store
from beemesh_node.healing.effects import FormVoterSet, VoteCast
from beemesh_node.healing.events import VoterSetsShown, VotersHeld
from beemesh_node.healing.leases.voter import HeldVoter
from beemesh_node.healing.leases.voters import Voters, merged
from beemesh_node.messaging.local import LocalMember
from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.errors import MalformedError, ProtocolError
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    LeaseRefusal,
    SignedVote,
    VoterAnswer,
    VoterProposal,
    VoterSet,
    VoterSets,
)
from beemesh_node.protocol.voters import SlotMark, VoterVote, open_vote, sign_vote

log = structlog.get_logger()

MAX_SETS = 256
"""Voter sets of one declaration that are kept: each is one voter's coming or going."""


class Ballots:
    """The proven voter sets of this machine's declarations."""

    def __init__(self, store: Store, limiter: trio.CapacityLimiter, registry: Registry, member: LocalMember) -> None:
        """`limiter` admits one thread to the `store`."""
        self._store, self._limiter, self._registry, self._member = store, limiter, registry, member
        self._me = member.session.certificate.machine_id
        self._proofs: dict[Uid, tuple[VoterSet, ...]] = {}
        self._proven: dict[Uid, tuple[Voters, ...]] = {}
        self._keeping = trio.Lock()
        self._votes: dict[tuple[Uid, int, MachineId], SignedVote] = {}

    async def load(self) -> tuple[VotersHeld, list[VoterSetsShown]]:
        """Take up what the disk holds. Raises `StoreError`."""
        rows = await trio.to_thread.run_sync(self._store.items, VOTERS, limiter=self._limiter)
        held = VotersHeld(tuple(msgspec.json.decode(value, type=HeldVoter) for _, value in rows))
        rows = await trio.to_thread.run_sync(self._store.items, VOTER_SETS, limiter=self._limiter)
        found = []
        for uid, value in rows:
            try:
                proofs, proven = self._prove(Uid(uid), decode(VoterSets, value).sets, stored=True)
            except (ProtocolError, CryptoError) as error:
                log.warning("stored voter sets are not believed", uid=uid, error=str(error))
            else:
                self._proofs[Uid(uid)], self._proven[Uid(uid)] = proofs, proven
                found.append(VoterSetsShown(Uid(uid), proven))
        return held, found

    def known(self, uid: Uid) -> VoterSets:
        """Return all voter sets of a declaration but the first, which its record names."""
        return VoterSets(uid, self._proofs.get(uid, ()))

    async def take(self, shown: VoterSets) -> VoterSetsShown | None:
        """Check and keep voter sets that a member shows; None if there is nothing new.

        Raises `ProtocolError` for what is not proven, `StoreError` if it cannot be written.
        """
        uid = Uid(shown.uid)
        async with self._keeping:
            proofs, proven = self._prove(uid, shown.sets)
            if len(proven) == len(self._proven.get(uid, ())):
                return None
            value: dict[tuple[str, str], bytes] = {(VOTER_SETS, uid): encode(VoterSets(uid, proofs))}
            await trio.to_thread.run_sync(self._store.write, value, limiter=self._limiter)
            self._proofs[uid], self._proven[uid] = proofs, proven
        return VoterSetsShown(uid, proven)

    def sign(self, cast: VoteCast) -> VoterAnswer:
        """Sign this machine's vote, if it is one."""
        vote = None
        if cast.refusal is LeaseRefusal.NONE:
            body = VoterVote(self._member.contacts.trust.mesh_id, cast.uid, cast.number + 1, cast.signed, cast.marks)
            session = self._member.session
            vote = sign_vote(body, session.certificate_bytes, session.signing_key)
        return VoterAnswer(cast.refusal, cast.number, cast.signed, vote)

    def count(self, voter: MachineId, proposal: VoterProposal, answer: VoterAnswer) -> None:
        """Keep the vote in an answer, for `form`. Raises `ProtocolError` if it is not what was asked for."""
        if answer.refusal is not LeaseRefusal.NONE:
            return
        if answer.vote is None:
            raise MalformedError("a voter agrees without its signature")
        self._check_vote(answer.vote, voter, Uid(proposal.uid), proposal.number, proposal.voters)
        if len(self._votes) > MAX_SETS:
            self._votes.clear()
        self._votes[Uid(proposal.uid), proposal.number, voter] = answer.vote

    async def form(self, effect: FormVoterSet) -> VoterSetsShown | None:
        """Put the votes for a voter set together, this machine's among them if it is a voter.

        Raises as `take`.
        """
        own = VoteCast(LeaseRefusal.NONE, effect.uid, effect.number - 1, effect.members, effect.marks)
        votes = []
        for signer in effect.signers:
            known = self._votes.pop((effect.uid, effect.number, signer), None)
            vote = self.sign(own).vote if signer == self._me else known
            if vote is not None:
                votes.append(vote)
        formed = VoterSet(effect.number, effect.members, tuple(votes))
        return await self.take(VoterSets(effect.uid, (*self._proofs.get(effect.uid, ()), formed)))

    def _prove(
        self, uid: Uid, sets: Sequence[VoterSet], *, stored: bool = False
    ) -> tuple[tuple[VoterSet, ...], tuple[Voters, ...]]:
        """Add whatever of `sets` follows on what is believed, and return all that is, as shown and as meant."""
        holding = self._registry.get(uid)
        proofs, proven = self._proofs.get(uid, ()), self._proven.get(uid, ())
        if holding is None:
            return proofs, proven
        first = Voters(0, frozenset(MachineId(each) for each in holding.attested.record.voters))
        for each in sets:
            last = proven[-1] if proven else first
            if each.number != last.number + 1:
                continue
            if each.number > MAX_SETS:
                raise MalformedError(f"{uid}: more than {MAX_SETS} voter sets; delete the workload and apply it again")
            proven, proofs = (*proven, self._proved(uid, each, last, stored=stored)), (*proofs, each)
        return proofs, proven

    def _proved(self, uid: Uid, shown: VoterSet, last: Voters, *, stored: bool) -> Voters:
        members = frozenset(MachineId(each) for each in shown.voters)
        if len(members) != len(shown.voters) or not last.may_follow(members):
            raise MalformedError(f"{uid}: voter set {shown.number} does not differ by one voter from the one before")
        marks: list[SlotMark] = []
        signers = set()
        for vote in shown.votes:
            signer, body = self._check_vote(vote, None, uid, shown.number, shown.voters, stored=stored)
            if signer in last.members:
                signers.add(signer)
                marks += body.marks
        if len(signers) < last.majority:
            raise MalformedError(
                f"{uid}: voter set {shown.number} is signed by {len(signers)} of {len(last.members)} voters"
            )
        return Voters(shown.number, members, merged(marks))

    def _check_vote(
        self,
        vote: SignedVote,
        voter: MachineId | None,
        uid: Uid,
        number: int,
        voters: Sequence[str],
        *,
        stored: bool = False,
    ) -> tuple[MachineId, VoterVote]:
        trust = self._member.contacts.trust
        signer, body = open_vote(vote, trust.verify_stored if stored else trust.verify_past)
        meant = (body.mesh_id, body.uid, body.number, sorted(body.voters))
        if meant != (trust.mesh_id, uid, number, sorted(voters)) or voter not in (None, signer):
            raise MalformedError(f"{uid}: the vote of {signer} is about something else")
        return signer, body


def written(voter: HeldVoter) -> tuple[tuple[str, str], bytes]:
    """Return where, and as what, a voter's state is written."""
    return (VOTERS, voter.uid), msgspec.json.encode(voter)
