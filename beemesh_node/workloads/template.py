"""The pod template of a workload: from the validated manifest to the pod model."""

from __future__ import annotations

from collections.abc import Mapping

from beemesh_node.workloads import names
from beemesh_node.workloads.containers import container
from beemesh_node.workloads.errors import Problems
from beemesh_node.workloads.manifest import KubernetesObject, check_labels
from beemesh_node.workloads.pod import Container, HostPath, PodTemplate, RestartPolicy
from beemesh_node.workloads.references import References
from beemesh_node.workloads.security import check_id, is_privileged
from beemesh_node.workloads.values import Json
from beemesh_node.workloads.volumes import volumes, with_claims

MAX_CONTAINERS = 64
"""Containers of one pod, init containers counted."""
MAX_GRACE_SECONDS = 24 * 3600

HOST_NETWORK, HOST_PATH, PRIVILEGED, PRIORITY = "hostNetwork", "hostPath", "privileged", "priority"


def template_of(workload: KubernetesObject) -> tuple[Mapping[str, Json], str]:
    """The template of a workload as it stands in its manifest, with the path of its pod spec. A Pod is its own."""
    if workload.kind == "Pod":
        return workload.body, "spec"
    return workload.body["spec"]["template"], "spec.template.spec"


def pod_template(workload: KubernetesObject, references: References, problems: Problems) -> PodTemplate:
    """The template of `workload`, with every reference resolved. Whatever is wrong is added to `problems`."""
    body, path = template_of(workload)
    metadata, spec = body.get("metadata", {}), body.get("spec")
    if spec is None:
        problems.add(path, "required, but missing")
        spec = {"containers": []}
    if workload.kind != "Pod":
        check_labels(metadata, "spec.template.metadata", problems)
    security = spec.get("securityContext", {})
    for field in ("runAsUser", "runAsGroup", "fsGroup"):
        check_id(security.get(field), f"{path}.securityContext.{field}", problems)
    known = volumes(spec, path, references, problems)
    if workload.kind == "StatefulSet":
        known = with_claims(known, workload.body["spec"], problems)
    inherited = {key: value for key, value in security.items() if key != "fsGroup"}
    groups = {
        field: tuple(
            container(each, f"{path}.{field}[{index}]", inherited, known, references, problems)
            for index, each in enumerate(spec.get(field, ())[:MAX_CONTAINERS])
        )
        for field in ("initContainers", "containers")
    }
    _check_containers(spec, groups, path, problems)
    grace = spec.get("terminationGracePeriodSeconds", 30)
    if not 0 <= grace <= MAX_GRACE_SECONDS:
        problems.add(f"{path}.terminationGracePeriodSeconds", f"{grace} must be between 0 and {MAX_GRACE_SECONDS}")
    if "hostname" in spec:
        with problems.at(f"{path}.hostname"):
            names.check_label(spec["hostname"])
    restart = RestartPolicy(spec.get("restartPolicy") or "Always")
    if workload.kind != "Pod" and restart is not RestartPolicy.ALWAYS:
        problems.add(f"{path}.restartPolicy", f'unsupported value "{restart}": a {workload.kind} needs "Always"')
    return PodTemplate(
        containers=groups["containers"],
        init_containers=groups["initContainers"],
        volumes=known,
        labels=metadata.get("labels", {}),
        annotations=metadata.get("annotations", {}),
        restart_policy=restart,
        termination_grace_seconds=grace,
        host_network=spec.get("hostNetwork", False),
        hostname=spec.get("hostname", ""),
        fs_group=security.get("fsGroup"),
    )


def _check_containers(
    spec: Mapping[str, Json], groups: Mapping[str, tuple[Container, ...]], path: str, problems: Problems
) -> None:
    if not spec["containers"]:
        problems.add(f"{path}.containers", "required, but empty")
    if len(spec["containers"]) + len(spec.get("initContainers", ())) > MAX_CONTAINERS:
        problems.add(f"{path}.containers", f"more than {MAX_CONTAINERS} containers in one pod")
    seen: set[str] = set()
    taken: dict[tuple[int, str, str], str] = {}
    for field, members in groups.items():
        for index, member in enumerate(members):
            at = f"{path}.{field}[{index}]"
            if member.name in seen:
                problems.add(f"{at}.name", f'duplicate value "{member.name}"')
            seen.add(member.name)
            for number, port in enumerate(member.ports):
                place = f"{at}.ports[{number}].hostPort"
                if spec.get("hostNetwork") and port.host_port not in (0, port.container_port):
                    problems.add(place, "must match `containerPort` when `hostNetwork` is true")
                held = port.container_port if spec.get("hostNetwork") else port.host_port
                if held and field == "containers":
                    earlier = taken.setdefault((held, port.protocol, port.host_ip), place)
                    if earlier != place:
                        problems.add(place, f"duplicate value {held}, also at {earlier}")


def needs(template: PodTemplate) -> frozenset[str]:
    """What of `template` takes an operator's verb: `hostNetwork`, `hostPath`, `privileged`."""
    found = set()
    if template.host_network:
        found.add(HOST_NETWORK)
    if any(isinstance(volume.source, HostPath) for volume in template.volumes):
        found.add(HOST_PATH)
    if any(is_privileged(each.security) for each in (*template.init_containers, *template.containers)):
        found.add(PRIVILEGED)
    return frozenset(found)
