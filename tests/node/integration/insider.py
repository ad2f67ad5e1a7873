"""Members that say what no honest program would: keys and certificates are real, the messages are the test's."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import trio

from beemesh_node.cli.context import Context, ContextSettings
from beemesh_node.cli.operator import load_operator
from beemesh_node.crypto import generate_kem_key
from beemesh_node.crypto.identity import Identity
from beemesh_node.daemon.enrolment import load_membership
from beemesh_node.membership.clock import MeshClock
from beemesh_node.messaging.directory import Contact, ContactBook
from beemesh_node.messaging.exchange import Exchange
from beemesh_node.messaging.gatekeeper import MemberGatekeeper
from beemesh_node.messaging.local import LocalMember
from beemesh_node.messaging.wire import MAX_DIRECT, MESSAGE
from beemesh_node.network.api import HostConfig, NetworkError
from beemesh_node.network.host import MeshHost, open_host
from beemesh_node.protocol.certificate import CERTIFICATE_KIND, MAX_CERTIFICATE, Certificate
from beemesh_node.protocol.codec import decode
from beemesh_node.protocol.ids import PeerId
from beemesh_node.protocol.objects import peek_unverified
from beemesh_node.protocol.session import LocalSession, new_session_id, start_session
from beemesh_node.protocol.trust import TrustStore
from tests.node.integration.machine import Machine
from tests.node.integration.mesh import Operator

T = TypeVar("T")

_ANSWER_SECONDS = 10.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Credentials:
    """What a member shows, and the keys behind it."""

    identity: Identity
    certificate: bytes
    trust: TrustStore
    network_key: bytes
    epoch_secret: bytes | None = None

    @classmethod
    def of_machine(cls, machine: Machine) -> Credentials:
        found = load_membership(machine.state)
        return cls(found.identity, found.certificate_bytes, found.trust, found.network_key, found.epoch_secret)

    @classmethod
    def of_operator(cls, operator: Operator) -> Credentials:
        context = Context(Path(operator.directory))
        found = load_operator(context, ContextSettings.load(context))
        return cls(found.identity, found.certificate_bytes, found.trust, found.network_key)


class Insider:
    """A member in this process."""

    def __init__(self, credentials: Credentials, member: LocalMember, host: MeshHost) -> None:
        self.credentials, self.member, self.host = credentials, member, host
        self.exchange = Exchange(host, member, relays=False)

    async def meet(self, machine: Machine) -> Contact:
        """Be connected to a machine. Raises what `Host.connect` raises."""
        admission = await self.host.connect(PeerId(machine.peer), [machine.multiaddr])
        assert isinstance(admission, Contact)
        return admission

    def seal(self, payload: object, contact: Contact, *, at_ms: int | None = None) -> bytes:
        """A message in our name."""
        when = self.member.mesh_time() if at_ms is None else at_ms
        return self.member.sealer.sign(self.member.sealer.direct(payload, contact.recipient, when))

    async def deliver(self, contact: Contact, message: bytes) -> bytes | None:
        """Send bytes as a question; the bytes of the answer, None if the stream was closed without one."""
        with trio.fail_after(_ANSWER_SECONDS):
            async with self.host.open(contact.peer, MESSAGE) as stream:
                await stream.write_frame(message)
                try:
                    return await stream.read_frame(MAX_DIRECT)
                except NetworkError:
                    return None

    async def ask(self, contact: Contact, payload: object, reply: type[T]) -> T:
        """An honest question."""
        return await self.exchange.ask(contact, payload, reply, timeout=_ANSWER_SECONDS)


def session_of(credentials: Credentials) -> LocalSession:
    """Begin a session, whether or not anybody would believe the certificate."""
    raw = credentials.certificate
    certificate = decode(Certificate, peek_unverified(CERTIFICATE_KIND, raw, MAX_CERTIFICATE))
    return start_session(credentials.identity.signing, generate_kem_key(), certificate, raw, new_session_id(), now_ms())


@asynccontextmanager
async def insider(credentials: Credentials, *, gossips: bool = False, listen: str = "") -> AsyncIterator[Insider]:
    """Take part with these credentials, for the length of the block."""
    now = now_ms()
    session = session_of(credentials)
    certificate = session.certificate
    clock = MeshClock(certificate.not_before, now - round(trio.current_time() * 1000))
    member = LocalMember(session, ContactBook(credentials.trust), lambda: clock.time_ms(trio.current_time()))
    if credentials.epoch_secret is not None:
        member.add_epoch(credentials.epoch_secret)
    config = HostConfig(
        credentials.identity.peer.export_seed(),
        credentials.network_key,
        listen=(listen,) if listen else (),
        light=not gossips,
    )
    async with open_host(config, MemberGatekeeper(member, clock, lambda: True)) as host:
        yield Insider(credentials, member, host)
