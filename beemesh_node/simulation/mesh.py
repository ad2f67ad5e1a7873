"""A simulated mesh with an operator: machines by name, apply, delete, and what truly runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from beemesh_node.healing.config import Config
from beemesh_node.healing.declaration import Declaration
from beemesh_node.membership.closeness import guardians_of, key_of_name
from beemesh_node.membership.labels import HOSTNAME_LABEL
from beemesh_node.membership.member import Member
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.simulation.clock import Clock
from beemesh_node.simulation.gossip import Gossip, Pairwise
from beemesh_node.simulation.machine import Machine
from beemesh_node.simulation.runtime import Pod
from beemesh_node.simulation.shared import Shared, SharedGossip
from beemesh_node.simulation.world import World

GIB = 1024**3


@dataclass
class Mesh:
    """Machines on one virtual network."""

    world: World
    config: Config = field(default_factory=Config)
    machines: dict[MachineId, Machine] = field(default_factory=dict)
    gossip: Gossip = field(init=False)
    drift: float = 0.0
    """Clocks of machines run by up to this share faster or slower than the world's."""

    def __post_init__(self) -> None:
        self.gossip = Pairwise(self.machines, self.config.least_lifetime)

    def add(
        self,
        name: str,
        *,
        cpu: int = 4000,
        memory: int = 8 * GIB,
        labels: Mapping[str, str] | None = None,
        guardian: bool = True,
        boot: bool = True,
        identity: str = "",
    ) -> Machine:
        """Join a machine. Its id follows from its `identity`, by default its name."""
        machine_id = MachineId(hashlib.sha256((identity or name).encode()).hexdigest()[:32])
        member = Member(
            machine=machine_id,
            name=name,
            labels={HOSTNAME_LABEL: name, **(labels or {})},
            taints=(),
            unschedulable=False,
            cpu_allocatable=cpu,
            memory_allocatable=memory,
            cpu_reserved=0,
            memory_reserved=0,
            host_ports=(),
            pods=0,
            guardian=guardian,
            ready=True,
            reason="",
            period=1.0,
        )
        clock = Clock(1 + self.world.random.uniform(-self.drift, self.drift) if self.drift else 1.0)
        machine = Machine(self.world, member, self.machines, self.gossip, self.config, clock)
        self.machines[machine_id] = machine
        if boot:
            machine.boot()
        return machine

    @classmethod
    def large(cls, count: int, world: World, config: Config | None = None, drift: float = 0.0) -> Mesh:
        """Make a mesh of so many machines that their gossip is modelled as a whole: they have known each other long."""
        mesh = cls(world, config if config is not None else Config(), drift=drift)
        gossip = SharedGossip(world, mesh.machines, Shared(mesh.config.guardians), mesh.config.least_lifetime)
        mesh.gossip = gossip
        for number in range(count):
            mesh.add(f"m{number}", boot=False)
        gossip.acquaint()
        world.run(mesh.config.settle + 2.0)
        return mesh

    @classmethod
    def of(cls, count: int, world: World, config: Config | None = None, drift: float = 0.0) -> Mesh:
        """Make a mesh of `count` machines m0, m1 … that have found each other and settled."""
        mesh = cls(world, config if config is not None else Config(), drift=drift)
        for number in range(count):
            mesh.add(f"m{number}")
        world.run(mesh.config.settle + 2.0)
        return mesh

    def __getitem__(self, name: str) -> Machine:
        return next(machine for machine in self.machines.values() if machine.member.name == name)

    def guardians(self, declaration: Declaration) -> list[Machine]:
        """Return the guardians among the machines that are up, by rank."""
        up, key = [machine.member for machine in self.up()], key_of_name(*declaration.path)
        return [self.machines[machine] for machine in guardians_of(key, up, self.config.guardians)]

    def up(self) -> list[Machine]:
        """Return the machines whose daemon runs."""
        return [machine for machine in self.machines.values() if machine.core is not None]

    def apply(self, declaration: Declaration, only: Iterable[Machine] | None = None) -> None:
        """Declare, as an operator does: bring the record to each guardian (or `only` to these)."""
        fresh = declaration.sequence == 1 and not declaration.deleted
        for machine in self.guardians(declaration) if only is None else only:
            delay = self.world.random.uniform(0.001, 0.005)
            self.world.after(delay, lambda m=machine: m.store(declaration, fresh=fresh))  # type: ignore[misc]

    def delete(self, declaration: Declaration) -> None:
        """Leave a tombstone."""
        self.apply(replace(declaration, deleted=True, sequence=declaration.sequence + 1, digest=b"tombstone"))

    def pods(self, uid: Uid | None = None) -> list[tuple[Machine, Pod]]:
        """Return what truly runs, pods that are ending included."""
        return [
            (machine, pod)
            for machine in self.machines.values()
            for pod in machine.runtime.pods.values()
            if uid is None or pod.status.identity.uid == uid
        ]

    def serving(self, declaration: Declaration) -> list[int]:
        """Return the slots of pods ready on the declared revision, sorted; a slot stands twice if it runs twice."""
        return sorted(
            pod.status.identity.slot
            for _, pod in self.pods(declaration.uid)
            if pod.status.ready and not pod.stopping and pod.status.identity.revision == declaration.revision
        )

    def as_declared(self, declaration: Declaration) -> bool:
        """Whether each slot runs exactly once, ready, on the declared revision, and nothing else does."""
        wanted = [] if declaration.deleted else list(range(declaration.replicas))
        return len(self.pods(declaration.uid)) == len(wanted) and self.serving(declaration) == wanted

    def until(self, declaration: Declaration, seconds: float = 30.0) -> bool:
        """Let time pass until it is as declared; return whether it came to that."""
        return self.world.run(seconds, lambda: self.as_declared(declaration))
