"""Declarations, and bounds that are checked after every event of a simulation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from beemesh_node.healing.declaration import Declaration
from beemesh_node.protocol.ids import Uid
from beemesh_node.protocol.messages import Requirements
from beemesh_node.simulation.mesh import Mesh

MIB = 1024 * 1024


def declare(name: str = "web", **fields: Any) -> Declaration:
    values: dict[str, Any] = {
        "uid": Uid(f"uid-of-{name}"),
        "namespace": "default",
        "kind": "Deployment",
        "name": name,
        "generation": 1,
        "sequence": 1,
        "deleted": False,
        "digest": b"1",
        "revision": "aaaaaaaaaa",
        "replicas": 2,
        "requirements": Requirements(100, 64 * MIB),
    }
    return Declaration(**{**values, **fields})


def change(declaration: Declaration, **fields: Any) -> Declaration:
    """The next version of a declaration."""
    following = replace(declaration, sequence=declaration.sequence + 1, **fields)
    return replace(following, digest=hashlib.sha256(repr(following).encode()).digest())


@dataclass
class Bounds:
    """Watches what truly runs of one declaration: what a rollout may never do."""

    mesh: Mesh
    declaration: Declaration
    surged: int = 0
    lacked: int = 0
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mesh.world.after_each.append(self.check)

    def check(self) -> None:
        declared = self.declaration
        pods = [pod for _, pod in self.mesh.pods(declared.uid) if not pod.stopping]
        ready = sum(pod.status.ready for pod in pods)
        self.surged = max(self.surged, len(pods) - declared.replicas)
        self.lacked = max(self.lacked, declared.replicas - ready)
        if len(pods) > declared.replicas + declared.max_surge:
            self.problems.append(f"{self.mesh.world.now:.3f}: {len(pods)} pods of {declared.replicas}")
        if ready < declared.replicas - declared.unavailable:
            self.problems.append(f"{self.mesh.world.now:.3f}: {ready} ready of {declared.replicas}")


def watch_capacity(mesh: Mesh) -> None:
    """Check, whenever a machine has taken a claim, that it has not promised more than it has."""
    taken: dict[str, int] = {}

    def check() -> None:
        for machine in mesh.machines.values():
            claims = machine.sent.get("PersistClaim", 0)
            if machine.core is not None and taken.get(machine.id) != claims:
                taken[machine.id] = claims
                held = machine.core.reserved()
                assert held.cpu <= machine.member.cpu_allocatable
                assert held.memory <= machine.member.memory_allocatable

    mesh.world.after_each.append(check)
