"""Pods without containers: they start, become ready and end on the virtual clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from beemesh_node.healing.events import Event, PodChanged, PodEnded, PodStartFailed
from beemesh_node.simulation.world import World
from beemesh_node.workloads.pod import ContainerStatus, PodIdentity, PodPhase, PodStatus


class Fate(Enum):
    """What becomes of a pod that is started."""

    READY = auto()
    NEVER_READY = auto()
    NO_IMAGE = auto()
    """Waits in ImagePullBackOff."""
    FAILS = auto()
    """The start fails for good on this machine."""
    LATER = auto()
    """The start fails for a passing reason of the machine."""


@dataclass(slots=True)
class Pod:
    """One pod."""

    status: PodStatus
    stopping: bool = False
    deadline: float = math.inf
    """When the kernel ends it, unless its lease is renewed before: world time."""


@dataclass
class FakeRuntime:
    """The pods of one machine. They outlive its daemon, not the machine."""

    world: World
    tell: Callable[[Event], None]
    fate: Callable[[PodIdentity], Fate] = lambda _: Fate.READY
    start_time: float = 0.15
    stop_time: float = 0.1
    pace: float = 1.0
    """How many times as long both take, on a machine that has much else to do."""
    pods: dict[str, Pod] = field(default_factory=dict)
    changed: Callable[[PodIdentity], None] = lambda _: None
    """Told of each pod that begins, ends or is otherwise than before."""
    life: int = 0
    """Grows when the machine loses all its pods, so that nothing of the former life happens."""

    def start(self, identity: PodIdentity, deadline: float = math.inf) -> None:
        """Make a pod, or tell of the one there is. A leased one ends at its `deadline`."""
        if identity.pod_uid in self.pods:
            self.tell(PodChanged(self.pods[identity.pod_uid].status))
            return
        waiting = ContainerStatus("main", "image", reason="ContainerCreating")
        self.pods[identity.pod_uid] = Pod(PodStatus(identity, PodPhase.PENDING, False, (waiting,)))
        self.changed(identity)
        self.guard(identity, deadline)
        life = self.life
        self.world.after(self.start_time * self.pace, lambda: self._started(identity, life))

    def guard(self, identity: PodIdentity, deadline: float) -> None:
        """Have the kernel end a pod at `deadline`, and not before: nothing but the power of the machine stops that."""
        pod, life = self.pods.get(identity.pod_uid), self.life
        if pod is not None and deadline < math.inf:
            pod.deadline = deadline
            self.world.at(deadline, lambda: self._expire(identity.pod_uid, life))

    def stop(self, identity: PodIdentity) -> None:
        """End a pod; its end is told in any case."""
        pod = self.pods.get(identity.pod_uid)
        if pod is not None:
            pod.stopping = True
            self.changed(identity)
        life = self.life
        self.world.after(self.stop_time * self.pace, lambda: self._stopped(identity, life))

    def crash(self) -> None:
        """Lose everything, as a machine does that loses power."""
        self.life += 1
        lost = [pod.status.identity for pod in self.pods.values()]
        self.pods.clear()
        for identity in lost:
            self.changed(identity)

    def remove(self, pod_uid: str) -> None:
        """Lose one pod, as if somebody had removed it by hand."""
        pod = self.pods.pop(pod_uid, None)
        if pod is not None:
            self.changed(pod.status.identity)
            self.tell(PodEnded(pod_uid))

    def recover(self) -> None:
        """Have every pod become ready that waits for an image, or is not ready."""
        for pod in list(self.pods.values()):
            identity, waits = pod.status.identity, pod.status.containers[0].reason == "ImagePullBackOff"
            if not pod.stopping and (waits or (pod.status.phase is PodPhase.RUNNING and not pod.status.ready)):
                container = ContainerStatus("main", "image", "running", ready=True, started=True)
                pod.status = PodStatus(identity, PodPhase.RUNNING, True, (container,))
                self.changed(identity)
                self.tell(PodChanged(pod.status))

    def serve(self, pod_uid: str, ready: bool) -> None:
        """Have a running pod pass or fail its readiness probe."""
        pod = self.pods.get(pod_uid)
        if pod is not None and pod.status.phase is PodPhase.RUNNING:
            pod.status = replace(pod.status, ready=ready)
            self.changed(pod.status.identity)
            self.tell(PodChanged(pod.status))

    def _expire(self, pod_uid: str, life: int) -> None:
        pod = self.pods.get(pod_uid)
        if pod is not None and life == self.life and self.world.now >= pod.deadline:
            self.remove(pod_uid)

    def _started(self, identity: PodIdentity, life: int) -> None:
        pod = self.pods.get(identity.pod_uid)
        if pod is None or pod.stopping or life != self.life:
            return
        fate = self.fate(identity)
        if fate in (Fate.FAILS, Fate.LATER):
            del self.pods[identity.pod_uid]
            self.changed(identity)
            reason, retryable = ("CreateContainerError", False) if fate is Fate.FAILS else ("RuntimeUnavailable", True)
            self.tell(PodStartFailed(identity.pod_uid, reason, "as the simulation has it", retryable))
            return
        if fate is Fate.NO_IMAGE:
            container = ContainerStatus("main", "image", reason="ImagePullBackOff", message="no such image")
            pod.status = replace(pod.status, containers=(container,))
        else:
            ready = fate is Fate.READY
            container = ContainerStatus("main", "image", "running", ready=ready, started=True)
            pod.status = PodStatus(identity, PodPhase.RUNNING, ready, (container,))
        self.changed(identity)
        self.tell(PodChanged(pod.status))

    def _stopped(self, identity: PodIdentity, life: int) -> None:
        if life == self.life:
            self.pods.pop(identity.pod_uid, None)
            self.changed(identity)
            self.tell(PodEnded(identity.pod_uid))
