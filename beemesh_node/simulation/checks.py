"""What may never happen, looked at where it could: with each effect of a core and each record that is stored."""

from __future__ import annotations

from dataclasses import dataclass, field

from beemesh_node.healing import effects as fx
from beemesh_node.membership.cadence import GOSSIP_BUDGET
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.simulation.census import Census
from beemesh_node.simulation.gossip import Gossip
from beemesh_node.simulation.machine import Machine
from beemesh_node.simulation.world import World

RATE_WINDOW = 10.0
"""Seconds over which messages are counted."""
MOST_MESSAGES = 60.0
"""Messages that one machine may send in a second, over `RATE_WINDOW`, beyond what its own pods and rounds ask for."""
PER_POD = 12.0
"""Messages in `RATE_WINDOW` for each pod that begins or ends in the mesh: one guardian may have to place them all."""
TOMBSTONE_TIME = 5.0
"""Seconds within which a machine that holds a tombstone has ended its pods."""
DRAIN_TIME = 5.0
"""Seconds of calm within which of two pods of one slot one ends."""
LOOK_PERIOD = 0.5
"""Seconds between two looks at what lasts."""
MOST_VIOLATIONS = 50
"""Written down of one simulation; more say nothing new."""


@dataclass
class Rates:
    """Messages in a second."""

    windows: int = 0
    total: float = 0.0
    most: float = 0.0

    @property
    def mean(self) -> float:
        """Over all machines and windows."""
        return self.total / self.windows if self.windows else 0.0


@dataclass(repr=False)
class Checks:
    """Watches a mesh; `violations` says what went wrong, and when."""

    world: World
    census: Census
    gossip: Gossip
    violations: list[str] = field(default_factory=list)
    rates: Rates = field(default_factory=Rates)
    _machines: dict[MachineId, Machine] = field(default_factory=dict)
    _sent: dict[MachineId, int] = field(default_factory=dict)
    _versions: dict[tuple[MachineId, Uid], tuple[bool, int]] = field(default_factory=dict)
    _late: set[str] = field(default_factory=set)
    _pods: int = 0
    _pods_before: int = 0
    _spoken: int = 0

    def __post_init__(self) -> None:
        self.world.after(RATE_WINDOW, self._count)
        self.world.after(LOOK_PERIOD, self._look)

    def enlist(self, machine: Machine) -> None:
        """Look at a machine from now on."""
        self._machines[machine.id] = machine
        machine.watchers.append(self._effect)
        machine.keepers.append(self._stored)

    def forget(self, machine: Machine) -> None:
        """Look at a machine no more: it will never be back."""
        self._machines.pop(machine.id, None)

    def report(self, text: str) -> None:
        """Write a violation down."""
        if len(self.violations) < MOST_VIOLATIONS:
            self.violations.append(f"{self.world.now:10.3f}  {text}")

    def _effect(self, machine: Machine, effect: fx.Effect) -> None:
        match effect:
            case fx.PersistClaim():
                self._capacity(machine)
            case fx.StartPod(identity):
                self._pods += 1
                known = machine.disk.records.get(Uid(identity.uid))
                if known is not None and known.deleted:
                    self.report(f"{machine.member.name} starts {identity.pod_name}, whose tombstone it holds")
            case fx.StopPod():
                self._pods += 1
            case fx.EraseRecord(uid):
                self._versions.pop((machine.id, uid), None)  # it may take in an older one now

    def _look(self) -> None:
        """Two pods of one slot: told of once."""
        late = self.census.drained_late(DRAIN_TIME)
        for what in sorted(late - self._late):
            self.report(f"two pods after {DRAIN_TIME} s of calm: {what}")
        self._late = late
        self.world.after(LOOK_PERIOD, self._look)

    def _capacity(self, machine: Machine) -> None:
        if machine.core is None:
            return
        held, member = machine.core.reserved(), machine.member
        if held.cpu > member.cpu_allocatable or held.memory > member.memory_allocatable:
            self.report(f"{member.name} reserved {held.cpu}m CPU, {held.memory} bytes: more than it has")

    def _stored(self, machine: Machine, uid: Uid) -> None:
        """A machine has stored a version: numbers never go back, and a tombstone ends what runs."""
        record = machine.disk.records[uid]
        before, now = self._versions.get((machine.id, uid), (False, 0)), (record.deleted, record.sequence)
        if now < before:
            self.report(f"{machine.member.name} went back from {before} to {now} of {uid}")
        self._versions[machine.id, uid] = now
        if record.deleted:
            self._tombstone(machine, uid, self.world.now + TOMBSTONE_TIME)

    def _tombstone(self, machine: Machine, uid: Uid, due: float) -> None:
        life = machine.life

        def look() -> None:
            held = machine.disk.records.get(uid)
            if held is None or not held.deleted:
                return
            runs = any(p.status.identity.uid == uid and not p.stopping for p in machine.runtime.pods.values())
            if runs and machine.life == life and machine.core is not None and not machine.paused:
                self.report(f"{machine.member.name} still runs {uid} {TOMBSTONE_TIME} s after it heard its tombstone")

        self.world.at(due, look)

    def _count(self) -> None:
        changed = self._pods + self._pods_before
        allowed = MOST_MESSAGES * RATE_WINDOW + PER_POD * changed
        for machine in self._machines.values():
            sent = machine.messages - self._sent.get(machine.id, 0)
            self._sent[machine.id] = machine.messages
            if machine.core is None:
                continue
            self.rates.windows += 1
            self.rates.total += sent / RATE_WINDOW
            self.rates.most = max(self.rates.most, sent / RATE_WINDOW)
            if sent > allowed:
                self.report(
                    f"{machine.member.name} sent {sent} messages in {RATE_WINDOW:.0f} s ({changed} pods changed)"
                )
        self._count_gossip(changed)
        self._pods_before, self._pods = self._pods, 0
        self.world.after(RATE_WINDOW, self._count)

    def _count_gossip(self, changed: int) -> None:
        """What all tell everybody, and so each machine hears."""
        spoken, self._spoken = self.gossip.spoken - self._spoken, self.gossip.spoken
        if spoken > GOSSIP_BUDGET * RATE_WINDOW + PER_POD * changed:
            self.report(f"{spoken} presences in {RATE_WINDOW:.0f} s ({changed} pods changed)")
