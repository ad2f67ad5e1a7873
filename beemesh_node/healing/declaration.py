"""What an operator declares, as far as deciding needs it: a record joined with what its manifest says of replicas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import ClaimRef, Requirements
from beemesh_node.workloads.pod import RestartPolicy
from beemesh_node.workloads.rollout import Rollout

NamePath: TypeAlias = tuple[str, str, str]
"""The mutable name of a workload: namespace, kind, name."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One version of one declaration. Of a tombstone only the names, `sequence` and `digest` are read."""

    uid: Uid
    namespace: str
    kind: str
    name: str
    generation: int
    """Of several live uids under one name the greatest (generation, uid) runs."""
    sequence: int
    deleted: bool
    digest: bytes
    """SHA-256 of the record's exact bytes."""
    revision: str = ""
    """Hash of the template: replicas of one revision are alike."""
    replicas: int = 1
    max_surge: int = 1
    max_unavailable: int = 0
    min_ready_seconds: float = 0
    progress_deadline_seconds: float = 600
    requirements: Requirements = field(default_factory=lambda: Requirements(0, 0))
    labels: Mapping[str, str] = field(default_factory=dict)
    """The template's labels, by which pod (anti-)affinity finds pods."""
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    rollout: Rollout = Rollout.ROLLING
    binds: bool = False
    """Its slots have volumes on their machines: where a slot has once run, there it stays."""
    voters: tuple[MachineId, ...] = ()
    """The first voters over its leases; none if its slots need no lease."""

    @property
    def rank(self) -> tuple[bool, int, bytes]:
        """Of two records of one uid the one with the greater rank wins, whoever looks."""
        return (self.deleted, self.sequence, self.digest)

    @property
    def leased(self) -> bool:
        """Whether a slot may never run twice, so that a majority of voters has to grant it."""
        return bool(self.voters)

    @property
    def path(self) -> NamePath:
        """The name it declares."""
        return (self.namespace, self.kind, self.name)

    @property
    def unavailable(self) -> int:
        """How many replicas a rollout may lack: without surge at least one, or it could not begin."""
        return self.max_unavailable if self.max_surge > 0 else max(1, self.max_unavailable)

    def wants(self, claim: ClaimRef) -> bool:
        """Whether `claim` is a replica of the declared template in a declared slot."""
        return not self.deleted and claim.revision == self.revision and claim.slot < self.replicas


def reigning(declarations: Iterable[Declaration]) -> Declaration | None:
    """Of the declarations under one name, the live one that runs; the others are shadowed. None if none is live."""
    return max((d for d in declarations if not d.deleted), key=lambda d: (d.generation, d.uid), default=None)


def order(claim: ClaimRef, revision: str) -> tuple[bool, str, int, str]:
    """Where a claim stands among those of its slot: the declared revision first, then lower attempt, lower machine."""
    return (claim.revision != revision, claim.revision, claim.attempt, claim.machine)
