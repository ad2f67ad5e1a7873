"""What truly runs against what is declared, kept up with each pod that begins or ends: looking is cheap at any time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from beemesh_node.healing.declaration import Declaration
from beemesh_node.protocol.ids import Uid
from beemesh_node.simulation.machine import Machine
from beemesh_node.simulation.runtime import Pod
from beemesh_node.workloads.pod import PodIdentity, PodPhase


@dataclass(slots=True)
class Tally:
    """One declaration, and the pods of it."""

    declaration: Declaration
    applied_at: float
    pods: dict[str, tuple[Machine, Pod]] = field(default_factory=dict)
    """By machine and pod uid: two machines may run what they take for one pod."""
    served: bool = False
    """It was once as declared since it was last changed: what it lacks later is for healing."""
    lacks_since: float | None = None
    """Since when fewer replicas serve than are declared."""
    exceeds_since: float | None = None
    """Since when more pods run than are declared."""
    right: bool = False
    doubled_since: dict[tuple[int, str], float] = field(default_factory=dict)
    """By slot and revision: since when there have been two pods of it."""

    @property
    def doubled(self) -> dict[tuple[int, str], list[Machine]]:
        """Which slots of a revision have several pods that are not ending, and where."""
        slots: dict[tuple[int, str], list[Machine]] = {}
        for machine, pod in self.pods.values():
            if not pod.stopping:
                identity = pod.status.identity
                slots.setdefault((identity.slot, identity.revision), []).append(machine)
        return {slot: machines for slot, machines in slots.items() if len(machines) > 1}

    @property
    def serving(self) -> list[int]:
        """Slots with a ready pod on the declared revision; one that runs twice is there twice."""
        revision = self.declaration.revision
        return sorted(
            pod.status.identity.slot
            for _, pod in self.pods.values()
            if pod.status.ready and not pod.stopping and pod.status.identity.revision == revision
        )


@dataclass(slots=True)
class Times:
    """How long things took, in seconds."""

    placed: list[float] = field(default_factory=list)
    """From a change of a declaration until it is as declared."""
    healed: list[float] = field(default_factory=list)
    """From the loss of a replica until all declared ones serve again."""
    drained: list[float] = field(default_factory=list)
    """From one pod too many, or from the end of the trouble that made it, until none is."""


@dataclass(repr=False)
class Census:
    """All declarations of a mesh. `now` gives world time."""

    now: Callable[[], float]
    twice: Callable[[Tally, int], None] = lambda *_: None
    """Told of a leased slot of which two pods run."""
    tallies: dict[Uid, Tally] = field(default_factory=dict)
    times: Times = field(default_factory=Times)
    wrong: set[Uid] = field(default_factory=set)
    """Declarations that are not as declared at this moment."""
    _whole: bool = True
    _calm_since: float = 0.0
    pods: int = 0
    most_pods: int = 0

    def enlist(self, machine: Machine) -> None:
        """Look at a machine from now on."""
        machine.runtime.changed = lambda identity: self._changed(machine, identity)

    def mended(self, whole: bool) -> None:
        """Whether from now on nothing is in the way of ending what is too much."""
        self._whole, self._calm_since = whole, self.now()
        for tally in self.tallies.values():
            if tally.exceeds_since is not None:
                tally.exceeds_since = self.now()

    def declared(self, declaration: Declaration) -> None:
        """Something is declared, or otherwise than before."""
        tally = self.tallies.get(declaration.uid)
        if tally is None:
            tally = self.tallies[declaration.uid] = Tally(declaration, self.now())
        tally.declaration, tally.applied_at = declaration, self.now()
        tally.served, tally.lacks_since, tally.exceeds_since = False, None, None
        self._judge(tally)

    def _changed(self, machine: Machine, identity: PodIdentity) -> None:
        tally = self.tallies.get(Uid(identity.uid))
        if tally is None:
            return
        key, pod = f"{machine.id}/{identity.pod_uid}", machine.runtime.pods.get(identity.pod_uid)
        before = len(tally.pods)
        if pod is None:
            tally.pods.pop(key, None)
        else:
            tally.pods[key] = (machine, pod)
        self.pods += len(tally.pods) - before
        self.most_pods = max(self.most_pods, self.pods)
        if tally.declaration.leased and pod is not None:
            running = [p for _, p in tally.pods.values() if p.status.phase is PodPhase.RUNNING]
            if sum(p.status.identity.slot == identity.slot for p in running) > 1:
                self.twice(tally, identity.slot)
        self._judge(tally)

    @property
    def calm_for(self) -> float:
        """Seconds since which nothing is in the way of ending what is too much; 0 while something is."""
        return self.now() - self._calm_since if self._whole else 0.0

    def drained_late(self, bound: float) -> set[str]:
        """Return what has had two pods for longer than `bound` s of calm, in words, their machines being awake."""
        if self.calm_for <= bound:
            return set()
        since = self.now() - bound
        return {
            f"slot {slot} of {tally.declaration.name} on {', '.join(m.member.name for m in machines)}"
            for tally in self.tallies.values()
            if tally.doubled_since
            for (slot, revision), machines in tally.doubled.items()
            if tally.doubled_since[slot, revision] < since
            and all(machine.core is not None and machine.awake_since < since for machine in machines)
        }

    def _judge(self, tally: Tally) -> None:
        declaration, now = tally.declaration, self.now()
        tally.doubled_since = {slot: tally.doubled_since.get(slot, now) for slot in tally.doubled}
        wanted = 0 if declaration.deleted else declaration.replicas
        serving = tally.serving
        tally.right = len(tally.pods) == wanted and serving == list(range(wanted))
        (self.wrong.discard if tally.right else self.wrong.add)(declaration.uid)
        if not tally.served:
            if tally.right:
                tally.served = True
                self.times.placed.append(now - tally.applied_at)
            return
        lacks = len({slot for slot in serving if slot < wanted}) < wanted
        tally.lacks_since = self._span(lacks, tally.lacks_since, self.times.healed)
        exceeds = sum(not pod.stopping for _, pod in tally.pods.values()) > wanted
        tally.exceeds_since = self._span(exceeds, tally.exceeds_since, self.times.drained if self._whole else [])

    def _span(self, lasts: bool, since: float | None, spans: list[float]) -> float | None:
        if lasts:
            return self.now() if since is None else since
        if since is not None:
            spans.append(self.now() - since)
        return None
