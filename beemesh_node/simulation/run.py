"""A simulation from beginning to end: work is declared, trouble comes and goes, and calm brings it all back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from beemesh_node.healing.config import Config
from beemesh_node.membership.cadence import WATCHED_LEAST
from beemesh_node.protocol.ids import Uid
from beemesh_node.simulation.beats import Beats
from beemesh_node.simulation.census import Census, Tally, Times
from beemesh_node.simulation.checks import Checks, Rates
from beemesh_node.simulation.machine import Machine
from beemesh_node.simulation.mesh import Mesh
from beemesh_node.simulation.operator import Operator
from beemesh_node.simulation.trouble import Trouble
from beemesh_node.simulation.world import LivelockError, World

PAIRWISE = 40
"""Up to so many machines each presence is a message of its own; beyond, gossip is modelled as a whole."""
DRIFT = 0.005
"""Clock rates of any two machines agree within twice this."""
BOUND = 200.0
"""Seconds of calm within which everything has to be as declared. Silence is noticed after three presence periods."""
REST = 5.0
"""Seconds for which it then has to stay so."""
MOST_STEPS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated. Everything else follows from the seed."""

    seed: int
    machines: int = 8
    minutes: float = 5.0
    workloads: int = 0
    """0: one for each third machine, at least three."""
    most_replicas: int = 6

    @property
    def declared(self) -> int:
        """How many workloads are declared at the beginning."""
        return self.workloads or max(3, self.machines // 3)

    @property
    def command(self) -> str:
        """What replays it."""
        text = f"./lab simulate --machines {self.machines} --minutes {self.minutes:g} --seed {self.seed}"
        return f"{text} --workloads {self.workloads}" if self.workloads else text


@dataclass
class Outcome:
    """What came of it. Times in seconds of virtual time."""

    scenario: Scenario
    violations: list[str] = field(default_factory=list)
    times: Times = field(default_factory=Times)
    converged: list[float] = field(default_factory=list)
    """How long each calm took until everything was as declared."""
    rates: Rates = field(default_factory=Rates)
    trouble: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    presences: float = 0.0
    """Presences that each machine heard in a second, in an undivided mesh."""
    watched: tuple[float, int] = (0.0, 0)
    """Machines that one watches, on average and at most: each beats to it."""
    pods: int = 0
    """Most that ran at one time."""
    steps: int = 0
    virtual: float = 0.0

    @property
    def bids_per_task(self) -> float:
        """Machines asked for each slot that was assigned."""
        return self.messages["Task"] / max(self.messages["Assignment"], 1)


@dataclass(repr=False)
class Simulation:
    """One run of a scenario."""

    scenario: Scenario
    told: Callable[[str], None] = lambda _: None
    """Told, for people, how far it is."""
    mesh: Mesh = field(init=False)
    census: Census = field(init=False)
    checks: Checks = field(init=False)
    beats: Beats = field(init=False)
    trouble: Trouble = field(init=False)
    operator: Operator = field(init=False)
    outcome: Outcome = field(init=False)
    _gone: Counter[str] = field(default_factory=Counter)
    """What machines sent that are no more."""

    def __post_init__(self) -> None:
        scenario = self.scenario
        world = World(scenario.seed)
        make = Mesh.of if scenario.machines <= PAIRWISE else Mesh.large
        self.mesh = make(scenario.machines, world, Config(least_lifetime=WATCHED_LEAST), drift=DRIFT)
        self.census = Census(lambda: world.now)
        self.checks = Checks(world, self.census, self.mesh.gossip)
        self.beats = Beats(self.mesh)
        self.census.twice = self._twice
        self.operator = Operator(self.mesh, self.census, scenario.most_replicas)
        self.trouble = Trouble(self.mesh, self.beats, self._enlist, self._removed, lambda: self.operator.voters)
        self.outcome = Outcome(scenario)
        for machine in self.mesh.machines.values():
            self._enlist(machine)

    def run(self) -> Outcome:
        """Run it to its end, or to a livelock."""
        world, end = self.mesh.world, self.mesh.world.now + self.scenario.minutes * 60
        try:
            self.operator.begin(self.scenario.declared)
            self._calm()
            while world.now < end:
                self._troubled()
                self._calm()
        except LivelockError as error:
            self.checks.report(str(error))
        return self._summary()

    def _troubled(self) -> None:
        """Some time of trouble: as many blows as the mesh is large, and an operator who goes on working."""
        world, draw = self.mesh.world, self.mesh.world.random
        self.trouble.begin()
        self.census.mended(False)
        lasts = draw.uniform(10, 60)
        blows = max(3, min(len(self.mesh.machines) // 10, 60))
        moments = [(draw.uniform(0, lasts), self.trouble.strike) for _ in range(draw.randint(2, blows + 2))]
        moments += [(draw.uniform(0, lasts), self.operator.act) for _ in range(draw.randint(0, 4))]
        for moment, happen in moments:
            world.after(moment, happen)
        world.run(lasts, most_steps=MOST_STEPS)
        self.told(f"{world.now / 60:6.1f} min: {sum(self.trouble.counts.values())} blows")

    def _calm(self) -> None:
        """Mend everything, and wait until all is as declared."""
        world = self.mesh.world
        self.trouble.end()
        began, wrong = world.now, self.census.wrong
        self.census.mended(True)
        while world.run(began + BOUND - world.now, lambda: not wrong, most_steps=MOST_STEPS):
            right = world.now
            if not world.run(REST, lambda: bool(wrong), most_steps=MOST_STEPS):
                self.outcome.converged.append(right - began)
                return
        for uid in sorted(wrong)[:5]:
            self.checks.report(f"not as declared after {BOUND:.0f} s of calm: {self._describe(uid)}")

    def _describe(self, uid: Uid) -> str:
        return self._what(self.census.tallies[uid])

    def _what(self, tally: Tally) -> str:
        wanted = tally.declaration
        what = "deleted" if wanted.deleted else f"{wanted.replicas} of revision {wanted.revision}"
        pods = ", ".join(
            f"{p.status.identity.slot}.{p.status.identity.attempt} {p.status.identity.revision[:3]} on {m.member.name}"
            f"{'' if p.status.ready else ' unready'}{' stopping' if p.stopping else ''}"
            for m, p in tally.pods.values()
        )
        return f"{wanted.name} {wanted.uid[:8]} v{wanted.sequence} ({what}) has [{pods}]"

    def _twice(self, tally: Tally, slot: int) -> None:
        self.checks.report(f"leased slot {slot} runs twice: {self._what(tally)}")

    def _enlist(self, machine: Machine) -> None:
        self.census.enlist(machine)
        self.checks.enlist(machine)
        self.beats.enlist(machine)

    def _removed(self, machine: Machine) -> None:
        self.checks.forget(machine)
        self.beats.forget(machine)
        self._gone.update(machine.asked)

    def _summary(self) -> Outcome:
        outcome, world = self.outcome, self.mesh.world
        outcome.violations, outcome.times, outcome.rates = self.checks.violations, self.census.times, self.checks.rates
        outcome.trouble, outcome.pods = self.trouble.counts, self.census.most_pods
        outcome.steps, outcome.virtual = world.steps, world.now
        outcome.messages = sum((machine.asked for machine in self.mesh.machines.values()), self._gone)
        outcome.watched = self.beats.per_machine()
        outcome.presences = self.mesh.gossip.spoken / world.now
        return outcome
