"""A machine with its failure detector, wired as `daemon.beats` and its parts do it, in virtual time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from beemesh_node.membership import detection as d
from beemesh_node.membership.cadence import WATCHED_LEAST, lifetime, presence_period
from beemesh_node.membership.detector import Detector
from beemesh_node.membership.hearing import ASK_WITHIN, LINGER, OPEN_WITHIN, Retry, Rhythm, Way
from beemesh_node.protocol.ids import MachineId
from tests.walks.process import Happen, Process, Timeline


class Net(Protocol):
    """What lies between the machines."""

    def reliable(self, source: Station, target: Station, happen: Happen) -> None:
        """Let the target do something, later if a packet is lost; not at all if the link is cut."""
        ...

    def datagram(self, source: Station, target: Station, happen: Happen) -> None:
        """Let the target do something, if the datagram is not lost."""
        ...

    def knock(self, source: Station, target: Station) -> tuple[float, bool]:
        """Return after how long it is known whether the target's kernel refuses a connection, and whether it does."""
        ...

    def dead(self, observer: Station, machine: MachineId, why: str) -> None:
        """An observer holds a machine dead."""
        ...


@dataclass(eq=False, slots=True)
class Stream:
    """On which a watcher hears a machine, or waits to."""

    watcher: Station
    born: int
    """In which life the watcher opened it."""
    target: Station
    way: Way = field(default_factory=Way)
    up: bool = False
    """Whether a beat has come."""
    over: bool = False
    asked_on_stream: bool = False
    """Whether the machine that is watched was asked to beat on it, as it knows."""
    heard_until: float = -math.inf
    """Until when datagrams of it are heard although it is over."""
    beats_until: float = math.inf
    """When the machine that is watched sends no more of them: some time after it lost the stream."""


class Station:
    """One machine of a mesh in which everybody knows all others."""

    def __init__(
        self, me: MachineId, timeline: Timeline, process: Process, net: Net, config: d.DetectionConfig
    ) -> None:
        self.id, self.process = me, process
        self._timeline, self._net, self._config = timeline, net, config
        self.others: list[Station] = []
        self._by_id: dict[MachineId, Station] = {}
        self.life = d.Life(0, 0)
        self._born = 0
        self._reset()

    def meet(self, others: list[Station]) -> None:
        """Know all machines from now on."""
        self.others = others
        self._by_id = {other.id: other for other in others}

    def _reset(self) -> None:
        now = self._timeline.now
        self.detector = Detector(self.id, self._config)
        self.life = d.Life(self.life.started_at + 1, 0)
        self.streams: dict[MachineId, Stream] = {}
        self.served: dict[Stream, None] = {}
        self._retries: dict[MachineId, Retry] = {}
        self._rhythm = Rhythm(now)
        self._hurried = False
        self._beats_at = self._pulse_at = math.inf
        self._asked: dict[int, tuple[MachineId, float]] = {}
        self._questions = self._sequence = 0
        self._newest: dict[MachineId, tuple[int, int]] = {}
        self._expires: dict[MachineId, float] = {}
        self._spoke_at = -math.inf

    # ---- what a walk does

    def start(self) -> None:
        """Start the daemon, with nothing known."""
        self._reset()
        self._born += 1
        self.process.begin()
        self._speak(self._born)
        self._arm_beat(self._timeline.now)
        for other in self.others:
            other.process.take(other.tell_of_me)

    def kill(self) -> None:
        """SIGKILL: the kernel closes what was open."""
        self.process.end()
        self._born += 1
        for stream in list(self.served):
            self._net.reliable(self, stream.watcher, partial(stream.watcher.lost, stream))
        for stream in self.streams.values():
            stream.over = True
            stream.target.served.pop(stream, None)
        self.served.clear()

    def disconnect(self, other: Station) -> None:
        """Lose the connection to another machine, which loses it too; both may go on, and find each other again."""
        for watcher, target in ((self, other), (other, self)):
            stream = watcher.streams.get(target.id)
            if stream is not None:
                watcher.process.take(partial(watcher.lost, stream))
                target.process.take(partial(target.unheard, stream))

    def believes_in(self, machine: MachineId) -> bool:
        """Whether a machine counts here."""
        return machine in self._expires

    def hears(self, machine: MachineId) -> bool:
        """Whether a machine is heard here, if it is watched from here."""
        stream = self.streams.get(machine)
        return machine not in self.detector.watched or (stream is not None and stream.up)

    # ---- presence

    def tell_of_me(self) -> None:
        """Tell everyone of this machine."""
        self._sequence += 1
        self._spoke_at = self._timeline.now
        said = d.Present(self.id, self.life, self._sequence)
        self._tell(said)
        for other in self.others:
            self._net.reliable(self, other, partial(other.seen, said))

    def seen(self, said: d.Present) -> None:
        """Take in another's presence."""
        place = (said.life.started_at, said.sequence)
        if place <= self._newest.get(said.machine, (0, 0)) or not self._tell(said):
            return
        self._newest[said.machine] = place
        period = presence_period(len(self.others) + 1)
        self._expires[said.machine] = self._timeline.now + lifetime(period, WATCHED_LEAST)

    def _speak(self, born: int) -> None:
        if born != self._born:
            return
        now = self._timeline.now
        for machine in [each for each, expires in self._expires.items() if expires < now]:
            self._expires.pop(machine, None)  # that one of them left may have shown that the next is dead
            self._tell(d.Left(machine))
        self.tell_of_me()
        again = partial(self._speak, born)
        self._timeline.at(now + presence_period(len(self._expires) + 1), lambda: self.process.fire(again))

    # ---- the detector

    def _tell(self, event: d.DetectionEvent) -> bool:
        alive = False
        for effect in self.detector.handle(event, self._timeline.now):
            alive = isinstance(effect, d.Alive) or alive
            self._perform(effect)
        due = self.detector.next_wakeup()
        if due is not None and due < self._pulse_at:
            self._arm_pulse(due)
        return alive

    def _perform(self, effect: d.DetectionEffect) -> None:
        match effect:
            case d.Watch(machine):
                self._retries[machine] = Retry()
                self._connect(machine)
            case d.Unwatch(machine):
                del self._retries[machine]
                self._end(self.streams.pop(machine, None))
            case d.Redial(machine):
                after, refused = self._net.knock(self, self._by_id[machine])
                self._later(after, partial(self._tell, d.Redialled(machine, refused)))
            case d.AskAbout(machine, fellow):
                self._ask(machine, self._by_id[fellow])
            case d.Accuse(deaths):
                for other in self.others:
                    self._net.reliable(self, other, partial(other.accused, d.Accused(self.id, deaths)))
            case d.Dead(machine, why):
                self._expires.pop(machine, None)
                self._net.dead(self, machine, why)
            case d.Refute(incarnation):
                self.life = d.Life(self.life.started_at, incarnation)
                self.tell_of_me()
            case d.Alive():
                pass

    def accused(self, event: d.Accused) -> None:
        """Take in a death notice."""
        self._tell(event)

    def _arm_pulse(self, due: float) -> None:
        self._pulse_at = due
        self._timeline.at(due, lambda: self.process.fire(self._pulse) if self._pulse_at == due else None)

    def _pulse(self) -> None:
        self._pulse_at = math.inf
        self._tell(d.Pulse())

    def _later(self, seconds: float, happen: Callable[[], object]) -> None:
        born = self._born

        def now() -> None:
            if born == self._born:
                happen()

        self._timeline.at(self._timeline.now + seconds, lambda: self.process.fire(now))

    # ---- hearing

    def _connect(self, machine: MachineId) -> None:
        if machine not in self._retries:
            return
        target = self._by_id[machine]
        stream = self.streams[machine] = Stream(self, self._born, target)
        self._later(OPEN_WITHIN, partial(self._give_up, stream))
        after, refused = self._net.knock(self, target)
        if refused:
            self._later(after, partial(self.lost, stream))
        else:  # a hello, and keys for beats
            back = partial(self._net.reliable, target, self, partial(self._say, stream, on_stream=True))
            self._net.reliable(self, target, back)

    def _give_up(self, stream: Stream) -> None:
        if not stream.up:
            self.lost(stream)

    def lost(self, stream: Stream) -> None:
        """Take in that a stream is lost, or could not be opened."""
        machine = stream.target.id
        if stream.over or self.streams.get(machine) is not stream:
            return
        del self.streams[machine]
        retry = self._retries[machine]
        if stream.up:
            stream.over, stream.heard_until = True, self._timeline.now + LINGER
            retry.opened()
        else:
            self._end(stream)
        self._tell(d.Closed(machine))
        self._later(retry.wait(), partial(self._connect, machine))

    def _end(self, stream: Stream | None) -> None:
        if stream is not None:
            stream.over = True
            stream.target.served.pop(stream, None)

    def _say(self, stream: Stream, *, on_stream: bool) -> None:
        self._net.reliable(self, stream.target, partial(stream.target.asked, stream, on_stream))

    def heard(self, stream: Stream, by_datagram: bool) -> None:
        """Take in a beat."""
        lingers = by_datagram and self._timeline.now < stream.heard_until
        if stream.born != self._born or (stream.over and not lingers):
            return
        if stream.up:
            self.detector.heard(stream.target.id, self._timeline.now)
        else:
            stream.up = True
            self._tell(d.Opened(stream.target.id))
        if by_datagram and not stream.over and stream.way.came_by_datagram():
            self._want_on_stream(stream, on_stream=False)

    def _want_on_stream(self, stream: Stream | None, *, on_stream: bool) -> None:
        if stream is not None and stream.up and stream.way.choose(on_stream):
            self._say(stream, on_stream=on_stream)

    def _ask(self, machine: MachineId, fellow: Station) -> None:
        self._want_on_stream(self.streams.get(machine), on_stream=True)
        self._questions += 1
        number = self._questions
        self._asked[number] = machine, self._timeline.now + ASK_WITHIN
        ask = partial(self._net.reliable, self, fellow, partial(fellow.questioned, self, number, machine))
        own = self.streams.get(fellow.id)
        if own is not None and own.up:
            ask()
        else:  # over a stream of its own
            self._net.reliable(self, fellow, partial(self._net.reliable, fellow, self, ask))

    def answered(self, number: int, age_ms: int | None) -> None:
        """Take in another watcher's answer."""
        machine, until = self._asked.pop(number, (None, -math.inf))
        if machine is not None and self._timeline.now <= until and age_ms is not None:
            self._tell(d.Vouched(machine, age_ms / 1000))

    # ---- being heard

    def asked(self, stream: Stream, on_stream: bool) -> None:
        """Take in how a watcher wants to hear this machine."""
        if stream.over:
            return
        for former in [each for each in self.served if each.watcher is stream.watcher and each.beats_until < math.inf]:
            del self.served[former]
        self.served[stream] = None
        stream.asked_on_stream = on_stream
        if on_stream and not self._hurried:
            self._hurried = True
            self.process.fire(self._beat)

    def unheard(self, stream: Stream) -> None:
        """Take in that the watcher's stream is lost: it hears datagrams for a while yet."""
        if stream in self.served:
            stream.asked_on_stream, stream.beats_until = False, self._timeline.now + LINGER

    def questioned(self, asker: Station, number: int, machine: MachineId) -> None:
        """Answer when another machine was last heard here."""
        silence = self.detector.silence(machine, self._timeline.now)
        age = None if silence is None else round(silence * 1000)
        self._net.reliable(self, asker, partial(asker.answered, number, age))

    def _arm_beat(self, due: float) -> None:
        self._beats_at = due
        self._timeline.at(due, lambda: self.process.fire(self._beat) if self._beats_at == due else None)

    def _beat(self) -> None:
        now = self._timeline.now
        if self._hurried:
            self._hurried = False
            self._rhythm.hurry(now)
        elif now < self._rhythm.due:
            return
        self.served = {stream: None for stream in self.served if stream.beats_until > now}
        for stream in self.served:
            watcher = stream.watcher
            self._net.datagram(self, watcher, partial(watcher.heard, stream, True))
            if stream.asked_on_stream:
                self._net.reliable(self, watcher, partial(watcher.heard, stream, False))
        self._arm_beat(self._rhythm.beaten(now))
