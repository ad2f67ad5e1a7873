"""Members in this process, each with a real host on loopback, keys and certificate of one mesh."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import trio

from beemesh_node.crypto import generate_kem_key
from beemesh_node.membership.clock import MeshClock
from beemesh_node.messaging.directory import Contact, ContactBook
from beemesh_node.messaging.exchange import Exchange, Handler, Question
from beemesh_node.messaging.gatekeeper import MemberGatekeeper
from beemesh_node.messaging.local import LocalMember
from beemesh_node.messaging.wire import MAX_DIRECT, MESSAGE
from beemesh_node.network.api import HostConfig, NetworkError
from beemesh_node.network.host import MeshHost, open_host
from beemesh_node.protocol.counters import Refusal
from beemesh_node.protocol.messages import BlockReply, BlockRequest
from beemesh_node.protocol.session import LocalSession
from tests.node.protocol.mesh import OPERATOR, Member, Mesh

NETWORK_KEY = bytes(range(32))
QUERY = BlockRequest("00000000-0000-4000-8000-000000000000")
SECONDS = 10.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Party:
    """A member that takes part."""

    credentials: Member
    member: LocalMember
    host: MeshHost
    exchange: Exchange
    asked: list[Question] = field(default_factory=list)
    """The questions that reached the default handler."""

    @property
    def contact(self) -> Contact:
        """How others know this member in its present session."""
        shown = self.member.session
        return Contact(
            shown.certificate, shown.certificate_bytes, shown.fingerprint, shown.statement, shown.statement_bytes
        )

    def refused(self, reason: Refusal) -> int:
        return self.member.counters[reason]

    def seal(self, payload: object, contact: Contact) -> bytes:
        sealer = self.member.sealer
        return sealer.sign(sealer.direct(payload, contact.recipient, self.member.mesh_time()))

    async def meet(self, other: Party) -> Contact:
        """Be connected to another member; who it is, as its hello said."""
        with trio.fail_after(SECONDS):
            admission = await self.host.connect(other.host.peer_id, other.host.addresses())
        assert isinstance(admission, Contact)
        return admission

    async def ask(self, contact: Contact, *, through: Contact | None = None) -> bytes:
        """What the default handler of a member answers; who that is, is known from elsewhere."""
        self.member.contacts.admit(contact)
        reply = await self.exchange.ask(contact, QUERY, BlockReply, timeout=SECONDS, through=through)
        return reply.block

    async def deliver(self, contact: Contact, message: bytes) -> bytes | None:
        """Send bytes as a question; the answer's bytes, or None when the stream ends without."""
        with trio.fail_after(SECONDS):
            async with self.host.open(contact.peer, MESSAGE) as stream:
                await stream.write_frame(message)
                try:
                    return await stream.read_frame(MAX_DIRECT)
                except NetworkError:
                    return None


@asynccontextmanager
async def party(
    mesh: Mesh,
    credentials: Member | None = None,
    *,
    listens: bool = True,
    relays: bool = True,
    handlers: Mapping[type, Handler] | None = None,
    session: LocalSession | None = None,
    address: str = "/ip4/127.0.0.1/tcp/0",
) -> AsyncIterator[Party]:
    """Take part as a machine (or with any credentials) for the length of the block.

    Datagrams arrive only where `address` names a port. A `BlockRequest` is answered with the machine's own id.
    """
    mine = credentials or mesh.member(now_ms=now_ms())
    clock = MeshClock(0, now_ms() - round(trio.current_time() * 1000))

    def mesh_time() -> int:
        return clock.time_ms(trio.current_time())

    member = LocalMember(session or mine.session(now_ms()), ContactBook(mesh.trust()), mesh_time)
    listen = (address,) if listens else ()
    config = HostConfig(mine.identity.peer.export_seed(), NETWORK_KEY, listen=listen, light=not listens)
    async with open_host(config, MemberGatekeeper(member, clock, lambda: True)) as host:
        found = Party(mine, member, host, Exchange(host, member, relays=relays))

        async def answer(question: Question) -> BlockReply:
            found.asked.append(question)
            return BlockReply(mine.certificate.machine_id.encode())

        found.exchange.answer({BlockRequest: answer, **(handlers or {})})
        yield found


def operator(mesh: Mesh) -> Member:
    return mesh.member(OPERATOR, now_ms=now_ms())


def another_session(credentials: Member) -> LocalSession:
    """A session of the same member beside those it has, with a KEM key of its own."""
    return replace(credentials, kem_key=generate_kem_key()).session(now_ms())


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in the other member's tasks
            await trio.sleep(0.005)
