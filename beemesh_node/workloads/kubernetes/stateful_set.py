"""A declared StatefulSet and how far it has come, as apps/v1 StatefulSet."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from beemesh_node.protocol.messages import ClaimReport, WorkloadEntry
from beemesh_node.protocol.record import Record
from beemesh_node.workloads.kubernetes.deployment import progress
from beemesh_node.workloads.kubernetes.shapes import Shape, filled
from beemesh_node.workloads.kubernetes.times import timestamp
from beemesh_node.workloads.spec import WorkloadSpec


def stateful_set(
    spec: WorkloadSpec, record: Record, entry: WorkloadEntry, pods: Iterable[ClaimReport], now: int
) -> Shape:
    """The StatefulSet: its manifest, with what the mesh knows of it. `pods` are the reports of its declaration."""
    body = copy.deepcopy(spec.manifest)
    metadata = body["metadata"] | filled(
        uid=record.uid,
        resourceVersion=str(record.sequence),
        generation=record.sequence,
        creationTimestamp=timestamp(record.created_at),
    )
    counts = progress(spec, pods, now)
    revisions = [f"{spec.name}-{revision.template_hash}" for revision in record.revisions[-2:]]
    update = revisions[-1] if revisions else ""
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": metadata,
        "spec": {"replicas": spec.replicas} | body["spec"],
        "status": {"observedGeneration": record.sequence, "replicas": counts.existing}
        | filled(
            readyReplicas=counts.ready or None,
            currentReplicas=(counts.existing if counts.complete else counts.existing - counts.updated) or None,
            updatedReplicas=counts.updated or None,
            availableReplicas=counts.available or None,
            currentRevision=update if counts.complete or not revisions else revisions[0],
            updateRevision=update,
            conditions=[_waiting(entry)] if entry.message and not counts.complete else None,
        ),
    }


def _waiting(entry: WorkloadEntry) -> Shape:
    """Why it is not as declared; Kubernetes has no condition of its own for that."""
    return {"type": "Progressing", "status": "False"} | filled(
        lastTransitionTime=timestamp(entry.progressed_at), reason="Waiting", message=entry.message
    )
