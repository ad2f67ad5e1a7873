"""The life of one claim on its own machine, as a table, and how it is told to others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from uuid import UUID

from beemesh_node.healing.claims import TERMINATING
from beemesh_node.healing.declaration import Declaration, NamePath
from beemesh_node.healing.effects import HeldClaim
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import ClaimRef, ClaimReport, ContainerReport, Requirements
from beemesh_node.workloads.pod import ContainerStatus, PodIdentity, PodPhase, PodStatus

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
"""Letters of the ends of pod names: without vowels and look-alikes, as in Kubernetes."""


class Stage(Enum):
    """Where a claim is."""

    ASKING = auto()
    """Found persisted, without its pod: the guardians are asked whether it still stands."""
    STARTING = auto()
    RUNNING = auto()
    """Its pod exists, ready or not."""
    STOPPING = auto()
    OVER = auto()


class Signal(Enum):
    """What may happen to a claim."""

    CONFIRMED = auto()
    """The guardians have nothing against it, or none answers."""
    POD_CHANGED = auto()
    START_FAILED = auto()
    """For good."""
    RELEASED = auto()
    POD_ENDED = auto()


TRANSITIONS: Mapping[tuple[Stage, Signal], Stage] = {
    (Stage.ASKING, Signal.CONFIRMED): Stage.STARTING,
    (Stage.ASKING, Signal.POD_CHANGED): Stage.RUNNING,
    (Stage.ASKING, Signal.RELEASED): Stage.OVER,
    (Stage.STARTING, Signal.POD_CHANGED): Stage.RUNNING,
    (Stage.STARTING, Signal.START_FAILED): Stage.OVER,
    (Stage.STARTING, Signal.RELEASED): Stage.STOPPING,
    (Stage.STARTING, Signal.POD_ENDED): Stage.OVER,
    (Stage.RUNNING, Signal.POD_CHANGED): Stage.RUNNING,
    (Stage.RUNNING, Signal.START_FAILED): Stage.OVER,
    (Stage.RUNNING, Signal.RELEASED): Stage.STOPPING,
    (Stage.RUNNING, Signal.POD_ENDED): Stage.OVER,
    (Stage.STOPPING, Signal.POD_CHANGED): Stage.STOPPING,
    (Stage.STOPPING, Signal.START_FAILED): Stage.OVER,
    (Stage.STOPPING, Signal.POD_ENDED): Stage.OVER,
}
"""What is not in it changes nothing."""


@dataclass
class LocalClaim:
    """A claim of this machine."""

    held: HeldClaim
    stage: Stage
    version: int
    status: PodStatus | None = None
    reason: str = ""
    message: str = ""
    failures: int = 0
    """Failed starts that are to be tried again."""
    failed: bool = False
    """It is over because its pod failed, not because it was released."""
    after: set[str] = field(default_factory=set)
    """Pods of lower priority that have to be gone before its own is made: they had its room."""
    leaving: str = ""
    """Why it is to be moved to another machine, empty if it is to stay."""
    home: str = ""
    """The machine that holds the volumes of its slot, once that is known."""
    asked: str = ""
    """Machine of the better claim that is being asked, so that it is asked once at a time."""

    @property
    def ref(self) -> ClaimRef:
        """The claim."""
        return self.held.ref

    @property
    def pod_uid(self) -> str:
        """The pod it stands for."""
        return self.held.identity.pod_uid

    @property
    def path(self) -> NamePath:
        """The name of its workload."""
        identity = self.held.identity
        return (identity.namespace, identity.kind, identity.workload)

    def moves(self, signal: Signal) -> bool:
        """Go where the table says. False if the signal means nothing at this stage."""
        stage = TRANSITIONS.get((self.stage, signal))
        if stage is None:
            return False
        self.stage = stage
        return True

    @property
    def ready(self) -> bool:
        """Whether its pod serves."""
        return self.stage is Stage.RUNNING and self.status is not None and self.status.ready

    @property
    def ended_itself(self) -> bool:
        """Whether its pod came to its end and keeps what it needed no longer."""
        return self.status is not None and self.status.phase in (PodPhase.SUCCEEDED, PodPhase.FAILED)

    def report(self, address: str) -> ClaimReport:
        """Tell how it is. `address` is this machine's."""
        status, identity = self.status, self.held.identity
        phase = status.phase if status is not None else PodPhase.PENDING
        if self.stage is Stage.OVER:
            phase = PodPhase.FAILED if self.failed else PodPhase.SUCCEEDED
        reason, message = self._reason()
        return ClaimReport(
            claim=self.ref,
            namespace=identity.namespace,
            workload=identity.workload,
            pod_name=identity.pod_name,
            pod_uid=identity.pod_uid,
            phase=phase,
            ready=self.ready,
            reason=reason,
            message=message,
            pod_ip=status.pod_ip if status is not None else "",
            host_ip=address,
            created_at=self.held.created_at,
            started_at=status.started_at_ms if status is not None else 0,
            containers=tuple(map(_container, status.containers)) if status is not None else (),
            init_containers=tuple(map(_container, status.init_containers)) if status is not None else (),
            gone=self.stage is Stage.OVER,
            version=self.version,
            leaving="" if self.ended_itself or self.stage in (Stage.STOPPING, Stage.OVER) else self.leaving,
            home=self.home,
        )

    def _reason(self) -> tuple[str, str]:
        if self.stage is Stage.STOPPING:
            return TERMINATING, self.message
        if self.reason or self.status is None:
            return self.reason, self.message
        if self.status.reason:
            return self.status.reason, self.status.message
        for container in (*self.status.init_containers, *self.status.containers):
            if container.state == "waiting" and container.reason:
                return container.reason, container.message
        return "", self.status.message


def _container(status: ContainerStatus) -> ContainerReport:
    return ContainerReport(
        name=status.name,
        image=status.image,
        state=status.state,
        ready=status.ready,
        started=status.started,
        restart_count=status.restart_count,
        reason=status.reason,
        message=status.message,
        exit_code=status.exit_code,
        started_at=status.started_at_ms,
        finished_at=status.finished_at_ms,
        container_id=status.container_id,
        image_id=status.image_id,
        last_exit_code=status.last_exit_code,
        last_reason=status.last_reason,
        last_finished_at=status.last_finished_at_ms,
    )


def new_claim(
    declaration: Declaration, slot: int, attempt: int, machine: MachineId, salt: bytes, created_at: int
) -> HeldClaim:
    """Make the claim and the identity of its pod. `salt` differs from claim to claim, also over restarts.

    A Pod keeps its own name, those of a StatefulSet are called NAME-SLOT, and other replicas NAME-REVISION-xxxxx, as in
    Kubernetes.
    """
    parts = (declaration.uid, declaration.revision, str(slot), str(attempt), machine)
    digest = hashlib.sha256(b"\0".join((salt, *(part.encode() for part in parts)))).digest()
    suffix = "".join(_SUFFIX[byte % len(_SUFFIX)] for byte in digest[16:21])
    name = declaration.name
    names = {"Pod": name, "StatefulSet": f"{name}-{slot}"}
    identity = PodIdentity(
        namespace=declaration.namespace,
        kind=declaration.kind,
        workload=name,
        uid=declaration.uid,
        slot=slot,
        attempt=attempt,
        sequence=declaration.sequence,
        revision=declaration.revision,
        pod_name=names.get(declaration.kind, f"{name}-{declaration.revision[:10]}-{suffix}"),
        pod_uid=str(UUID(bytes=digest[:16], version=4)),
    )
    ref = ClaimRef(declaration.uid, declaration.sequence, slot, attempt, machine, declaration.revision)
    return HeldClaim(ref, identity, declaration.requirements, declaration.labels, created_at, declaration.leased)


def found_claim(
    identity: PodIdentity, machine: MachineId, declaration: Declaration | None, created_at: int
) -> HeldClaim:
    """Make the claim of a pod that was found running without one: its labels say what it is."""
    ref = ClaimRef(identity.uid, identity.sequence, identity.slot, identity.attempt, machine, identity.revision)
    if declaration is None:
        return HeldClaim(ref, identity, Requirements(0, 0), {}, created_at)
    return HeldClaim(ref, identity, declaration.requirements, declaration.labels, created_at, declaration.leased)
