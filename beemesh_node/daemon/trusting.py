"""Whom this machine believes, while it runs: takes news of roots, revocations and epochs, acts on them, hands them on.

The connections of who is believed no more are closed and its claims are those of a dead machine; every machine that is
connected and said to believe in something else is shown what there is now. So news pass from neighbour to neighbour,
and a member that was away gets them from whomever it meets first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias, final

import structlog
import trio

from beemesh_node.crypto import CryptoError
from beemesh_node.daemon.enrolment import save_certificate
from beemesh_node.daemon.member import LocalMachine
from beemesh_node.daemon.store import StoreError
from beemesh_node.messaging.directory import Contact
from beemesh_node.messaging.errors import MeshError, RemoteFailure
from beemesh_node.messaging.exchange import Exchange, Handler, Question
from beemesh_node.network.api import Admitted, Host
from beemesh_node.protocol.certificate import Certificate, Role
from beemesh_node.protocol.counters import Refusal
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId, PeerId
from beemesh_node.protocol.messages import Ack, CertificateRenewal, TrustNews, TrustReply

log = structlog.get_logger()

_ASK_WITHIN: Final = 10.0
_LOOK_EVERY: Final = 15.0
"""Seconds after which it is looked again who is connected and believes in something else."""
_AT_ONCE: Final = 8
"""Machines that are shown news at the same time."""

Drop: TypeAlias = Callable[[Contact], Awaitable[None]]
"""Counts a machine no more, with its claims."""


@final
class TrustDesk:
    """Keeps what machines believe the same everywhere."""

    def __init__(self, machine: LocalMachine, exchange: Exchange, host: Host, drop: Drop) -> None:
        self._machine, self._exchange, self._host, self._drop = machine, exchange, host, drop
        self._beliefs = machine.beliefs
        self._contacts = machine.member.contacts
        self._told: dict[MachineId, bytes] = {}
        """What the machines that are connected said last to believe in: digests."""
        self._vain: dict[MachineId, tuple[bytes, bytes]] = {}
        """Two digests that stayed different after all was shown."""
        self._dropped: set[MachineId] = set()
        self._stirred = trio.Event()
        self._showing = trio.CapacityLimiter(_AT_ONCE)
        self._shown_to: set[MachineId] = set()
        """To whom the news are on their way."""

    @property
    def handlers(self) -> Mapping[type, Handler]:
        """Who answers what."""
        return {TrustNews: self._news, CertificateRenewal: self._renewal}

    async def run(self) -> None:
        """Act on what is believed and hand it on, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_connections)
            while True:
                self._stirred = trio.Event()
                await self._enforce()
                for contact in self._behind():
                    self._shown_to.add(contact.machine)
                    nursery.start_soon(self._show, contact)
                with trio.move_on_after(_LOOK_EVERY):
                    await self._stirred.wait()

    def status(self) -> Mapping[str, Any]:
        """What the local socket tells."""
        trust, own = self._beliefs.trust, self._machine.membership.certificate
        return {
            "bundle": trust.sequence,
            "roots": [identity.hex() for identity in trust.roots],
            "root": own.issuer.hex(),
            "serial": own.serial,
            "epoch": trust.revocations.number,
            "revoked": len(trust.revocations.entries),
            "digest": trust.digest.hex(),
            "member": trust.believes(own),
        }

    def stir(self) -> None:
        """Act soon: something that is believed has changed."""
        self._stirred.set()

    # ---- what is asked

    async def _news(self, question: Question) -> TrustReply:
        news: TrustNews = question.payload
        is_machine = question.sender.certificate.role is Role.MACHINE
        refused = await self._take(news, question.sender.certificate.name)
        trust, own = self._beliefs.trust, self._beliefs.news()
        if not trust.believes(question.sender.certificate):
            raise RemoteFailure("Forbidden", f"{question.sender.certificate.name} is revoked")
        if is_machine:
            self._told[question.machine] = news.digest
        if news.digest == trust.digest:
            return TrustReply(trust.digest, trust.revocations.number, (), (), (), refused)
        secrets = own.secrets if is_machine else ()
        return TrustReply(trust.digest, trust.revocations.number, own.bundles, own.lists, secrets, refused)

    async def _renewal(self, question: Question) -> Ack:
        raw = question.payload.certificate
        present = self._machine.membership
        if raw == present.certificate_bytes:
            return Ack()
        try:
            fresh = self._beliefs.trust.verify_certificate(raw, self._machine.mesh_time())
        except ProtocolError as error:
            self._machine.member.counters.count(Refusal.BAD_TRUST)
            raise RemoteFailure("Invalid", f"the certificate is not believed here: {error}") from error
        if _holder(fresh) != _holder(present.certificate):
            raise RemoteFailure("Invalid", f"{present.certificate.name}: the certificate is of another member or key")
        if fresh.not_before < present.certificate.not_before:
            raise RemoteFailure("Conflict", f"{present.certificate.name}: has a newer certificate already")
        try:
            await trio.to_thread.run_sync(save_certificate, self._machine.state, raw)
        except CryptoError as error:
            raise RemoteFailure("Unavailable", str(error)) from error
        await self._machine.reload()
        log.info("certificate renewed", serial=fresh.serial, operator=question.sender.certificate.name)
        return Ack()

    async def _take(self, news: TrustNews | TrustReply, shown_by: str) -> str:
        """Believe what is genuine; return why something is not. Raises `RemoteFailure` if it cannot be written."""
        refused = ""
        before = self._beliefs.trust.digest
        try:
            await self._beliefs.take(news.bundles, news.lists, news.secrets)
        except (ProtocolError, CryptoError) as error:
            self._machine.member.counters.count(Refusal.BAD_TRUST)
            log.warning("news of trust refused", shown_by=shown_by, error=str(error))
            refused = str(error)
        except StoreError as error:
            raise RemoteFailure("Unavailable", str(error)) from error
        if self._beliefs.trust.digest != before:
            self._machine.follow_epoch()
            self.stir()
        return refused

    # ---- what follows

    async def _enforce(self) -> None:
        """Have nothing to do any more with those that are not believed."""
        for contact in self._contacts.disbelieved():
            if contact.certificate.role is Role.MACHINE and contact.machine not in self._dropped:
                self._dropped.add(contact.machine)
                log.warning("believed no more", machine=contact.machine, name=contact.certificate.name)
                await self._drop(contact)
        self._dropped = {machine for machine in self._dropped if self._contacts.by_machine(machine) is None}
        for peer, admission in list(self._host.peers().items()):
            if isinstance(admission, Contact) and not self._may_stay(peer, admission):
                await self._host.disconnect(peer, "revoked")

    def _may_stay(self, peer: PeerId, admission: Contact) -> bool:
        """Whether a connection is still with a member: its certificate may have been renewed since its hello."""
        if self._beliefs.trust.believes(admission.certificate):
            return True
        newest = self._contacts.by_machine(admission.machine)
        return newest is not None and newest.peer == peer

    def _behind(self) -> Iterator[Contact]:
        """The machines that are connected and said to believe in something else."""
        digest = self._beliefs.trust.digest
        for admission in list(self._host.peers().values()):
            if not isinstance(admission, Contact):
                continue
            contact = self._contacts.by_machine(admission.machine)
            if contact is None or contact.certificate.role is not Role.MACHINE or contact.machine in self._shown_to:
                continue
            told = self._told.get(contact.machine, admission.trust_digest)
            if told != digest and self._vain.get(contact.machine) != (digest, told):
                yield contact

    async def _show(self, contact: Contact) -> None:
        """Show a machine what is believed here, and take in what is believed there. What fails is logged."""
        try:
            async with self._showing:
                await self._compare(contact)
        except MeshError as error:
            log.info("news of trust not brought", machine=contact.machine, error=str(error))
        finally:
            self._shown_to.discard(contact.machine)

    async def _compare(self, contact: Contact) -> None:
        news = self._beliefs.news()
        if self._told.get(contact.machine) == news.digest:  # it has shown us meanwhile
            return
        reply = await self._exchange.ask(contact, news, TrustReply, timeout=_ASK_WITHIN)
        await self._take(reply, contact.certificate.name)
        self._told[contact.machine] = reply.digest
        if reply.refused:
            log.warning("news of trust not believed", machine=contact.machine, error=reply.refused)
        present = self._beliefs.trust.digest
        if reply.digest == present:
            return
        if news.digest == present:
            self._vain[contact.machine] = news.digest, reply.digest
        else:
            self.stir()

    async def _watch_connections(self) -> None:
        with self._host.peer_events() as events:
            async for event in events:
                if isinstance(event, Admitted) and isinstance(event.admission, Contact):
                    self._told[event.admission.machine] = event.admission.trust_digest
                    if event.admission.trust_digest != self._beliefs.trust.digest:
                        self.stir()


def _holder(certificate: Certificate) -> tuple[str, str, bytes, Role]:
    return certificate.machine_id, certificate.peer_id, certificate.public_key, certificate.role
