"""One replica on one machine, as v1 Pod."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from beemesh_node.protocol.messages import ClaimReport, ContainerReport
from beemesh_node.workloads.kubernetes.shapes import Shape, condition, filled
from beemesh_node.workloads.kubernetes.times import timestamp
from beemesh_node.workloads.pod import LocalVolume, Resources
from beemesh_node.workloads.spec import WorkloadSpec
from beemesh_node.workloads.template import template_of
from beemesh_node.workloads.values import Json

HASH_LABEL = "pod-template-hash"


def pod(report: ClaimReport, node: str, spec: WorkloadSpec | None, *, kind: str = "Deployment") -> Shape:
    """The Pod that `report` tells of, on the machine with the name `node`.

    `spec` is that of the report's own revision; without it (the asker may not read it, or another revision is declared
    by now) labels and most of the spec are unknown, and the containers are those that were reported. `kind` is that of
    the declaration.
    """
    body: Shape = {}
    if spec is not None and spec.revision == report.claim.revision:
        body = copy.deepcopy(dict(template_of(spec.objects[0])[0]))
    metadata = body.get("metadata", {})
    labels = dict(metadata.get("labels", {}))
    owners: list[Shape] = []
    if kind != "Pod":
        labels |= _labels(report, kind)
        owners = [
            {
                "apiVersion": "apps/v1",
                "kind": kind,
                "name": report.workload,
                "uid": report.claim.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    if body and spec is not None:
        body["spec"] = _with_claims(body["spec"], report, spec)
    known = body.get("spec") or {"containers": [{"name": each.name, "image": each.image} for each in report.containers]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": filled(
            name=report.pod_name,
            namespace=report.namespace,
            uid=report.pod_uid,
            creationTimestamp=timestamp(report.created_at),
            labels=labels,
            annotations=metadata.get("annotations"),
            ownerReferences=owners,
        ),
        "spec": known | {"nodeName": node},
        "status": _status(report, spec if body else None),
    }


def _labels(report: ClaimReport, kind: str) -> dict[str, str]:
    """What Kubernetes' controllers add to the labels of a replica."""
    if kind != "StatefulSet":
        return {HASH_LABEL: report.claim.revision}
    return {
        "controller-revision-hash": f"{report.workload}-{report.claim.revision}",
        "statefulset.kubernetes.io/pod-name": report.pod_name,
        "apps.kubernetes.io/pod-index": str(report.claim.slot),
    }


def _with_claims(body: Shape, report: ClaimReport, spec: WorkloadSpec) -> Shape:
    """The spec of a pod with the volumes that are its slot's own."""
    claims = [volume.name for volume in spec.template.volumes if isinstance(volume.source, LocalVolume)]
    if not claims:
        return body
    named = [{"name": n, "persistentVolumeClaim": {"claimName": f"{n}-{report.pod_name}"}} for n in claims]
    return body | {"volumes": [*(each for each in body.get("volumes", ()) if each["name"] not in claims), *named]}


def _status(report: ClaimReport, spec: WorkloadSpec | None) -> Shape:
    since = report.started_at or report.created_at
    initialized = all(each.state == "terminated" and each.exit_code == 0 for each in report.init_containers)
    unready = [each.name for each in report.containers if not each.ready]
    message = f"containers with unready status: [{' '.join(unready)}]" if unready else ""
    reason = "ContainersNotReady" if unready else ""
    ended = report.phase == "Succeeded"
    return {"phase": report.phase} | filled(
        conditions=[
            condition("PodScheduled", True, "", "", report.created_at),
            condition("Initialized", initialized, "" if initialized else "ContainersNotInitialized", "", since),
            condition("Ready", report.ready, "PodCompleted" if ended else reason, message, since),
            condition("ContainersReady", not unready, "PodCompleted" if ended else reason, message, since),
        ],
        message=report.message,
        reason=report.reason,
        hostIP=report.host_ip,
        hostIPs=[{"ip": report.host_ip}] if report.host_ip else None,
        podIP=report.pod_ip,
        podIPs=[{"ip": report.pod_ip}] if report.pod_ip else None,
        startTime=timestamp(report.started_at),
        initContainerStatuses=[container_status(each) for each in report.init_containers],
        containerStatuses=[container_status(each) for each in report.containers],
        qosClass=qos_class(spec) if spec is not None else None,
    )


def container_status(report: ContainerReport) -> Shape:
    """v1.ContainerStatus of one container."""
    last: Json = {}
    if report.last_finished_at:
        last = {
            "terminated": {"exitCode": report.last_exit_code}
            | filled(reason=report.last_reason, finishedAt=timestamp(report.last_finished_at))
        }
    return {
        "name": report.name,
        "image": report.image,
        "imageID": report.image_id,
        "ready": report.ready,
        "started": report.started,
        "restartCount": report.restart_count,
        "state": _state(report),
        "lastState": last,
    } | filled(containerID=f"podman://{report.container_id}" if report.container_id else None)


def _state(report: ContainerReport) -> Shape:
    if report.state == "running":
        return {"running": filled(startedAt=timestamp(report.started_at))}
    if report.state == "terminated":
        times = filled(startedAt=timestamp(report.started_at), finishedAt=timestamp(report.finished_at))
        words = filled(reason=report.reason, message=report.message)
        return {"terminated": {"exitCode": report.exit_code} | words | times}
    return {"waiting": filled(reason=report.reason, message=report.message)}


def qos_class(spec: WorkloadSpec) -> str:
    """Kubernetes' quality-of-service class: Guaranteed, Burstable or BestEffort."""
    template = spec.template
    containers = (*template.init_containers, *template.containers)
    if not any(amount for each in containers for amount in _amounts((each.requests, each.limits))):
        return "BestEffort"
    if all(all(_amounts((each.limits,))) and each.requests == each.limits for each in containers):
        return "Guaranteed"
    return "Burstable"


def _amounts(resources: Iterable[Resources]) -> list[int]:
    return [amount for each in resources for amount in (each.cpu_millis, each.memory_bytes)]
