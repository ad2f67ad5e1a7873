"""Hears whom this machine watches, beats for those who watch it, and tells the decision core who is dead.

What is decided, decides `membership.detector`; here are its streams, timers and messages.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import structlog
import trio

from beemesh_node.daemon.drum import Drum
from beemesh_node.healing.events import Event, MemberGone
from beemesh_node.membership.detection import (
    Accusation,
    Accuse,
    Accused,
    Alive,
    AskAbout,
    Closed,
    Dead,
    DetectionEffect,
    DetectionEvent,
    Left,
    Life,
    Opened,
    Present,
    Pulse,
    Redial,
    Redialled,
    Refute,
    Unwatch,
    Vouched,
    Watch,
)
from beemesh_node.membership.detector import Detector
from beemesh_node.messaging.beat_stream import BEATS, BeatStream, begin
from beemesh_node.messaging.directory import Contact
from beemesh_node.messaging.errors import MeshError, MeshUnreachable
from beemesh_node.messaging.local import LocalMember
from beemesh_node.network.api import Host, NetworkError
from beemesh_node.protocol.beats import ID_SIZE, REFUSALS, Beat, LastHeard, Watching, WhenHeard
from beemesh_node.protocol.counters import Refusal
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Death, DeathNotice

log = structlog.get_logger()

_OPEN_WITHIN = 5.0
_REDIAL_WITHIN = 0.25
_ASK_WITHIN = 0.6
_RETRY_FIRST, _RETRY_MOST = 0.1, 2.0
_BY_DATAGRAM = 5
"""After so many beats that came as datagrams, they need not come on the stream as well."""

Put: TypeAlias = Callable[[Event], Awaitable[None]]

_BROKEN = (NetworkError, MeshError, trio.TooSlowError, *REFUSALS)


class Voice(Protocol):
    """Tells everyone, and knows where machines said that they are."""

    def addresses_of(self, machine: MachineId) -> tuple[str, ...]:
        """Where a machine can be dialled."""
        ...

    async def notice(self, notice: DeathNotice) -> None:
        """Sign a death notice and send it to everyone."""
        ...

    def contradict(self, incarnation: int) -> None:
        """Tell of this machine at once, as of this incarnation."""
        ...

    def gone(self, machine: MachineId) -> None:
        """Count a machine no more."""
        ...

    def keep_connected(self) -> None:
        """Who watches whom has changed: see to the connections."""
        ...


@dataclass(eq=False, slots=True)
class _Heard:
    """A stream on which a machine's beats are awaited."""

    machine: MachineId
    stream: BeatStream
    opening: trio.CancelScope
    """Bounds the time until the first beat."""
    on_stream: bool = True
    """Whether the machine was asked to beat on the stream too."""
    datagrams: int = 0
    """How many came since it was asked so."""


class Beats:
    """The failure detector with its hands."""

    def __init__(self, me: MachineId, host: Host, member: LocalMember, put: Put, nursery: trio.Nursery) -> None:
        """`put` tells the decision core; `nursery` owns the streams."""
        self._me, self._host, self._member = me, host, member
        self._nursery = nursery
        self._put = put
        self._detector = Detector(me)
        self._voice: Voice | None = None
        self._open: dict[MachineId, _Heard] = {}
        self._by_id: dict[bytes, _Heard] = {}
        self._watching: dict[MachineId, trio.CancelScope] = {}
        self._counts: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self._asked: dict[int, MachineId] = {}
        self._news, self._heard = trio.open_memory_channel[Event](math.inf)
        self._stirred = trio.Event()
        self._drum = Drum(host, member.counters, self._detector.silence)
        host.on_datagram(self._datagram)

    def speak_through(self, voice: Voice) -> None:
        """Use this voice from now on."""
        self._voice = voice

    # ---- what presence brings

    async def put(self, event: Event) -> None:
        """Tell the decision core, in order with what is found out here."""
        self._news.send_nowait(event)

    def present(self, machine: MachineId, life: Life, sequence: int) -> bool:
        """Take in that a machine told of itself, this one included; False if that is from before its death."""
        return self._tell(Present(machine, life, sequence))

    def left(self, machine: MachineId) -> None:
        """Take in that a machine is no member any more."""
        self._tell(Left(machine))

    def accused(self, accuser: MachineId, notice: DeathNotice) -> None:
        """Take in a death notice of a member."""
        deaths = (
            Accusation(MachineId(death.machine), Life(death.started_at, death.incarnation), death.reason)
            for death in notice.deaths
        )
        self._tell(Accused(accuser, tuple(deaths)))

    def neighbours(self) -> frozenset[MachineId]:
        """Who is watched from here, and who watches this machine: to be kept connected."""
        return self._detector.watched | frozenset(self._detector.watchers(self._me))

    def status(self) -> Mapping[str, int]:
        """What happened so far."""
        return {
            "watched": len(self._detector.watched),
            "heard": len(self._open),
            "datagrams": sum(not heard.on_stream for heard in self._open.values()),
            **self._detector.counts,
            **self._counts,
            **{f"beats.sent.{way}": count for way, count in self._drum.sent.items()},
        }

    async def run(self) -> None:
        """Judge in time, for ever."""
        self._nursery.start_soon(self._pass_on)
        self._nursery.start_soon(self._drum.run)
        while True:
            due = self._detector.next_wakeup()
            self._stirred = trio.Event()
            with trio.move_on_at(math.inf if due is None else due):
                await self._stirred.wait()
                continue
            self._tell(Pulse())

    async def _pass_on(self) -> None:
        async for event in self._heard:
            await self._put(event)

    # ---- the detector

    def _tell(self, event: DetectionEvent) -> bool:
        before = self._detector.next_wakeup()
        effects = self._detector.handle(event, trio.current_time())
        alive = False
        for effect in effects:
            alive = isinstance(effect, Alive) or alive
            self._perform(effect)
        due = self._detector.next_wakeup()
        if due is not None and (before is None or due < before):
            self._stirred.set()
        return alive

    def _perform(self, effect: DetectionEffect) -> None:
        voice = self._voice
        match effect:
            case Watch(machine):
                scope = self._watching[machine] = trio.CancelScope()
                self._nursery.start_soon(self._watch, machine, scope)
                if voice is not None:
                    voice.keep_connected()
            case Unwatch(machine):
                self._watching.pop(machine).cancel()
            case Redial(machine):
                self._counts["redials"] += 1
                self._nursery.start_soon(self._redial, machine)
            case AskAbout(machine, fellow):
                self._counts["questions"] += 1
                self._want_on_stream(machine, True)
                self._nursery.start_soon(self._ask, machine, fellow)
            case Accuse(deaths):
                self._nursery.start_soon(self._accuse, deaths)
            case Dead(machine, why):
                log.warning("machine is dead", machine=machine, why=why)
                self._news.send_nowait(MemberGone(machine, why))
                if voice is not None:
                    voice.gone(machine)
            case Refute(incarnation):
                log.warning("said to be dead, contradicting", incarnation=incarnation)
                if voice is not None:
                    voice.contradict(incarnation)
            case Alive():
                pass

    async def _accuse(self, deaths: Iterable[Accusation]) -> None:
        said = tuple(Death(each.machine, each.life.started_at, each.life.incarnation, each.reason) for each in deaths)
        log.warning("held dead", machines=[death.machine for death in said], why=said[0].reason)
        if self._voice is not None:
            await self._voice.notice(DeathNotice(said))

    async def _redial(self, machine: MachineId) -> None:
        contact = self._member.contacts.by_machine(machine)
        refused = False
        if contact is not None:
            refused = await self._host.refuses(contact.peer, self._addresses(machine), _REDIAL_WITHIN)
        self._tell(Redialled(machine, refused))

    def _addresses(self, machine: MachineId) -> tuple[str, ...]:
        return () if self._voice is None else self._voice.addresses_of(machine)

    # ---- as a watcher

    async def _watch(self, machine: MachineId, scope: trio.CancelScope) -> None:
        retry = _RETRY_FIRST
        with scope:
            while True:
                try:
                    await self._listen(machine)
                except _BROKEN as error:
                    log.debug("stream of beats is lost", machine=machine, error=str(error))
                finally:
                    if self._open.pop(machine, None) is not None:
                        retry = _RETRY_FIRST
                self._tell(Closed(machine))
                await trio.sleep(retry)
                retry = min(retry * 2, _RETRY_MOST)

    async def _listen(self, machine: MachineId) -> None:
        """Hear the beats of a machine until the stream is lost. Raises what `_BROKEN` names."""
        contact = self._contact(machine)
        with trio.fail_after(_OPEN_WITHIN) as opening:
            await self._host.connect(contact.peer, self._addresses(machine))
            async with self._host.open(contact.peer, BEATS) as frames:
                stream = await begin(frames, self._member.counters)
                heard = self._by_id[stream.id] = _Heard(machine, stream, opening)
                try:
                    await stream.send(Watching(self._host.datagram_port, on_stream=True))
                    while True:
                        said = await stream.receive()
                        if isinstance(said, Beat):
                            self._beat_of(heard)
                        else:
                            self._answered(said)
                finally:
                    del self._by_id[stream.id]

    def _beat_of(self, heard: _Heard) -> None:
        self._counts["beats.heard"] += 1
        if heard.machine in self._open:
            self._detector.heard(heard.machine, trio.current_time())
        else:
            heard.opening.deadline = math.inf
            self._open[heard.machine] = heard
            self._tell(Opened(heard.machine))

    def _datagram(self, data: bytes) -> None:
        heard = self._by_id.get(data[:ID_SIZE])
        if heard is None:
            self._member.counters.count(Refusal.DATAGRAM_UNKNOWN)
        elif heard.stream.is_beat(data):
            self._beat_of(heard)
            if heard.on_stream:
                heard.datagrams += 1
                if heard.datagrams >= _BY_DATAGRAM:
                    self._want_on_stream(heard.machine, False)

    def _want_on_stream(self, machine: MachineId, on_stream: bool) -> None:
        """Have a machine beat on the stream too, or not; who is asked to, beats there at once."""
        heard = self._open.get(machine)
        if heard is not None and (on_stream or heard.on_stream):
            heard.on_stream, heard.datagrams = on_stream, 0
            self._nursery.start_soon(self._say, heard, Watching(self._host.datagram_port, on_stream))

    async def _say(self, heard: _Heard, said: Watching) -> None:
        with suppress(*_BROKEN), trio.move_on_after(_ASK_WITHIN):  # whoever reads the stream finds out
            await heard.stream.send(said)

    async def _ask(self, machine: MachineId, fellow: MachineId) -> None:
        """Ask another watcher about a machine; no answer is an answer too."""
        number = next(self._numbers) & 0xFFFFFFFF
        self._asked[number] = machine
        question = WhenHeard(number, machine)
        try:
            with trio.fail_after(_ASK_WITHIN):
                heard = self._open.get(fellow)
                if heard is not None:
                    await heard.stream.send(question)
                    await trio.sleep(_ASK_WITHIN)
                    return
                async with self._host.open(self._contact(fellow).peer, BEATS) as frames:
                    stream = await begin(frames, self._member.counters)
                    await stream.send(question)
                    self._answered(await stream.receive())
        except _BROKEN as error:
            log.debug("no second opinion", machine=machine, fellow=fellow, error=str(error))
        finally:
            self._asked.pop(number, None)

    def _answered(self, said: object) -> None:
        if not isinstance(said, LastHeard):
            self._member.counters.count(Refusal.FRAME_NOT_EXPECTED)
            return
        machine = self._asked.pop(said.number, None)  # None: it comes too late to be of use
        if machine is not None and said.age_ms is not None:
            self._tell(Vouched(machine, said.age_ms / 1000))

    def _contact(self, machine: MachineId) -> Contact:
        contact = self._member.contacts.by_machine(machine)
        if contact is None:
            raise MeshUnreachable(f"machine {machine} has not been met yet")
        return contact
