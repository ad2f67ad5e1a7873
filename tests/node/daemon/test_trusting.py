"""Machines that hand on whom they believe: what one takes, all who are connected take, and act on it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from beemesh_node.crypto import generate_kem_key
from beemesh_node.daemon.beliefs import Beliefs
from beemesh_node.daemon.enrolment import Membership
from beemesh_node.daemon.store import Store, StoreError
from beemesh_node.daemon.trusting import TrustDesk
from beemesh_node.messaging.directory import Contact, ContactBook
from beemesh_node.messaging.errors import MeshUnreachable, RemoteFailure
from beemesh_node.messaging.exchange import Question
from beemesh_node.messaging.local import LocalMember
from beemesh_node.network.api import Admitted
from beemesh_node.protocol.counters import Refusal
from beemesh_node.protocol.messages import Ack, CertificateRenewal, TrustNews, TrustReply
from beemesh_node.protocol.revocation import Revocation
from beemesh_node.protocol.root import MeshRoot
from tests.node.protocol.mesh import NOW, OPERATOR, Member, Mesh
from tests.node.protocol.revoking import list_by, list_by_root

JOINED, SECRET, OTHER = b"1" * 32, b"2" * 32, b"3" * 32
SECONDS = 5.0


class Node:
    """One machine with a desk; it stands in for the host, the exchange and the machine of its desk."""

    def __init__(self, place: Path, mesh: Mesh, net: Net) -> None:
        self.mesh, self.net, self.state = mesh, net, place
        self.credentials = mesh.member()
        place.mkdir(mode=0o700)
        self.store = Store(place / "state.db", secrets.token_bytes(32))
        self.membership = Membership(
            identity=self.credentials.identity,
            certificate=self.credentials.certificate,
            certificate_bytes=self.credentials.certificate_bytes,
            trust=mesh.trust(),
            network_key=b"",
            bootstrap=(),
            epoch=1,
            epoch_secret=JOINED,
        )
        self.beliefs = Beliefs(place, self.membership, self.store, trio.CapacityLimiter(1))
        self.member = LocalMember(self.credentials.session(), ContactBook(self.membership.trust), lambda: NOW)
        self.follow_epoch()
        self.dropped: list[str] = []
        self.cut: list[str] = []
        self.asked = 0
        self.reloaded = 0
        self.linked: dict[Any, Contact] = {}
        self.listeners: list[Any] = []
        self.desk = TrustDesk(self, self, self, self.drop)  # type: ignore[arg-type]

    @property
    def contact(self) -> Contact:
        return contact_of(self.credentials)

    @property
    def name(self) -> str:
        return self.credentials.certificate.machine_id

    @property
    def revoked(self) -> list[str]:
        return [entry.name for entry in self.beliefs.trust.revocations.entries]

    # as LocalMachine

    def follow_epoch(self) -> None:
        self.member.add_epoch(self.beliefs.secret)

    def mesh_time(self) -> int:
        return NOW

    async def reload(self) -> None:
        self.reloaded += 1

    # as Host

    def peers(self) -> dict[Any, Contact]:
        return dict(self.linked)

    def peer_events(self) -> Any:
        send, receive = trio.open_memory_channel[Admitted](64)
        self.listeners.append(send)
        return receive

    async def disconnect(self, peer: str, reason: str) -> None:
        self.cut.append(peer)
        self.linked.pop(peer, None)

    async def drop(self, contact: Contact) -> None:
        self.dropped.append(contact.machine)

    # as Exchange

    async def ask(self, contact: Contact, payload: object, reply: type, *, timeout: float) -> Any:
        self.asked += 1
        other = self.net.nodes[contact.machine]
        if contact.peer not in self.linked:
            raise MeshUnreachable("not connected")
        return await other.handle(payload, self.contact)

    async def handle(self, payload: object, sender: Contact) -> Any:
        return await self.desk.handlers[type(payload)](Question(payload, sender, b"", self.contact.fingerprint))


class Net:
    """Machines, each joined to those that a test joins it to."""

    def __init__(self, place: Path) -> None:
        self.mesh, self.place = Mesh(), place
        self.nodes: dict[Any, Node] = {}

    def add(self) -> Node:
        node = Node(self.place / str(len(self.nodes)), self.mesh, self)
        self.nodes[node.name] = node
        return node

    def join(self, one: Node, other: Node) -> None:
        for here, there in ((one, other), (other, one)):
            admission = replace(there.contact, trust_digest=there.beliefs.trust.digest)
            here.member.contacts.admit(admission)
            here.linked[there.contact.peer] = admission
            for listener in here.listeners:
                listener.send_nowait(Admitted(there.contact.peer, admission))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            for node in self.nodes.values():
                nursery.start_soon(node.desk.run)
            await trio.testing.wait_all_tasks_blocked()
            yield
            nursery.cancel_scope.cancel()


def contact_of(member: Member) -> Contact:
    shown = replace(member, kem_key=generate_kem_key()).session()
    return Contact(
        shown.certificate, shown.certificate_bytes, shown.fingerprint, shown.statement, shown.statement_bytes
    )


def entry(member: Member, name: str = "gone") -> Revocation:
    return Revocation(member.certificate.machine_id, 0, name, NOW, "")


@pytest.fixture
def net(tmp_path: Path) -> Net:
    return Net(tmp_path)


async def agree(*nodes: Node) -> None:
    with trio.fail_after(SECONDS):
        while len({node.beliefs.trust.digest for node in nodes}) > 1:  # noqa: ASYNC110 - the desks tell nobody
            await trio.sleep(0.01)


def news(*lists: bytes, secret: bytes = SECRET) -> TrustNews:
    return TrustNews(b"", (), lists, (secret,))


async def test_news_pass_from_neighbour_to_neighbour(net: Net) -> None:
    line = [net.add() for _ in range(5)]
    for one, other in pairwise(line):
        net.join(one, other)
    operator, victim = contact_of(net.mesh.member(OPERATOR)), net.mesh.member()
    async with net.running():
        reply = await line[0].handle(news(list_by_root(net.mesh.root, 2, entry(victim), secret=SECRET)), operator)
        assert (reply.refused, reply.number, reply.secrets) == ("", 2, ())
        await agree(*line)
    assert {node.member.present_epoch for node in line} == {SECRET}
    assert [node.revoked for node in line] == [["gone"]] * 5
    assert sum(node.asked for node in line) <= 2 * len(line), "and come to rest"


async def test_two_parts_of_a_mesh_that_were_cut_off_believe_the_same_once_they_meet(net: Net) -> None:
    left, right, bridge = net.add(), net.add(), net.add()
    first, second = net.mesh.member(), net.mesh.member()
    operator = contact_of(net.mesh.member(OPERATOR))
    await left.handle(news(list_by_root(net.mesh.root, 2, entry(first, "first"), secret=SECRET)), operator)
    await right.handle(
        news(list_by_root(net.mesh.root, 2, entry(second, "second"), secret=OTHER), secret=OTHER), operator
    )
    async with net.running():
        net.join(left, bridge)
        net.join(bridge, right)
        await agree(left, bridge, right)
    for node in (left, bridge, right):
        assert sorted(node.revoked) == ["first", "second"]
    assert len({node.member.present_epoch for node in (left, bridge, right)}) == 1


async def test_who_is_revoked_is_cut_off_and_counted_out_once(net: Net) -> None:
    here, gone, stays = net.add(), net.add(), net.add()
    net.join(here, gone)
    net.join(here, stays)
    operator = contact_of(net.mesh.member(OPERATOR))
    revoking = news(list_by_root(net.mesh.root, 2, entry(gone.credentials), secret=SECRET))
    async with net.running():
        await here.handle(revoking, operator)
        with trio.fail_after(SECONDS):
            while not here.cut:  # noqa: ASYNC110
                await trio.sleep(0.01)
        here.desk.stir()
        await agree(here, stays)
        with pytest.raises(RemoteFailure, match="is revoked"):
            await here.handle(TrustNews(b"", (), (), ()), gone.contact)
    assert here.dropped == [gone.name]
    assert here.cut == [gone.contact.peer]
    assert gone.beliefs.secret == JOINED, "nobody gives it the next secret"


async def test_a_connection_outlives_the_certificate_that_began_it(net: Net) -> None:
    here, other = net.add(), net.add()
    net.join(here, other)
    raw = net.mesh.root.renew(other.credentials.certificate, NOW + 1)
    renewed = replace(other.credentials, certificate_bytes=raw, certificate=net.mesh.trust().verify_chain(raw))
    here.member.contacts.admit(contact_of(renewed))
    old = Revocation(
        other.credentials.certificate.machine_id, other.credentials.certificate.serial, "", NOW, "replaced"
    )
    async with net.running():
        await here.handle(
            news(list_by_root(net.mesh.root, 2, old, secret=SECRET)), contact_of(net.mesh.member(OPERATOR))
        )
        await trio.testing.wait_all_tasks_blocked(0.05)
    assert (here.dropped, here.cut) == ([], [])


async def test_what_is_not_genuine_is_counted_and_what_is_beside_it_taken(net: Net) -> None:
    here = net.add()
    operator = contact_of(net.mesh.member(OPERATOR))
    nobody = net.mesh.member(OPERATOR)
    bad = list_by(nobody, 5, entry(net.mesh.member()))
    for lists in ((bad,), (b"nothing",), (list_by_root(MeshRoot.create(), 9),)):
        reply = await here.handle(news(*lists), operator)
        assert isinstance(reply, TrustReply)
        assert reply.refused
    assert here.member.counters[Refusal.BAD_TRUST] == 3
    assert here.beliefs.trust.revocations.number == 1
    reply = await here.handle(news(bad, list_by_root(net.mesh.root, 2, secret=SECRET)), operator)
    assert reply.refused
    assert reply.number == 2


async def test_a_full_disk_is_told_and_believed_nowhere(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    here = net.add()

    def full(*_: Any) -> None:
        raise StoreError("no space left")

    monkeypatch.setattr(here.store, "write", full)
    with pytest.raises(RemoteFailure, match="no space left"):
        await here.handle(news(list_by_root(net.mesh.root, 2, secret=SECRET)), contact_of(net.mesh.member(OPERATOR)))
    assert here.beliefs.trust.revocations.number == 1


async def test_a_machine_takes_a_certificate_for_its_own_keys_alone(net: Net) -> None:
    here, other = net.add(), net.add()
    operator = contact_of(net.mesh.member(OPERATOR))
    own = here.credentials.certificate
    later = net.mesh.root.renew(own, NOW + 1)
    assert await here.handle(CertificateRenewal(later), operator) == Ack()
    assert (here.reloaded, (here.state / "machine.cert").read_bytes()) == (1, later)
    assert await here.handle(CertificateRenewal(here.credentials.certificate_bytes), operator) == Ack()
    for raw, code in (
        (net.mesh.root.renew(other.credentials.certificate, NOW), "Invalid"),
        (MeshRoot(MeshRoot.create().key, net.mesh.root.mesh_id).renew(own, NOW), "Invalid"),
        (b"nothing", "Invalid"),
        (net.mesh.root.renew(own, NOW - 9_000_000), "Conflict"),
    ):
        with pytest.raises(RemoteFailure) as failure:
            await here.handle(CertificateRenewal(raw), operator)
        assert failure.value.code == code
    assert here.reloaded == 1
