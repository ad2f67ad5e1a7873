"""Containers of a pod, from validated manifests to the pod model."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from beemesh_node.workloads import names
from beemesh_node.workloads.environment import check_words, environment
from beemesh_node.workloads.errors import Problems
from beemesh_node.workloads.pod import Container, ContainerPort, PullPolicy, Resources, Volume
from beemesh_node.workloads.probes import probe
from beemesh_node.workloads.quantity import cpu_millis, whole_bytes
from beemesh_node.workloads.references import References
from beemesh_node.workloads.security import security_context
from beemesh_node.workloads.values import Json
from beemesh_node.workloads.volumes import mounts

_RESOURCES = {"cpu": cpu_millis, "memory": whole_bytes}
MAX_AMOUNT = 2**53
"""Millicores or bytes that one container may ask for."""


def container(
    body: Mapping[str, Json],
    path: str,
    of_pod: Mapping[str, Json],
    known: tuple[Volume, ...],
    references: References,
    problems: Problems,
) -> Container:
    """One container. `of_pod` is the pod's security context, `known` are its volumes."""
    with problems.at(f"{path}.name"):
        names.check_label(body["name"])
    image = body.get("image", "")
    if not image:
        problems.add(f"{path}.image", "required, but missing")
    elif any(character <= " " for character in image):
        problems.add(f"{path}.image", "must not have spaces")
    variables = environment(body, path, references, problems)
    for field in ("command", "args"):
        check_words(body.get(field, ()), f"{path}.{field}", variables, problems)
    opened = _ports(body, path, problems)
    requests, limits = _resources(body.get("resources", {}), f"{path}.resources", problems)
    return Container(
        name=body["name"],
        image=image,
        pull_policy=PullPolicy(body.get("imagePullPolicy") or _pull_policy(image)),
        command=tuple(body.get("command", ())),
        args=tuple(body.get("args", ())),
        working_dir=body.get("workingDir", ""),
        env=variables,
        ports=opened,
        mounts=mounts(body, path, known, problems),
        requests=requests,
        limits=limits,
        liveness_probe=probe(body, "livenessProbe", path, opened, problems),
        readiness_probe=probe(body, "readinessProbe", path, opened, problems),
        startup_probe=probe(body, "startupProbe", path, opened, problems),
        security=security_context(body.get("securityContext", {}), of_pod, f"{path}.securityContext", problems),
        stdin=body.get("stdin", False),
        tty=body.get("tty", False),
    )


def _pull_policy(image: str) -> str:
    """Kubernetes' default: what is always "latest" is always fetched."""
    if "@" in image:
        return PullPolicy.IF_NOT_PRESENT
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return PullPolicy.ALWAYS if not colon or tag == "latest" else PullPolicy.IF_NOT_PRESENT


def _ports(body: Mapping[str, Json], path: str, problems: Problems) -> tuple[ContainerPort, ...]:
    result: list[ContainerPort] = []
    for index, value in enumerate(body.get("ports", ())):
        at = f"{path}.ports[{index}]"
        for field in ("containerPort", "hostPort"):
            number = value.get(field, 0)
            if not (1 if field == "containerPort" else 0) <= number <= 65535:
                problems.add(f"{at}.{field}", f"{number} must be between 1 and 65535")
        name, address = value.get("name", ""), value.get("hostIP", "")
        if name:
            with problems.at(f"{at}.name"):
                names.check_port_name(name)
            if any(port.name == name for port in result):
                problems.add(f"{at}.name", f'duplicate value "{name}"')
        if address:
            with problems.at(f"{at}.hostIP"):
                ipaddress.ip_address(address)
        protocol = value.get("protocol") or "TCP"
        result.append(ContainerPort(value["containerPort"], value.get("hostPort", 0), address, protocol, name))
    return tuple(result)


def _resources(body: Mapping[str, Json], path: str, problems: Problems) -> tuple[Resources, Resources]:
    """Requests and limits; what has a limit but no request asks for its limit, as in Kubernetes."""
    limits = _amounts(body.get("limits", {}), f"{path}.limits", problems)
    requests = _amounts(body.get("requests", {}), f"{path}.requests", problems)
    for name, limit in limits.items():
        if requests.setdefault(name, limit) > limit:
            given, most = body["requests"][name], body["limits"][name]
            problems.add(f"{path}.requests", f"{name} {given} must be less than or equal to the {name} limit {most}")
    return (
        Resources(requests.get("cpu", 0), requests.get("memory", 0)),
        Resources(limits.get("cpu", 0), limits.get("memory", 0)),
    )


def _amounts(body: Mapping[str, Json], path: str, problems: Problems) -> dict[str, int]:
    result = {}
    for name, value in body.items():
        at = f"{path}[{name[:80]}]"
        if name not in _RESOURCES:
            problems.add(at, "not supported: only cpu and memory are")
            continue
        with problems.at(at):
            result[name] = _RESOURCES[name](value)
            if result[name] > MAX_AMOUNT:
                raise ValueError(f"{value} is more than any machine has")
    return result
