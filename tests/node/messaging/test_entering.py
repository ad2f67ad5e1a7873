"""Which of the known machines becomes the entry, and how many are bothered for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from beemesh_node.messaging.directory import Contact, ContactBook
from beemesh_node.messaging.entering import first_to_admit
from beemesh_node.messaging.errors import AuthenticationRefused, MeshUnreachable, RequestTimeout
from beemesh_node.network.api import Refused, Unreachable
from beemesh_node.protocol.ids import PeerId
from tests.node.protocol.mesh import NOW, OPERATOR, Mesh

WITHIN = 15.0

Answer = Callable[[], Awaitable[object]]


@dataclass
class Network:
    """Machines by peer id, as they answer; `dialled` is who was dialled at which addresses."""

    machines: Mapping[str, Answer]
    dialled: list[tuple[str, Sequence[str]]] = field(default_factory=list)

    async def connect(self, peer: PeerId, addresses: Sequence[str]) -> object:
        self.dialled.append((peer, tuple(addresses)))
        return await self.machines[peer]()

    async def enter(self, *addresses: str) -> Contact:
        known = addresses or tuple(way(peer) for peer in self.machines)
        return await first_to_admit(self, known, WITHIN)  # type: ignore[arg-type]


def way(peer: str, address: str = "192.0.2.1") -> str:
    return f"/ip4/{address}/tcp/7400/p2p/{peer}"


@pytest.fixture(scope="module")
def contact(mesh: Mesh) -> Contact:
    member = mesh.member()
    return ContactBook(mesh.trust()).learn(member.certificate_bytes, member.session().statement_bytes, NOW)


def admits(contact: Contact, after: float = 0.05) -> Answer:
    async def answer() -> object:
        await trio.sleep(after)
        return contact

    return answer


def fails(error: Exception) -> Answer:
    async def answer() -> object:
        await trio.lowlevel.checkpoint()
        raise error

    return answer


async def silent() -> object:
    await trio.sleep_forever()


async def test_who_answers_soon_is_the_only_one_that_is_dialled(
    contact: Contact, autojump_clock: trio.testing.MockClock
) -> None:
    network = Network({str(number): admits(contact) for number in range(5)})
    assert await network.enter() is contact
    assert len(network.dialled) == 1


async def test_the_work_of_entries_is_shared(contact: Contact, autojump_clock: trio.testing.MockClock) -> None:
    network = Network({str(number): admits(contact) for number in range(5)})
    for _ in range(100):
        await network.enter()
    assert len({peer for peer, _ in network.dialled}) == 5


async def test_a_machine_is_dialled_once_at_all_its_addresses(
    contact: Contact, autojump_clock: trio.testing.MockClock
) -> None:
    network = Network({"a": admits(contact)})
    ways = way("a"), way("a", "192.0.2.2")
    await network.enter(*ways)
    assert network.dialled == [("a", ways)]


async def test_many_that_are_silent_hold_up_for_seconds_only(
    contact: Contact, autojump_clock: trio.testing.MockClock
) -> None:
    network = Network({"here": admits(contact), **{str(number): silent for number in range(60)}})
    began = trio.current_time()
    assert await network.enter() is contact
    assert trio.current_time() - began < 5


async def test_who_fails_does_not_hold_up(contact: Contact, autojump_clock: trio.testing.MockClock) -> None:
    broken = {str(number): fails(Unreachable("no route")) for number in range(60)}
    network = Network({"here": admits(contact), **broken})
    began = trio.current_time()
    assert await network.enter() is contact
    assert trio.current_time() - began < 0.1


async def test_why_nobody_admits_is_told_of_each(mesh: Mesh, autojump_clock: trio.testing.MockClock) -> None:
    member = mesh.member(OPERATOR)
    session = member.session()
    operator = ContactBook(mesh.trust()).learn(member.certificate_bytes, session.statement_bytes, NOW)
    network = Network({"a": fails(Unreachable("no route")), "b": admits(operator)})
    with pytest.raises(MeshUnreachable) as unreachable:
        await network.enter()
    assert f"{way('a')}: no route" in str(unreachable.value)
    assert f"{way('b')}: answers as an operator" in str(unreachable.value)

    with pytest.raises(AuthenticationRefused, match="revoked"):
        await Network({"a": fails(Refused("revoked")), "b": fails(Unreachable("no route"))}).enter()
    with pytest.raises(RequestTimeout, match="15 s"):
        await Network({"a": silent}).enter()
    with pytest.raises(MeshUnreachable, match="add-address"):
        await first_to_admit(Network({}), (), WITHIN)  # type: ignore[arg-type]
