"""A declared Deployment and how far it has come, as apps/v1 Deployment."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

from beemesh_node.protocol.messages import ClaimReport, WorkloadEntry
from beemesh_node.protocol.record import Record
from beemesh_node.workloads.kubernetes.shapes import Shape, condition, filled
from beemesh_node.workloads.kubernetes.times import timestamp
from beemesh_node.workloads.spec import WorkloadSpec

REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Progress:
    """How many replicas are how far."""

    wanted: int
    existing: int
    updated: int
    """Of the declared revision."""
    ready: int
    available: int
    """Ready for at least minReadySeconds, as far as reports tell: counted from the last start of a container."""

    @property
    def complete(self) -> bool:
        """All that is wanted is there, on the declared revision, and nothing else."""
        return self.wanted == self.existing == self.updated == self.available

    @property
    def unavailable(self) -> int:
        """Replicas that are wanted or exist but do not serve."""
        return max(0, max(self.wanted, self.existing) - self.available)


def progress(spec: WorkloadSpec, pods: Iterable[ClaimReport], now: int) -> Progress:
    """Count the pods of one declaration. `now` is mesh time in milliseconds."""
    active = [report for report in pods if not report.gone and report.phase not in _ENDED]
    ready = [report for report in active if report.ready]
    available = [report for report in ready if now - _last_start(report) >= spec.min_ready_seconds * 1000]
    return Progress(
        wanted=spec.replicas,
        existing=len(active),
        updated=sum(report.claim.revision == spec.revision for report in active),
        ready=len(ready),
        available=len(available) if spec.min_ready_seconds else len(ready),
    )


def _last_start(report: ClaimReport) -> int:
    return max((each.started_at for each in report.containers), default=report.started_at)


def deployment(
    spec: WorkloadSpec, record: Record, entry: WorkloadEntry, pods: Iterable[ClaimReport], now: int
) -> Shape:
    """The Deployment: its manifest, with what the mesh knows of it. `pods` are the reports of its declaration."""
    body = copy.deepcopy(spec.manifest)
    revisions = record.revisions
    annotations = dict(spec.annotations)
    if revisions:
        annotations[REVISION_ANNOTATION] = str(revisions[-1].number)
    metadata = body["metadata"] | filled(
        annotations=annotations,
        uid=record.uid,
        resourceVersion=str(record.sequence),
        generation=record.sequence,
        creationTimestamp=timestamp(record.created_at),
    )
    counts = progress(spec, pods, now)
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": metadata,
        "spec": {"replicas": spec.replicas} | body["spec"],
        "status": {"observedGeneration": record.sequence}
        | {name: count for name, count in _counts(counts).items() if count}
        | {"conditions": _conditions(spec, record, entry, counts)},
    }


def _counts(counts: Progress) -> dict[str, int]:
    return {
        "replicas": counts.existing,
        "updatedReplicas": counts.updated,
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "unavailableReplicas": counts.unavailable,
    }


def _conditions(spec: WorkloadSpec, record: Record, entry: WorkloadEntry, counts: Progress) -> list[Shape]:
    """Available and Progressing, with the words of Kubernetes' deployment controller."""
    since = entry.progressed_at or record.created_at
    replica_set = f'ReplicaSet "{spec.name}-{spec.revision}"'
    if counts.available >= spec.replicas - spec.max_unavailable:
        available = (True, "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        available = (False, "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    if counts.complete:
        progressing = (True, "NewReplicaSetAvailable", f"{replica_set} has successfully progressed.")
    elif entry.progress_failed:
        progressing = (False, "ProgressDeadlineExceeded", f"{replica_set} has timed out progressing.")
    else:
        progressing = (True, "ReplicaSetUpdated", f"{replica_set} is progressing.")
    status, reason, message = progressing
    if entry.message and not counts.complete:
        message = f"{message} {entry.message}"
    return [
        condition("Available", *available, since, since),
        condition("Progressing", status, reason, message, since, since),
    ]
