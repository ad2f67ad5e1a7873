"""The mesh as an operator's command sees it: one connection to one machine, through which all others answer."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar, final

import trio

from beemesh_node.membership.clock import MeshClock
from beemesh_node.membership.closeness import GUARDIANS, guardians_of, key_of_name
from beemesh_node.membership.member import Member, member_of
from beemesh_node.messaging.directory import Contact, ContactBook
from beemesh_node.messaging.duplex import SealedDuplex
from beemesh_node.messaging.entering import first_to_admit
from beemesh_node.messaging.errors import (
    AuthenticationRefused,
    ConnectionLost,
    MeshUnreachable,
    PeerRefused,
)
from beemesh_node.messaging.exchange import Exchange
from beemesh_node.messaging.gatekeeper import MemberGatekeeper
from beemesh_node.messaging.local import LocalMember
from beemesh_node.network.api import Host, HostConfig
from beemesh_node.protocol.certificate import Role
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import (
    Ack,
    ExecRequest,
    ListReply,
    ListRequest,
    LogsRequest,
    MachineEntry,
    Resource,
    TrustNews,
    TrustReply,
)
from beemesh_node.protocol.revocation import sift
from beemesh_node.protocol.session import LocalSession
from beemesh_node.protocol.trust import TrustStore

_LIST_WITHIN = 10.0

T = TypeVar("T")


@final
class MeshSession:
    """An admitted connection to an entry machine, and what it told of the others, verified."""

    def __init__(
        self,
        exchange: Exchange,
        contacts: ContactBook,
        entry: Contact,
        mesh_time: Callable[[], int],
        connected: Callable[[], bool],
    ) -> None:
        """`connected`: whether the entry still is, in the same session: one that restarted knows nothing of ours."""
        self._exchange = exchange
        self._contacts = contacts
        self._entry = entry
        self._mesh_time = mesh_time
        self._connected = connected
        self._machines: dict[MachineId, MachineEntry] = {}

    @property
    def entry(self) -> MachineId:
        """The machine that this session is connected to."""
        return self._entry.machine

    @property
    def machines(self) -> Mapping[MachineId, MachineEntry]:
        """Every machine as the entry told; certificates and statements are verified."""
        return self._machines

    @property
    def mesh_time_ms(self) -> int:
        """Mesh time now."""
        return self._mesh_time()

    async def follow_trust(self) -> None:
        """Learn newer roots and revocations from the entry. Raises `MeshError`, also if it is revoked itself."""
        trust = self._contacts.trust
        if self._entry.trust_digest in (b"", trust.digest):
            return
        question = TrustNews(trust.digest, (), (), ())
        reply = await self.ask(self.entry, question, TrustReply, timeout=_LIST_WITHIN)
        try:
            trust.catch_up(reply.bundles)
            trust.heed(trust.revocations.merged(sift(reply.lists, trust, trust.revocations)[0]))
        except ProtocolError as error:
            raise PeerRefused(f"{self._entry.certificate.name}: what it shows is not believed: {error}") from error
        if self._contacts.by_machine(self.entry) is None:
            raise AuthenticationRefused(f"{self._entry.certificate.name} is revoked: enter by another machine")

    async def refresh(self) -> None:
        """Ask the entry again who is there. What it cannot prove of a machine is left out. Raises `MeshError`."""
        request = ListRequest(Resource.MACHINES)
        reply = await self.ask(self.entry, request, ListReply, timeout=_LIST_WITHIN)
        told = list(reply.machines)
        while reply.next > request.after:
            request = replace(request, after=reply.next)
            reply = await self.ask(self.entry, request, ListReply, timeout=_LIST_WITHIN)
            told += reply.machines
        machines: dict[MachineId, MachineEntry] = {}
        for entry in told:
            try:
                contact = self._contacts.learn(entry.certificate, entry.statement, self.mesh_time_ms)
            except ProtocolError:
                continue  # an entry that lies, or a member whose certificate is over: neither can be asked
            if contact.certificate.role is Role.MACHINE and contact.machine == entry.machine:
                machines[contact.machine] = entry
        self._machines = machines

    async def ask(self, machine: MachineId, payload: object, reply: type[T], *, timeout: float) -> T:
        """Ask one machine, sealed to it, passed on by the entry if it is another. `timeout` in seconds.

        Raises `MeshError`: `ConnectionLost` is about the entry, through which everything goes, and the others are about
        the machine.
        """
        through = self._through(machine)
        try:
            return await self._exchange.ask(self._contact(machine), payload, reply, timeout=timeout, through=through)
        except (MeshUnreachable, PeerRefused) as error:
            if self._connected():
                raise
            raise ConnectionLost(f"the connection to the mesh was lost: {error}; run it again") from error

    @asynccontextmanager
    async def stream(self, machine: MachineId, request: LogsRequest | ExecRequest) -> AsyncIterator[SealedDuplex]:
        """Open the sealed stream that a request asks for; its secret is drawn here. Raises `MeshError`."""
        secret = secrets.token_bytes(32)
        question = replace(request, stream_secret=secret)
        contact, through = self._contact(machine), self._through(machine)
        async with (
            self._exchange.open(contact, question, Ack, through=through) as (_, stream, message_id),
            SealedDuplex(stream, secret, message_id, asker=True) as duplex,
        ):
            yield duplex

    def guardians(self, namespace: str, kind: str, name: str) -> tuple[MachineId, ...]:
        """The machines responsible for whatever is declared under a name, closest first."""
        return guardians_of(key_of_name(namespace, kind, name), tuple(self._members()), GUARDIANS)

    def _members(self) -> list[Member]:
        members = []
        for machine, entry in self._machines.items():
            contact = self._contacts.by_machine(machine)
            if contact is None or entry.presence is None:
                continue
            certificate = contact.certificate
            members.append(
                member_of(machine, certificate.name, certificate.guardian, certificate.labels, entry.presence)
            )
        return members

    def _contact(self, machine: MachineId) -> Contact:
        contact = self._contacts.by_machine(machine)
        if contact is None:
            raise MeshUnreachable(f"machine {machine} is not known to {self._entry.certificate.name}")
        return contact

    def _through(self, machine: MachineId) -> Contact | None:
        return None if machine == self.entry else self._entry


@asynccontextmanager
async def open_session(
    session: LocalSession,
    trust: TrustStore,
    network: HostConfig,
    wall_clock_ms: Callable[[], int],
    *,
    timeout: float,
) -> AsyncIterator[MeshSession]:
    """Connect to the first of `network.bootstrap` that answers as a machine of this mesh, within `timeout` seconds.

    Raises:
        AuthenticationRefused: machines answer, but one side does not believe the other.
        MeshUnreachable: no machine answers.
        RequestTimeout: the entry was met but does not answer.
    """
    clock = MeshClock(session.certificate.not_before, wall_clock_ms() - round(trio.current_time() * 1000))
    contacts = ContactBook(trust)

    def mesh_time() -> int:
        return clock.time_ms(trio.current_time())

    member = LocalMember(session, contacts, mesh_time)
    gatekeeper = MemberGatekeeper(member, clock, lambda: True)
    # Imported here: libp2p takes its time, and whoever only reads this module's types should not pay for it.
    from beemesh_node.network.host import open_host

    light = replace(network, light=True, listen=(), bootstrap=())
    async with open_host(light, gatekeeper) as host:
        exchange = Exchange(host, member, relays=False)
        entry = await first_to_admit(host, network.bootstrap, timeout)
        mesh = MeshSession(exchange, contacts, entry, mesh_time, lambda: _is_met(host, entry))
        await mesh.follow_trust()
        await mesh.refresh()
        yield mesh


def _is_met(host: Host, entry: Contact) -> bool:
    met = host.peers().get(entry.peer)
    return isinstance(met, Contact) and met.statement.session_id == entry.statement.session_id
