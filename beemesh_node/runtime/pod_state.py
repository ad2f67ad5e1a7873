"""What the states of its containers make of a pod (the kubelet's `getPhase` and readiness conditions). No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from beemesh_node.workloads.pod import ContainerStatus, PodPhase, RestartPolicy


def pod_phase(
    policy: RestartPolicy, init: Sequence[ContainerStatus], containers: Sequence[ContainerStatus]
) -> PodPhase:
    """The phase of a pod whose containers are in these states."""
    for status in init:
        if status.state != "terminated" or status.exit_code != 0:
            over = status.state == "terminated" and policy is RestartPolicy.NEVER
            return PodPhase.FAILED if over else PodPhase.PENDING
    if any(status.state == "waiting" and not status.last_finished_at_ms for status in containers):
        return PodPhase.PENDING
    if any(status.state != "terminated" for status in containers) or policy is RestartPolicy.ALWAYS:
        return PodPhase.RUNNING
    if all(status.exit_code == 0 for status in containers):
        return PodPhase.SUCCEEDED
    return PodPhase.FAILED if policy is RestartPolicy.NEVER else PodPhase.RUNNING


def pod_ready(phase: PodPhase, containers: Sequence[ContainerStatus]) -> bool:
    """Whether a pod may get traffic: it runs and each of its containers is ready."""
    return phase is PodPhase.RUNNING and all(status.ready for status in containers)
