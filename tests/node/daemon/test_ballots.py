"""Voter sets and their votes: believed when a majority of the set before has signed, whoever shows them."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from beemesh_node.daemon.ballots import Ballots
from beemesh_node.daemon.store import Store
from beemesh_node.healing.effects import FormVoterSet, VoteCast
from beemesh_node.messaging.directory import ContactBook
from beemesh_node.messaging.local import LocalMember
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import LeaseRefusal, VoterAnswer, VoterProposal, VoterSet, VoterSets
from beemesh_node.protocol.voters import SlotMark
from tests.node.protocol.mesh import NOW, Mesh

UID = Uid("some-uid")
MARKS = (SlotMark(0, 7),)


class Voting:
    """One machine."""

    def __init__(self, mesh: Mesh, directory: Path) -> None:
        credentials = mesh.member()
        self.id = credentials.certificate.machine_id
        self.member = LocalMember(credentials.session(), ContactBook(mesh.trust()), lambda: NOW)
        self.store = Store(directory / f"{self.id}.db", secrets.token_bytes(32))
        self.registry: dict[Uid, Any] = {}
        self.ballots = self.restarted()

    def restarted(self) -> Ballots:
        return Ballots(self.store, trio.CapacityLimiter(1), self.registry, self.member)  # type: ignore[arg-type]

    def vote(self, number: int, members: tuple[MachineId, ...]) -> VoterAnswer:
        return self.ballots.sign(VoteCast(LeaseRefusal.NONE, UID, number - 1, members, MARKS))


@pytest.fixture(name="machines")
def machines_fixture(tmp_path: Path) -> list[Voting]:
    """Five machines of one mesh; the first three are the first voters."""
    mesh = Mesh()
    machines = [Voting(mesh, tmp_path) for _ in range(5)]
    record = SimpleNamespace(voters=tuple(machine.id for machine in machines[:3]))
    for machine in machines:
        machine.registry[UID] = SimpleNamespace(attested=SimpleNamespace(record=record))
    return machines


def ids(machines: list[Voting]) -> tuple[MachineId, ...]:
    return tuple(sorted(machine.id for machine in machines))


async def formed(machines: list[Voting], signers: list[Voting]) -> VoterSets:
    """The first machine has the first four vote, and forms the set."""
    wanted, first = ids(machines[:4]), machines[0]
    proposal = VoterProposal(UID, 1, wanted)
    for signer in signers:
        first.ballots.count(signer.id, proposal, signer.vote(1, wanted))
    await first.ballots.form(FormVoterSet(UID, 1, wanted, ids(signers), MARKS))
    return first.ballots.known(UID)


async def test_a_set_that_a_majority_signed_is_believed_by_whoever_sees_it_and_kept(machines: list[Voting]) -> None:
    shown = await formed(machines, machines[:2])
    stranger = machines[4]
    taken = await stranger.ballots.take(shown)
    assert taken is not None
    (voters,) = taken.sets
    assert (voters.number, voters.members, voters.marks) == (1, frozenset(ids(machines[:4])), MARKS)
    assert await stranger.ballots.take(shown) is None, "no news"
    again = stranger.restarted()
    _, found = await again.load()
    assert [each.sets for each in found] == [(voters,)]
    assert again.known(UID) == shown


async def test_too_few_signatures_or_those_of_strangers_prove_nothing(machines: list[Voting]) -> None:
    wanted = ids(machines[:4])
    votes = [machine.vote(1, wanted).vote for machine in machines]
    for few in ([votes[0]], [votes[0], votes[0]], [votes[0], votes[3], votes[4]]):
        shown = VoterSets(UID, (VoterSet(1, wanted, tuple(few)),))  # type: ignore[arg-type]
        with pytest.raises(ProtocolError, match="of 3 voters"):
            await machines[4].ballots.take(shown)
        assert machines[4].ballots.known(UID).sets == ()


async def test_a_vote_counts_for_nothing_else(machines: list[Voting]) -> None:
    wanted, other = ids(machines[:4]), ids([*machines[:3], machines[4]])
    votes = tuple(machine.vote(1, wanted).vote for machine in machines[:3])
    taker = machines[4].ballots
    for shown in (VoterSet(1, other, votes), VoterSet(2, wanted, votes)):  # type: ignore[arg-type]
        try:
            taken = await taker.take(VoterSets(UID, (shown,)))
        except ProtocolError:
            continue
        assert taken is None
    answer = machines[1].vote(1, other)
    with pytest.raises(ProtocolError, match="something else"):
        taker.count(machines[1].id, VoterProposal(UID, 1, wanted), answer)
    with pytest.raises(ProtocolError, match="something else"):
        taker.count(machines[2].id, VoterProposal(UID, 1, other), answer)
    with pytest.raises(ProtocolError, match="without its signature"):
        taker.count(machines[1].id, VoterProposal(UID, 1, other), replace(answer, vote=None))


async def test_sets_differ_by_one_voter(machines: list[Voting]) -> None:
    for wanted in (ids(machines), ids(machines[:3]), ids(machines[:1])):
        votes = tuple(machine.vote(1, wanted).vote for machine in machines[:3])
        with pytest.raises(ProtocolError, match="does not differ by one"):
            await machines[4].ballots.take(VoterSets(UID, (VoterSet(1, wanted, votes),)))  # type: ignore[arg-type]


async def test_an_altered_vote_is_refused(machines: list[Voting]) -> None:
    shown = await formed(machines, machines[:2])
    (proven,) = shown.sets
    vote = proven.votes[0]
    altered = replace(vote, vote=vote.vote[:-1] + bytes([vote.vote[-1] ^ 1]))
    with pytest.raises(ProtocolError):
        await machines[4].ballots.take(VoterSets(UID, (replace(proven, votes=(altered, *proven.votes[1:])),)))
