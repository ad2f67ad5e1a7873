"""Detectors on a virtual clock: beats and questions travel as the test has it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

from beemesh_node.membership import detection as d
from beemesh_node.membership.detector import Detector
from beemesh_node.protocol.ids import MachineId

BEAT = 0.2


class Wires:
    """Machines m0, m1 … that all know each other and beat for those who watch them."""

    def __init__(self, count: int, seed: int = 0) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self.ids = [MachineId(f"m{n}") for n in range(count)]
        self.detectors = {m: Detector(m) for m in self.ids}
        self.life = {m: d.Life(1, 0) for m in self.ids}
        self.sequence = dict.fromkeys(self.ids, 0)
        self.down: set[MachineId] = set()
        self.asleep: dict[MachineId, float] = {}
        self.cut: set[frozenset[MachineId]] = set()
        self.streams: set[tuple[MachineId, MachineId]] = set()
        self.dead: list[tuple[float, MachineId, MachineId, str]] = []
        self.delay = (0.001, 0.02)
        for machine in self.ids:
            self.announce(machine)
        for machine in self.ids:
            self._later(self.random.uniform(0, BEAT), lambda m=machine: self._beat(m))

    # ---- what a test does

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, happen = heapq.heappop(self._heap)
            happen()
        self.now = end

    def kill(self, machine: MachineId) -> None:
        """The process ends; its kernel closes what it had open and refuses what is new."""
        self.down.add(machine)
        for watcher, target in sorted(self.streams):
            if target == machine:
                self.streams.discard((watcher, target))
                self._later(0.001, lambda w=watcher: self.tell(w, d.Closed(machine)))

    def silence(self, machine: MachineId) -> None:
        """Its cable is pulled."""
        self.cut |= {frozenset((machine, other)) for other in self.ids if other != machine}

    def pause(self, machine: MachineId, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later: what arrives meanwhile waits."""
        self.asleep[machine] = self.now + seconds

    def announce(self, machine: MachineId) -> None:
        self.sequence[machine] += 1
        said = d.Present(machine, self.life[machine], self.sequence[machine])
        for other in self.ids:
            if other == machine:
                self.tell(machine, said)
            else:
                self._send(machine, other, lambda o=other: self.tell(o, said))

    def tell(self, machine: MachineId, event: d.DetectionEvent) -> None:
        if machine in self.down:
            return
        if self.asleep.get(machine, 0.0) > self.now:
            self._at(self.asleep[machine], lambda: self.tell(machine, event))
            return
        for effect in self.detectors[machine].handle(event, self.now):
            self._perform(machine, effect)
        due = self.detectors[machine].next_wakeup()
        if due is not None:
            self._at(due, lambda: self._pulse(machine, due))

    def believed_dead(self, machine: MachineId) -> set[MachineId]:
        """Who holds a machine dead at this moment."""
        return {m for m in self.ids if m != machine and m not in self.down and machine not in self.detectors[m]._around}

    # ---- inside

    def _perform(self, me: MachineId, effect: object) -> None:
        match effect:
            case d.Watch(machine):
                self._open(me, machine)
            case d.Unwatch(machine):
                self.streams.discard((me, machine))
            case d.Redial(machine):
                refused = machine in self.down and frozenset((me, machine)) not in self.cut
                self._later(0.01, lambda: self.tell(me, d.Redialled(machine, refused)))
            case d.AskAbout(machine, fellow):
                self._send(me, fellow, lambda: self._vouch(me, machine, fellow))
            case d.Accuse(deaths):
                for other in self.ids:
                    if other != me:
                        self._send(me, other, lambda o=other: self.tell(o, d.Accused(me, deaths)))
            case d.Dead(machine, why):
                self.dead.append((self.now, me, machine, why))
            case d.Refute(incarnation):
                self.life[me] = d.Life(self.life[me].started_at, incarnation)
                self.announce(me)

    def _open(self, me: MachineId, machine: MachineId) -> None:
        if machine not in self.detectors[me].watched or me in self.down or (me, machine) in self.streams:
            return
        if machine in self.down or frozenset((me, machine)) in self.cut:
            self.tell(me, d.Closed(machine))
            self._later(0.5, lambda: self._open(me, machine))
        else:
            self.streams.add((me, machine))
            self.tell(me, d.Opened(machine))

    def _vouch(self, asker: MachineId, machine: MachineId, fellow: MachineId) -> None:
        age = self.detectors[fellow].silence(machine, self.now)
        if age is not None and fellow not in self.down:
            self._send(fellow, asker, lambda: self.tell(asker, d.Vouched(machine, age)))

    def _beat(self, machine: MachineId) -> None:
        if machine in self.down:
            return
        if self.asleep.get(machine, 0.0) > self.now:
            self._at(self.asleep[machine], lambda: self._beat(machine))
            return
        for watcher, target in sorted(self.streams):
            if target == machine:
                self._send(machine, watcher, lambda w=watcher: self._heard(w, machine))
        self._later(BEAT, lambda: self._beat(machine))

    def _heard(self, watcher: MachineId, machine: MachineId) -> None:
        if self.asleep.get(watcher, 0.0) > self.now:
            self._at(self.asleep[watcher], lambda: self._heard(watcher, machine))
        else:
            self.detectors[watcher].heard(machine, self.now)

    def _pulse(self, machine: MachineId, due: float) -> None:
        if self.detectors[machine].next_wakeup() == due:
            self.tell(machine, d.Pulse())

    def _send(self, source: MachineId, target: MachineId, deliver: Callable[[], None]) -> None:
        def arrive() -> None:
            if source in self.down or target in self.down or frozenset((source, target)) in self.cut:
                return
            deliver()

        self._later(self.random.uniform(*self.delay), arrive)

    def _later(self, delay: float, happen: Callable[[], None]) -> None:
        self._at(self.now + delay, happen)

    def _at(self, moment: float, happen: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._heap, (max(moment, self.now), self._number, happen))
