"""Being there, and knowing who else is: presence by gossip under the epoch, and the connections that follow from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Protocol, TypeAlias

import structlog
import trio

from beemesh_node.daemon.acquaintances import Acquaintances
from beemesh_node.healing.events import Event, MemberGone, MemberSeen
from beemesh_node.membership.cadence import WATCHED_LEAST, lifetime, presence_period
from beemesh_node.membership.detection import Life
from beemesh_node.membership.member import Member, member_of
from beemesh_node.messaging.directory import Contact
from beemesh_node.messaging.exchange import Exchange
from beemesh_node.messaging.local import LocalMember
from beemesh_node.messaging.wire import PRESENCE_TOPIC
from beemesh_node.network.api import Gone, Host, NetworkError, Verdict
from beemesh_node.protocol.counters import Refusal, Refused, UnknownSender
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId, PeerId
from beemesh_node.protocol.messages import DeathNotice, Leaving, Presence
from beemesh_node.protocol.opener import Opened

log = structlog.get_logger()

MAX_WANTED = 64
"""Machines to which connections are kept; beyond, one is made when it is needed."""
FOR_SILENT = 8
"""Of these at most for machines that fell silent or were not heard yet, unless others leave more: two halves of a mesh
find back together."""
SHORTEST_GAP = 0.3
"""Seconds between two presences, however often something changes."""

Describe: TypeAlias = Callable[[int, int], Presence]
"""Gives this machine's presence, of a sequence and with a period in ms."""
Put: TypeAlias = Callable[[Event], Awaitable[None]]


class Detection(Protocol):
    """Finds out who is dead."""

    def present(self, machine: MachineId, life: Life, sequence: int) -> bool:
        """Take in that a machine told of itself, this one included; False if that is from before its death."""
        ...

    def left(self, machine: MachineId) -> None:
        """Take in that a machine is no member any more."""
        ...

    def accused(self, accuser: MachineId, notice: DeathNotice) -> None:
        """Take in a death notice of a member."""
        ...

    def neighbours(self) -> frozenset[MachineId]:
        """Who is to be kept connected in any case."""
        ...


class PresenceService:
    """Tells of this machine, and takes in what others tell of themselves."""

    def __init__(
        self,
        host: Host,
        member: LocalMember,
        exchange: Exchange,
        describe: Describe,
        put: Put,
        detection: Detection,
        acquaintances: Acquaintances,
    ) -> None:
        """`put` tells the decision core, in order with what `detection` finds out."""
        self._detection = detection
        self._acquaintances = acquaintances
        self._incarnation = 0
        self._host = host
        self._member = member
        self._exchange = exchange
        self._describe = describe
        self._put = put
        self._sequence = 0
        self._changed = trio.Event()
        self._newest: dict[MachineId, tuple[Presence, float]] = {}
        self._expires: dict[MachineId, float] = {}  # of those that are here, in monotonic seconds
        self.own: Presence | None = None
        """What this machine last told of itself."""

    @property
    def newest(self) -> dict[MachineId, tuple[Presence, float]]:
        """The last presence of every other machine, silent ones too, and when it was heard (monotonic seconds)."""
        return self._newest

    def addresses_of(self, machine: MachineId) -> tuple[str, ...]:
        """Where a machine last said that it can be dialled; nothing if it has not been heard."""
        heard = self._newest.get(machine)
        return () if heard is None else heard[0].addresses

    def changed(self) -> None:
        """Tell of this machine soon: something about it is different."""
        self._changed.set()

    # ---- what detection wants (see `beats.Voice`)

    async def notice(self, notice: DeathNotice) -> None:
        """Sign a death notice and send it to everyone."""
        await self._publish(notice)

    def contradict(self, incarnation: int) -> None:
        """Tell of this machine at once, as of this incarnation."""
        self._incarnation = incarnation
        self._changed.set()

    def gone(self, machine: MachineId) -> None:
        """Count a machine no more: it is dead."""
        if self._expires.pop(machine, None) is not None:
            self._want()

    async def disown(self, contact: Contact) -> None:
        """Count a machine no more, with its claims: it is believed no more."""
        machine = contact.machine
        self._acquaintances.forget(machine)
        self._newest.pop(machine, None)
        self._expires.pop(machine, None)
        self._want()
        self._detection.left(machine)
        await self._put(MemberGone(machine, "its certificate was revoked"))

    def keep_connected(self) -> None:
        """Who is to be kept connected in any case has changed."""
        self._want()

    async def run(self) -> None:
        """Speak and listen, for ever."""
        heard = self._host.subscribe(PRESENCE_TOPIC, self._judge)
        self._want()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._speak)
            nursery.start_soon(self._watch_connections)
            nursery.start_soon(self._acquaintances.run)
            async for _ in heard:
                pass  # `_judge` has taken it in already: a message can be opened only once

    async def leave(self, *, restarting: bool) -> None:
        """Say that this machine stops, so that nobody suspects it, and write down whom to look for afterwards."""
        await self._publish(Leaving(restarting))
        await self._acquaintances.write()

    async def _speak(self) -> None:
        while True:
            self._changed = trio.Event()
            self._drop_silent()
            period = presence_period(len(self._expires) + 1)
            self._sequence += 1
            described = self._describe(self._sequence, round(period * 1000))
            self.own = replace(described, incarnation=self._incarnation)
            me = self._member.session.certificate.machine_id
            self._detection.present(me, Life(self.own.started_at, self._incarnation), self._sequence)
            await self._publish(self.own)
            began = trio.current_time()
            with trio.move_on_after(period):
                await self._changed.wait()
            await trio.sleep_until(began + SHORTEST_GAP)

    async def _publish(self, payload: Presence | Leaving | DeathNotice) -> None:
        secret = self._member.present_epoch
        if secret is None:
            return
        sealer = self._member.sealer
        message = sealer.sign(sealer.broadcast(payload, secret, self._member.mesh_time()))
        try:
            await self._host.publish(PRESENCE_TOPIC, message)
        except NetworkError as error:
            log.warning("presence not published", error=str(error))

    async def _judge(self, data: bytes, forwarder: PeerId) -> Verdict:
        try:
            opened = await self._opened(data, forwarder)
        except Refused as refused:
            return Verdict.REJECT if refused.reason is Refusal.BAD_SIGNATURE else Verdict.IGNORE
        contact = self._member.contacts.by_fingerprint(opened.header.sender)
        if contact is None:
            return Verdict.IGNORE
        if isinstance(opened.payload, Leaving):
            await self._left(contact, opened.payload)
        elif isinstance(opened.payload, DeathNotice):
            self._detection.accused(contact.machine, opened.payload)
        elif isinstance(opened.payload, Presence):
            try:
                await self._seen(contact, opened.payload)
            except ProtocolError as error:
                log.info("presence refused", machine=contact.machine, error=str(error))
                return Verdict.REJECT
        return Verdict.ACCEPT

    async def _opened(self, data: bytes, forwarder: PeerId) -> Opened:
        member = self._member
        try:
            return member.opener.open(data, member.mesh_time())
        except UnknownSender as unknown:
            deliverer = self._host.peers().get(forwarder)
            if not isinstance(deliverer, Contact) or not await self._exchange.fetch(deliverer, unknown.fingerprint):
                raise
        return member.opener.open(data, member.mesh_time())

    async def _seen(self, contact: Contact, presence: Presence) -> None:
        """Take in a presence. Raises `ProtocolError` when the statement in it is not the sender's own."""
        known = self._newest.get(contact.machine)
        if known is not None and (presence.started_at, presence.sequence) <= (known[0].started_at, known[0].sequence):
            return
        self._member.contacts.learn(contact.certificate_bytes, presence.statement, self._member.mesh_time())
        life = Life(presence.started_at, presence.incarnation)
        if not self._detection.present(contact.machine, life, presence.sequence):
            return
        now = trio.current_time()
        news = known is None or contact.machine not in self._expires or known[0].addresses != presence.addresses
        self._newest[contact.machine] = (presence, now)
        self._expires[contact.machine] = now + lifetime(presence.period_ms / 1000, WATCHED_LEAST)
        self._acquaintances.heard(contact.machine, contact.peer, presence.addresses)
        if news:
            self._want()
        await self._put(MemberSeen(_member(contact, presence)))

    async def _left(self, contact: Contact, leaving: Leaving) -> None:
        self._newest.pop(contact.machine, None)
        if not leaving.restarting:
            self._acquaintances.forget(contact.machine)
        if self._expires.pop(contact.machine, None) is not None:
            self._want()
        self._detection.left(contact.machine)
        await self._put(MemberGone(contact.machine, "it said that it leaves", leaving.restarting))

    def _drop_silent(self) -> None:
        """Count machines no more of which nothing is known: they slow nobody down and hold nobody's place."""
        now = trio.current_time()
        silent = [machine for machine, expires in self._expires.items() if expires < now]
        for machine in silent:
            self._expires.pop(machine, None)  # once one has left, detection may have found the next one dead already
            self._detection.left(machine)
        if silent:
            self._want()

    def _want(self) -> None:
        """Keep connections to those that are watched or watch us, and then to the machines with the lowest ids.

        These are the same for everybody, so that most connections are shared.
        """
        heard, known = self._newest, self._acquaintances.known
        silent = sorted(heard.keys() - self._expires.keys(), key=lambda machine: (-heard[machine][1], machine))
        unheard = [(other.peer, other.addresses) for machine, other in known.items() if machine not in heard]
        by_turns = zip_longest(self._ways(silent[:MAX_WANTED]), unheard)
        lost = [each for pair in by_turns for each in pair if each is not None]
        close = self._detection.neighbours()
        first = sorted(self._expires, key=lambda machine: (machine not in close, machine))
        here = self._ways(first[: MAX_WANTED - min(len(lost), FOR_SILENT)])
        self._host.want(dict([*here, *lost][:MAX_WANTED]))

    def _ways(self, machines: Iterable[MachineId]) -> list[tuple[PeerId, Sequence[str]]]:
        """Where machines said that they can be dialled."""
        contacts = ((machine, self._member.contacts.by_machine(machine)) for machine in machines)
        return [(found.peer, self._newest[machine][0].addresses) for machine, found in contacts if found is not None]

    async def _watch_connections(self) -> None:
        """Speak at once to who has just come, so that it need not wait for the next period."""
        with self._host.peer_events() as events:
            async for event in events:
                log.info("connection", peer=event.peer, became=type(event).__name__.lower())
                if not isinstance(event, Gone):
                    self._changed.set()


def _member(contact: Contact, presence: Presence) -> Member:
    certificate = contact.certificate
    return member_of(contact.machine, certificate.name, certificate.guardian, certificate.labels, presence)
