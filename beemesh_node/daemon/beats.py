"""Hears whom this machine watches, beats for those who watch it, and tells the decision core who is dead.

What is decided, decides `membership.detector`; here are its streams, timers and messages.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol, TypeAlias

import structlog
import trio

from beemesh_node.daemon.drum import Drum
from beemesh_node.daemon.ears import Ears
from beemesh_node.healing.events import Event, MemberGone
from beemesh_node.membership.detection import (
    Accusation,
    Accuse,
    Accused,
    Alive,
    AskAbout,
    Dead,
    DetectionEffect,
    DetectionEvent,
    Left,
    Life,
    Present,
    Pulse,
    Redial,
    Refute,
    Unwatch,
    Watch,
)
from beemesh_node.membership.detector import Detector
from beemesh_node.messaging.local import LocalMember
from beemesh_node.network.api import Host
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Death, DeathNotice

log = structlog.get_logger()

Put: TypeAlias = Callable[[Event], Awaitable[None]]


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
        self._me = me
        self._nursery = nursery
        self._put = put
        self._detector = Detector(me)
        self._voice: Voice | None = None
        self._news, self._told = trio.open_memory_channel[Event](math.inf)
        self._stirred = trio.Event()
        self._drum = Drum(host, member.counters, self._detector.silence)
        self._ears = Ears(host, member, self._addresses, self._tell, self._detector.heard, nursery)

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
            "heard": self._ears.open,
            "datagrams": self._ears.by_datagram,
            **self._detector.counts,
            **self._ears.counts,
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
        async for event in self._told:
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
                self._ears.watch(machine)
                if voice is not None:
                    voice.keep_connected()
            case Unwatch(machine):
                self._ears.unwatch(machine)
            case Redial(machine):
                self._ears.redial(machine)
            case AskAbout(machine, fellow):
                self._ears.ask(machine, fellow)
            case Accuse(deaths):
                self._nursery.start_soon(self._accuse, deaths)
            case Dead(machine, why):
                log.warning("machine is dead", machine=machine, why=why)
                self._news.send_nowait(MemberGone(machine, why))
                if voice is not None:
                    voice.gone(machine)
            case Refute(incarnation):
                log.warning("held dead, or cut off: says that it is here", incarnation=incarnation)
                if voice is not None:
                    voice.contradict(incarnation)
            case Alive():
                pass

    async def _accuse(self, deaths: Iterable[Accusation]) -> None:
        said = tuple(Death(each.machine, each.life.started_at, each.life.incarnation, each.reason) for each in deaths)
        log.warning("held dead", machines=[death.machine for death in said], why=said[0].reason)
        if self._voice is not None:
            await self._voice.notice(DeathNotice(said))

    def _addresses(self, machine: MachineId) -> tuple[str, ...]:
        return () if self._voice is None else self._voice.addresses_of(machine)
