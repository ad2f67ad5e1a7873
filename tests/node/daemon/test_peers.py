"""Asking machines to which no connection is kept, over real hosts on loopback."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from beemesh_node.daemon.peers import Peers
from beemesh_node.daemon.ways import Ways
from beemesh_node.messaging.errors import MeshUnreachable
from beemesh_node.network.api import Unreachable
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import BlockReply
from tests.node.messaging.party import QUERY, SECONDS, Party, now_ms, party
from tests.node.protocol.mesh import Mesh

NOBODY = "/ip4/127.0.0.1/tcp/1"


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return Mesh()


def ways_of(asker: Party, **told: Sequence[str]) -> Ways:
    """The ways of a machine that heard these addresses in presence, by machine id."""
    return Ways(asker.host, lambda machine: told.get(machine, ()))


async def ask(asker: Party, target: Party, *addresses: str) -> str:
    """What the target answers when it told these addresses in its presence: its own id."""
    asker.member.contacts.admit(target.contact)
    ways = ways_of(asker, **{target.contact.machine: addresses})
    peers = Peers(asker.exchange, asker.member.contacts, asker.host, ways)
    return (await peers.ask(target.contact.machine, QUERY, BlockReply, timeout=SECONDS)).block.decode()


async def test_a_machine_is_dialled_where_its_presence_says(mesh: Mesh) -> None:
    async with party(mesh) as asker, party(mesh) as target:
        assert await ask(asker, target, *target.host.addresses()) == target.contact.machine


async def test_a_machine_that_is_not_where_it_said_is_looked_up_in_kademlia(mesh: Mesh) -> None:
    async with party(mesh) as asker, party(mesh) as target, party(mesh, relays=False) as third:
        await target.meet(third)
        await asker.meet(third)
        with trio.fail_after(SECONDS):
            while not await asker.host.find_addresses(target.host.peer_id):  # noqa: ASYNC110 - another's doing
                await trio.sleep(0.02)
        assert await ask(asker, target, NOBODY) == target.contact.machine
        assert target.host.peer_id in asker.host.peers()


async def test_a_machine_that_cannot_be_dialled_is_asked_through_another(mesh: Mesh) -> None:
    async with party(mesh) as asker, party(mesh, listens=False) as target, party(mesh) as third:
        await target.meet(third)
        await asker.meet(third)
        assert await ask(asker, target, NOBODY) == target.contact.machine
        assert target.host.peer_id not in asker.host.peers()


async def test_an_address_where_another_answers_leads_to_nobody(mesh: Mesh) -> None:
    async with party(mesh) as asker, party(mesh, listens=False) as target, party(mesh) as other:
        with pytest.raises(MeshUnreachable, match="none of its addresses answers"):
            await ask(asker, target, *(address.partition("/p2p/")[0] for address in other.host.addresses()))
        assert not target.asked
        assert not other.asked


async def test_a_machine_that_was_not_met_cannot_be_asked(mesh: Mesh) -> None:
    async with party(mesh) as asker:
        peers = Peers(asker.exchange, asker.member.contacts, asker.host, ways_of(asker))
        with pytest.raises(MeshUnreachable, match="not been met"):
            await peers.ask(MachineId("f" * 32), QUERY, BlockReply, timeout=SECONDS)


async def test_a_relay_connects_to_whom_it_passes_questions_on(mesh: Mesh) -> None:
    credentials = mesh.member(now_ms=now_ms())
    async with party(mesh, listens=False) as asker, party(mesh) as relay, party(mesh, credentials) as target:
        through = await asker.meet(relay)
        relay.member.contacts.admit(target.contact)
        with pytest.raises(Unreachable, match="no usable address"):
            await relay.host.connect(target.host.peer_id, ())
        relay.exchange.reach_by(ways_of(relay, **{target.contact.machine: target.host.addresses()}).reach)
        answer = await asker.ask(target.contact, through=through)
        assert answer.decode() == target.contact.machine
