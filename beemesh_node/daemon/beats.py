"""Hears whom this machine watches, beats for those who watch it, and tells the decision core who is dead.

What is decided, decides `membership.detector`; here are its streams, timers and messages.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol, TypeAlias

import structlog
import trio

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
from beemesh_node.messaging.beat_stream import BEATS, BeatStream, accept, begin
from beemesh_node.messaging.directory import Contact
from beemesh_node.messaging.errors import MeshError, MeshUnreachable
from beemesh_node.messaging.local import LocalMember
from beemesh_node.network.api import FrameStream, Host, NetworkError
from beemesh_node.protocol.beats import REFUSALS, Beat, LastHeard, Watching, WhenHeard
from beemesh_node.protocol.certificate import Role
from beemesh_node.protocol.counters import Refusal
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Death, DeathNotice

log = structlog.get_logger()

BEAT_EVERY = 0.2
_OPEN_WITHIN = 5.0
_REDIAL_WITHIN = 0.25
_ASK_WITHIN = 0.6
_RETRY_FIRST, _RETRY_MOST = 0.1, 2.0
_STREAMS_PER_MACHINE = 4
"""Streams of beats that one machine may have here: one to watch, one of a lost connection, the others to ask on."""

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


class Beats:
    """The failure detector with its hands."""

    def __init__(self, me: MachineId, host: Host, member: LocalMember, put: Put, nursery: trio.Nursery) -> None:
        """`put` tells the decision core; `nursery` owns the streams."""
        self._me, self._host, self._member = me, host, member
        self._nursery = nursery
        self._put = put
        self._detector = Detector(me)
        self._voice: Voice | None = None
        self._open: dict[MachineId, BeatStream] = {}
        self._watching: dict[MachineId, trio.CancelScope] = {}
        self._served: Counter[MachineId] = Counter()
        self._numbers = itertools.count(1)
        self._asked: dict[int, MachineId] = {}
        self._news, self._heard = trio.open_memory_channel[Event](math.inf)
        self._stirred = trio.Event()
        host.serve(BEATS, self._serve)

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

    def status(self) -> Mapping[str, object]:
        """What happened so far."""
        return {"watched": len(self._detector.watched), "heard": len(self._open), **self._detector.counts}

    async def run(self) -> None:
        """Judge in time, for ever."""
        self._nursery.start_soon(self._pass_on)
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
                self._nursery.start_soon(self._redial, machine)
            case AskAbout(machine, fellow):
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
                await stream.send(Watching())
                while True:
                    said = await stream.receive()
                    if isinstance(said, Beat):
                        if machine in self._open:
                            self._detector.heard(machine, trio.current_time())
                        else:
                            opening.deadline = math.inf
                            self._open[machine] = stream
                            self._tell(Opened(machine))
                    else:
                        self._answered(said)

    async def _ask(self, machine: MachineId, fellow: MachineId) -> None:
        """Ask another watcher about a machine; no answer is an answer too."""
        number = next(self._numbers) & 0xFFFFFFFF
        self._asked[number] = machine
        question = WhenHeard(number, machine)
        try:
            with trio.fail_after(_ASK_WITHIN):
                stream = self._open.get(fellow)
                if stream is not None:
                    await stream.send(question)
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
        if not isinstance(said, LastHeard) or said.number not in self._asked:
            self._member.counters.count(Refusal.FRAME_NOT_EXPECTED)
            return
        machine = self._asked.pop(said.number)
        if said.age_ms is not None:
            self._tell(Vouched(machine, said.age_ms / 1000))

    def _contact(self, machine: MachineId) -> Contact:
        contact = self._member.contacts.by_machine(machine)
        if contact is None:
            raise MeshUnreachable(f"machine {machine} has not been met yet")
        return contact

    # ---- as one that is watched

    async def _serve(self, frames: FrameStream, admission: object) -> None:
        if (
            not isinstance(admission, Contact)
            or admission.certificate.role is not Role.MACHINE
            or self._served[admission.machine] >= _STREAMS_PER_MACHINE
        ):
            self._member.counters.count(Refusal.STREAM_NOT_ALLOWED)
            await frames.reset()
            return
        self._served[admission.machine] += 1
        try:
            await self._attend(await accept(frames, self._member.counters))
        except REFUSALS as error:
            log.info("stream of beats is closed", machine=admission.machine, error=str(error))
            await frames.reset()
        finally:
            self._served[admission.machine] -= 1
            if not self._served[admission.machine]:
                del self._served[admission.machine]

    async def _attend(self, stream: BeatStream) -> None:
        """Beat for a watcher once it wants it, and answer its questions. Raises what `_BROKEN` names."""
        over: Exception | None = None
        async with trio.open_nursery() as nursery:
            beating = False
            while over is None:
                try:
                    said = await stream.receive()
                    if isinstance(said, WhenHeard):
                        silence = self._detector.silence(said.machine, trio.current_time())
                        await stream.send(LastHeard(said.number, None if silence is None else round(silence * 1000)))
                    elif isinstance(said, Watching) and not beating:
                        beating = True
                        nursery.start_soon(self._beat, stream)
                    else:
                        self._member.counters.count(Refusal.FRAME_NOT_EXPECTED)
                except _BROKEN as error:
                    over = error  # raised outside, lest the nursery wraps it
            nursery.cancel_scope.cancel()
        raise over

    async def _beat(self, stream: BeatStream) -> None:
        """Beat for ever; who was late beats at once, but not twice."""
        due = trio.current_time()
        while True:
            try:
                await stream.send(Beat())
            except NetworkError:
                return
            due = max(due + BEAT_EVERY, trio.current_time())
            await trio.sleep_until(due)
