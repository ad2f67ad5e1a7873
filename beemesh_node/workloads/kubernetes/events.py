"""Something that happened to a workload, as v1 Event."""

from __future__ import annotations

from beemesh_node.protocol.messages import EventReport
from beemesh_node.workloads.kubernetes.shapes import Shape, filled
from beemesh_node.workloads.kubernetes.times import timestamp
from beemesh_node.workloads.names import safe_hash

COMPONENT = "beemeshd"
_VERSIONS = {"Deployment": "apps/v1", "StatefulSet": "apps/v1"}


def event(report: EventReport, node: str) -> Shape:
    """The Event; `node` is the name of the machine that saw it. Its own name is the same whoever computes it."""
    identity = (report.uid, report.kind, report.name, report.reason, report.message, report.machine, report.first_at)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": filled(
            name=f"{report.name}.{safe_hash(repr(identity).encode(errors='replace'), 16)}",
            namespace=report.namespace,
            creationTimestamp=timestamp(report.first_at),
        ),
        "involvedObject": filled(
            apiVersion=_VERSIONS.get(report.kind, "v1"),
            kind=report.kind,
            name=report.name,
            namespace=report.namespace,
            uid=report.uid,
        ),
        "type": report.type,
        "reason": report.reason,
        "message": report.message,
        "count": report.count,
        "firstTimestamp": timestamp(report.first_at),
        "lastTimestamp": timestamp(report.last_at),
        "source": filled(component=COMPONENT, host=node),
        "reportingComponent": COMPONENT,
        "reportingInstance": node,
    }
