"""An operator who declares, changes and deletes workloads, as chance has it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.leases.voters import first_voters
from beemesh_node.membership.closeness import key_of_name
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import Requirements
from beemesh_node.protocol.record import MAX_VOTERS
from beemesh_node.simulation.census import Census
from beemesh_node.simulation.machine import Machine
from beemesh_node.simulation.mesh import Mesh
from beemesh_node.workloads.rollout import Rollout

MIB = 1024 * 1024
REVISIONS = ("aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc")
LEASED = 0.25
"""Share of workloads whose slots need a lease."""
LEAST_HOLDERS = 2
"""Guardians that must take a declaration before the operator believes that it will last."""


def declared(name: str, replicas: int, generation: int = 1, **fields: object) -> Declaration:
    """Make a first declaration; of one name with another generation it is another one."""
    first = Declaration(
        uid=Uid(hashlib.sha256(f"{name}/{generation}".encode()).hexdigest()[:32]),
        namespace="default",
        kind="Deployment",
        name=name,
        generation=generation,
        sequence=1,
        deleted=False,
        digest=b"",
        revision=REVISIONS[0],
        replicas=replicas,
        requirements=Requirements(50, 64 * MIB),
    )
    return _signed(replace(first, **fields))  # type: ignore[arg-type]


def changed(declaration: Declaration, **fields: object) -> Declaration:
    """Make the next version of a declaration."""
    return _signed(replace(declaration, sequence=declaration.sequence + 1, **fields))  # type: ignore[arg-type]


def _signed(declaration: Declaration) -> Declaration:
    blank = replace(declaration, digest=b"")
    return replace(blank, digest=hashlib.sha256(repr(blank).encode()).digest())


@dataclass(repr=False)
class Operator:
    """Knows what is declared. Reaches the mesh over some machine, and what that one reaches."""

    mesh: Mesh
    census: Census
    most_replicas: int
    live: dict[str, Declaration] = field(default_factory=dict)
    """By name."""
    _generations: dict[str, int] = field(default_factory=dict)

    def begin(self, count: int) -> None:
        """Declare so many workloads."""
        for _ in range(count):
            self._create(f"w{len(self._generations)}")

    def declare_alike(self, count: int, replicas: int) -> None:
        """Declare so many workloads of so many replicas, none of them leased."""
        for number in range(count):
            declaration = declared(f"alike-{number}", replicas)
            if self._bring(declaration):
                self.live[declaration.name] = declaration

    @property
    def voters(self) -> frozenset[MachineId]:
        """The machines on which leases of what is declared depend."""
        return frozenset(voter for declaration in self.live.values() for voter in declaration.voters)

    def act(self) -> None:
        """Do one thing: declare, scale, roll out, delete, or declare anew what was deleted."""
        draw = self.mesh.world.random
        name = draw.choice(sorted(self.live)) if self.live else ""
        match draw.randrange(8):
            case 0 | 1 if name:
                self._change(name, replicas=draw.randint(0, self.most_replicas))
            case 2 | 3 | 4 if name:
                self._change(name, revision=draw.choice(REVISIONS), max_unavailable=draw.randint(0, 1))
            case 5 if len(self.live) > 1:
                self._delete(name)
            case 6 if gone := sorted(self._generations.keys() - self.live.keys()):
                self._create(draw.choice(gone))
            case _:
                self._create(f"w{len(self._generations)}")

    def _create(self, name: str) -> None:
        generation = self._generations.get(name, 0) + 1
        draw = self.mesh.world.random
        if draw.random() < LEASED:
            declaration = declared(name, draw.randint(1, 2), generation, **self._leased())
        else:
            declaration = declared(name, draw.randint(1, self.most_replicas), generation)
        if self._bring(declaration):
            self._generations[name] = generation
            self.live[name] = declaration

    def _leased(self) -> dict[str, object]:
        up = sorted(machine.id for machine in self.mesh.up())
        voters = first_voters(self.mesh.world.random.sample(up, min(len(up), MAX_VOTERS)))
        return {"max_surge": 0, "max_unavailable": 1, "voters": voters, "rollout": Rollout.ORDERED}

    def _change(self, name: str, **fields: object) -> None:
        if self.live[name].leased:
            fields.pop("max_unavailable", None)
        following = changed(self.live[name], **fields)
        if self._bring(following):
            self.live[name] = following

    def _delete(self, name: str) -> None:
        if self._bring(changed(self.live[name], deleted=True)):
            del self.live[name]

    def _bring(self, declaration: Declaration) -> bool:
        """Bring a record to its guardians, as far as they can be reached. False if that is too few to last."""
        reached = self._reached(declaration)
        if len(reached) < min(LEAST_HOLDERS, len(self.mesh.machines)):
            return False
        self.census.declared(declaration)
        self.mesh.apply(declaration, only=reached)
        return True

    def _reached(self, declaration: Declaration) -> Sequence[Machine]:
        network, draw = self.mesh.world.network, self.mesh.world.random
        up = [machine for machine in self.mesh.up() if not machine.paused]
        if not up:
            return ()
        entry = draw.choice(up)
        guardians = entry.members.guardians(key_of_name(*declaration.path), self.mesh.config.guardians)
        found = [self.mesh.machines[machine] for machine in guardians if machine in self.mesh.machines]
        taking = [machine for machine in found if machine in up and not machine.disk.full]
        return [machine for machine in taking if machine is entry or network.passes(entry.id, machine.id)]
