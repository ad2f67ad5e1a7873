"""Random walks of the failure detector: nobody may be held dead that was only stopped for a second.

    python -m tests.walks.detection --machines 5 --minutes 20000        the aim: false deaths, and times of true ones
    python -m tests.walks.detection --machines 5 --minutes 60 --seed 17  again what one seed did
    python -m tests.walks.detection --curve                             both against bounds that are scaled

The detectors are real, beats and what carries them are not: packets are late and lost, daemons get the processor as
late as was measured beside four times its load, and each is stopped (SIGSTOP) for a second, left alone for at least
one, again and again, five seconds apart on average. Two machines lose their connection and find each other again. Now
and then a machine really dies: it is killed, cut off or stopped for good. Time is simulated; minutes are those of the
whole mesh.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from typing import Final

from beemesh_node.membership.detection import DetectionConfig
from beemesh_node.protocol.ids import MachineId
from tests.walks.process import Happen, Lateness, Process, Timeline
from tests.walks.station import Station

WALK_MINUTES = 60.0
"""Simulated minutes of one seed."""
PAUSE, REST, MEAN_REST = 1.0, 1.0, 4.0
"""Seconds, as in `tests.benchmarks.pauses`."""
SETTLE = 5.0
"""Seconds at the beginning in which nothing happens."""
AWAY, BACK = 20.0, 20.0
"""Seconds that a dead machine is away, and until it must be a member again."""
QUANTILES: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 1.0)
LATE: Final = {
    "unit": (0.035, 0.112, 0.221, 1.295, 3.985, 4.175, 8.073, 10.056, 17.315, 17.906, 20.890),
    "service": (0.054, 1.764, 4.189, 7.026, 11.107, 14.403, 24.569, 31.265, 67.435, 185.945, 185.945),
    "session": (1.193, 30.991, 40.982, 53.621, 73.965, 93.322, 153.595, 183.603, 271.925, 278.547, 278.547),
}
"""Milliseconds at these quantiles, as `tests.benchmarks.lateness` measured them: with what the unit of the daemon has
(CPUWeight=1000, Nice=-10), as a service without these, and as one more process of the session that computes."""
KINDS = ("killed", "cut off", "stopped")


@dataclass(frozen=True, slots=True)
class Rules:
    """What is walked."""

    machines: int = 5
    config: DetectionConfig = field(default_factory=DetectionConfig)
    late: str = "unit"
    pauses: bool = True
    loss: float = 0.001
    """Part of the packets that is lost."""
    delay: tuple[float, float] = (0.0002, 0.005)
    """Seconds that a packet takes."""
    losses_every: float = 10.0
    """Seconds between two connections that are lost in the mesh, on average; inf for none."""
    deaths_every: float = 600.0
    """Seconds between two true deaths in the mesh, on average, beyond the time that one takes; inf for none."""


@dataclass(eq=False, slots=True)
class Death:
    """A machine that really died."""

    victim: Station
    kind: str
    began: float
    measured: bool
    """Whether everybody believed in it before."""
    noticed: list[float] = field(default_factory=list)
    """After how many seconds each of the others held it dead."""


@dataclass
class Told:
    """What walks have shown."""

    machine_minutes: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    false: list[str] = field(default_factory=list)
    """Each false death, of one machine within ten seconds, with its seed."""
    first: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    """Seconds until the first of the others held a dead machine dead."""
    last: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    """Seconds until all others did."""

    def add(self, other: Told) -> None:
        """Add what another walk has shown."""
        self.machine_minutes += other.machine_minutes
        self.counts += other.counts
        self.false += other.false
        for kind in KINDS:
            self.first[kind] += other.first[kind]
            self.last[kind] += other.last[kind]

    @property
    def per_thousand(self) -> float:
        """False deaths in 1,000 machine-minutes."""
        return len(self.false) * 1000 / self.machine_minutes


class Walk:
    """One mesh, and all that happens to it. It is the net between its machines, too."""

    def __init__(self, seed: int, rules: Rules) -> None:
        self.timeline = Timeline(seed)
        self.told = Told()
        self._seed, self._rules = seed, rules
        self._random = self.timeline.random
        self._draw = self._random.random
        lateness = Lateness(QUANTILES, LATE[rules.late], self._random)
        ids = [MachineId(f"{seed}-{number}") for number in range(rules.machines)]
        self.stations = [
            Station(each, self.timeline, Process(self.timeline, lateness), self, rules.config) for each in ids
        ]
        self._cut_off: Station | None = None
        self._death: Death | None = None
        self._excused_until = -math.inf
        self._victim: MachineId | None = None
        self._held: dict[MachineId, float] = {}
        for station in self.stations:
            station.meet([other for other in self.stations if other is not station])

    def run(self, minutes: float) -> None:
        """Walk for so many minutes."""
        for station in self.stations:
            self.timeline.at(self._random.uniform(0, 1), station.start)
            if self._rules.pauses:
                self.timeline.at(SETTLE + self._random.uniform(0, MEAN_REST), partial(self._pause, station))
        if self._rules.losses_every < math.inf:
            self._disconnect_later()
        if self._rules.deaths_every < math.inf:
            self._die_later()
        self.timeline.run(minutes * 60)
        self.told.machine_minutes = minutes * len(self.stations)
        for station in self.stations:
            self.told.counts += station.detector.counts

    # ---- the net (see `station.Net`)

    def reliable(self, source: Station, target: Station, happen: Happen) -> None:
        """A lost packet is sent again after 0.2, 0.4 … s, as TCP does."""
        if self._cut_off is source or self._cut_off is target:
            return
        delay, again = self._delay(), 0.2
        while self._draw() < self._rules.loss:
            delay, again = delay + again, again * 2
        self.timeline.at(self.timeline.now + delay, target.process.take, happen)

    def datagram(self, source: Station, target: Station, happen: Happen) -> None:
        """What is lost is lost."""
        if self._cut_off is source or self._cut_off is target or self._draw() < self._rules.loss:
            return
        self.timeline.at(self.timeline.now + self._delay(), target.process.take, happen)

    def knock(self, source: Station, target: Station) -> tuple[float, bool]:
        """The kernel answers, whatever its processes do."""
        if self._cut_off is source or self._cut_off is target:
            return 0.25, False
        return 2 * self._delay(), not target.process.up

    def dead(self, observer: Station, machine: MachineId, why: str) -> None:
        """Tell false deaths from true ones."""
        now, death = self.timeline.now, self._death
        if death is not None and machine == death.victim.id:
            death.noticed.append(now - death.began)
            return
        excused = now <= self._excused_until and self._victim in (observer.id, machine)
        if not excused and now > self._held.get(machine, -math.inf) + 10:
            self.told.false.append(f"seed {self._seed}, {now:.3f} s: {observer.id} holds {machine} dead: {why}")
            self._held[machine] = now

    def _delay(self) -> float:
        least, most = self._rules.delay
        return least + (most - least) * self._draw()

    # ---- what happens

    def _pause(self, station: Station) -> None:
        self.told.counts["pauses"] += 1
        station.process.stop(PAUSE)
        rest = REST + self._random.expovariate(1 / (MEAN_REST - REST))
        self.timeline.at(self.timeline.now + PAUSE + rest, partial(self._pause, station))

    def _disconnect_later(self) -> None:
        wait = self._random.expovariate(1 / self._rules.losses_every)
        self.timeline.at(self.timeline.now + wait, self._disconnect)

    def _disconnect(self) -> None:
        one, other = self._random.sample(self.stations, 2)
        if self._death is None:
            self.told.counts["connections lost"] += 1
            one.disconnect(other)
        self._disconnect_later()

    def _die_later(self) -> None:
        wait = SETTLE + self._random.expovariate(1 / self._rules.deaths_every)
        self.timeline.at(self.timeline.now + wait, self._die)

    def _die(self) -> None:
        draw, now = self._random, self.timeline.now
        victim, kind = draw.choice(self.stations), draw.choice(KINDS)
        others = [other for other in self.stations if other is not victim]
        whole = all(other.believes_in(victim.id) and other.hears(victim.id) for other in others)
        self._death, self._victim, self._excused_until = Death(victim, kind, now, whole), victim.id, math.inf
        if kind == "killed":
            victim.kill()
        elif kind == "cut off":
            self._cut_off = victim
        else:
            victim.process.stop(AWAY)
        self.timeline.at(now + AWAY, self._return)

    def _return(self) -> None:
        death, self._death = self._death, None
        assert death is not None
        if death.measured:
            self.told.counts["deaths measured"] += 1
            if len(death.noticed) < len(self.stations) - 1:
                self.told.counts["deaths not noticed by all"] += 1
            if death.noticed:
                self.told.first[death.kind].append(min(death.noticed))
                self.told.last[death.kind].append(max(death.noticed))
        if death.kind == "killed":
            death.victim.start()
        elif death.kind == "cut off":
            self._cut_off = None
            for station in self.stations:  # connections do not outlive so long a silence
                for stream in list(station.streams.values()):
                    if death.victim in (stream.watcher, stream.target):
                        station.process.take(partial(station.lost, stream))
        self.timeline.at(self.timeline.now + BACK, self._look_back)

    def _look_back(self) -> None:
        victim = self._victim
        self._excused_until = self.timeline.now
        others = [other for other in self.stations if other.id != victim]
        if victim is not None and not all(other.believes_in(victim) for other in others):
            self.told.counts["not back in time"] += 1
        self._die_later()


def walk(seed: int, minutes: float = WALK_MINUTES, rules: Rules = Rules()) -> Told:
    """Walk once, and return what it has shown."""
    one = Walk(seed, rules)
    one.run(minutes)
    return one.told


def seeds(first: int, minutes: float) -> Iterator[tuple[int, float]]:
    """Give the seeds that make up so many minutes, and the minutes of each."""
    while minutes > 0:
        yield first, min(minutes, WALK_MINUTES)
        first, minutes = first + 1, minutes - WALK_MINUTES


def walks(first: int, minutes: float, rules: Rules, *, loud: bool = False) -> Told:
    """Walk with many seeds."""
    told, began = Told(), time.monotonic()
    with suppress(KeyboardInterrupt):  # what was walked until then counts
        for number, (seed, part) in enumerate(seeds(first, minutes), 1):
            told.add(walk(seed, part, rules))
            if loud and number % 5 == 0:
                print(
                    f"{told.machine_minutes:.0f} machine-minutes, {len(told.false)} false deaths, seed {seed}, "
                    f"{time.monotonic() - began:.0f} s",
                    flush=True,
                )
    return told


def scaled(scale: float) -> DetectionConfig:
    """Return the detector's own bounds, each so many times as long."""
    usual = DetectionConfig()
    return replace(usual, suspect=usual.suspect * scale, dead=usual.dead * scale, closed=usual.closed * scale)


def _times(values: Sequence[float]) -> str:
    return f"{median(values) * 1000:.0f} / {max(values) * 1000:.0f}" if values else "-"


def curve(first: int, minutes: float, rules: Rules, scales: Sequence[float]) -> None:
    """Print false deaths and times of true ones for bounds that are so many times the usual ones."""
    print("| times the bounds | silence (s) | false deaths in 1,000 machine-minutes | " + " | ".join(KINDS) + " |")
    print("| ---: | ---: | ---: |" + " ---: |" * len(KINDS))
    for scale in scales:
        one = replace(rules, config=scaled(scale))
        told = walks(first, minutes, replace(one, deaths_every=math.inf))
        calm = walks(first, min(minutes, 60.0), replace(one, pauses=False, deaths_every=1.0))
        times = " | ".join(_times(calm.first[kind]) for kind in KINDS)
        print(f"| {scale:g} | {one.config.dead:g} | {told.per_thousand:.3g} | {times} |", flush=True)


def report(told: Told) -> None:
    """Print what walks have shown."""
    counts = told.counts
    print(
        f"{told.machine_minutes:.0f} machine-minutes, {counts['pauses']} pauses of {PAUSE:g} s, "
        f"{counts['suspicions']} suspicions, {counts['suspicions.false']} of them false, {len(told.false)} false deaths"
    )
    for kind in KINDS:
        print(
            f"{kind}: {len(told.first[kind])} times, held dead after {_times(told.first[kind])} ms (median / worst), "
            f"by all after {_times(told.last[kind])} ms"
        )
    told_of = ("deaths measured", "deaths not noticed by all", "not back in time", "late", "refutations")
    print(", ".join(f"{name}: {counts[name]}" for name in told_of))


def main() -> None:
    """Walk for long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=1200.0, help="simulated minutes in all, of each mesh")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--late", choices=sorted(LATE), default="unit", help="how the daemon is weighed against what computes"
    )
    parser.add_argument("--loss", type=float, default=Rules().loss, help="part of the packets")
    parser.add_argument("--calm", action="store_true", help="stop no daemons")
    parser.add_argument("--deaths-every", type=float, default=600.0, metavar="SECONDS")
    parser.add_argument("--scale", type=float, default=1.0, help="of the detector's bounds")
    parser.add_argument(
        "--curve", nargs="?", const="0.6,0.8,0.9,1,1.25,1.5", metavar="SCALES", help="with bounds that are scaled"
    )
    chosen = parser.parse_args()
    rules = Rules(
        machines=chosen.machines,
        config=scaled(chosen.scale),
        late=chosen.late,
        pauses=not chosen.calm,
        loss=chosen.loss,
        deaths_every=chosen.deaths_every,
    )
    if chosen.curve:
        curve(chosen.seed, chosen.minutes, rules, [float(each) for each in chosen.curve.split(",")])
        return
    told = walks(chosen.seed, chosen.minutes, rules, loud=True)
    report(told)
    if told.false:
        sys.exit("\n".join(told.false[:20]))


if __name__ == "__main__":
    main()
