"""A container of a pod as Podman's `POST /containers/create` wants it (its SpecGenerator). No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beemesh_node.runtime.config import RuntimeConfig
from beemesh_node.runtime.labels import PREFIX, Role, container_labels, container_name, pod_labels, pod_name
from beemesh_node.runtime.resources import oom_score_adj, resource_limits
from beemesh_node.runtime.security import security_spec
from beemesh_node.workloads.pod import Container, ContainerPort, PodSpec

MAX_LOG_BYTES = 10 * 1024 * 1024
"""A container's log on disk (Kubernetes' containerLogMaxSize)."""
MAX_HOSTNAME = 63

_REFERENCE = re.compile(r"\$(\$|\(([A-Za-z_.][A-Za-z0-9_.-]*)\))")


@dataclass(frozen=True, slots=True)
class Mount:
    """A path of the machine, or the name of one of Podman's volumes, and where a container sees it."""

    source: str
    destination: str
    read_only: bool = False
    named_volume: bool = False
    relabel: bool = False
    """Ours alone, so that SELinux may be told that containers use it; a hostPath keeps its label."""
    sub_path: str = ""
    """What below `source` is mounted; see `sub_paths`."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a specification depends on besides the pod itself."""

    config: RuntimeConfig
    machine_memory: int
    pod_ip: str = ""
    sandbox: str = ""
    """Podman's id of the pod to join; empty for a container that stands alone."""
    sandbox_container: str = ""
    """Podman's id of that pod's infra container."""
    image_user: str = ""
    """The image's USER, known only if `security.needs_image_user`."""
    pid_namespace: str = ""
    """The path of the PID namespace to join, that of a guard; empty for one of the container's own."""


def needs_sandbox(pod: PodSpec) -> bool:
    """Whether the pod's containers must share namespaces that none of them owns.

    One container without init containers is as well off alone: it saves a pause process and about 100 ms. The exception
    is a pod that wants its own IP in its environment, which must be known before the container is created.
    """
    template = pod.template
    if len(template.containers) > 1 or template.init_containers:
        return True
    wants_ip = any(variable.field_path == "status.podIP" for variable in template.containers[0].env)
    return wants_ip and not template.host_network


def container_spec(
    pod: PodSpec, container: Container, role: Role, restart: int, mounts: Sequence[Mount], around: Surroundings
) -> dict[str, Any]:
    """The specification of one life of one container."""
    config, template = around.config, pod.template
    env = environment(pod, container, around)
    own = container_labels(config.mesh, pod.identity, role, container.name, restart)
    spec: dict[str, Any] = {
        "name": container_name(config.name_prefix, pod.identity, container.name, restart),
        "image": container.image,
        "labels": {**_template_labels(pod), **own},
        "env": env,
        "terminal": container.tty,
        "stdin": container.stdin,
        "restart_policy": "no",
        "systemd": "false",
        "httpproxy": False,
        # An image's HEALTHCHECK would make Podman set a systemd timer; probes are the node's own.
        "healthconfig": {"Test": ["NONE"]},
        "log_configuration": {"driver": "k8s-file", "size": MAX_LOG_BYTES},
        "resource_limits": resource_limits(container),
        "oom_score_adj": oom_score_adj(container, around.machine_memory),
        "mounts": [_bind(mount) for mount in mounts if not mount.named_volume],
        "volumes": [_volume(mount) for mount in mounts if mount.named_volume],
        **security_spec(template, container, around.image_user),
    }
    if container.command:
        spec["entrypoint"] = [expand(word, env) for word in container.command]
    if container.args:
        spec["command"] = [expand(word, env) for word in container.args]
    if container.working_dir:
        spec["work_dir"] = container.working_dir
    if around.pid_namespace:
        spec["pidns"] = {"nsmode": "path", "value": around.pid_namespace}
    if around.sandbox:
        spec["pod"] = around.sandbox
    else:
        spec |= _namespaces(pod, config)
    return spec


def sandbox_spec(pod: PodSpec, config: RuntimeConfig) -> dict[str, Any]:
    """The specification of the Podman pod (`POST /pods/create`) whose infra container owns the shared namespaces."""
    return {
        "name": pod_name(config.name_prefix, pod.identity),
        "labels": pod_labels(config.mesh, pod.identity),
        "shared_namespaces": ["net", "ipc", "uts"],
        **_namespaces(pod, config),
    }


def environment(pod: PodSpec, container: Container, around: Surroundings) -> dict[str, str]:
    """The container's variables, with those that only the machine knows filled in.

    Raises ValueError for a field path that no machine can answer.
    """
    return {
        variable.name: downward(pod, variable.field_path, around) if variable.field_path else variable.value
        for variable in container.env
    }


def downward(pod: PodSpec, field_path: str, around: Surroundings) -> str:
    """What a field of the pod is on this machine (the downward API).

    Raises ValueError for any other field path than those of `EnvVar.field_path`.
    """
    identity, config = pod.identity, around.config
    known = {
        "metadata.name": identity.pod_name,
        "metadata.namespace": identity.namespace,
        "metadata.uid": identity.pod_uid,
        "spec.nodeName": config.node_name,
        "status.hostIP": config.host_ip(),
        "status.podIP": config.host_ip() if pod.template.host_network else around.pod_ip,
    }
    if field_path not in known:
        raise ValueError(f"fieldPath {field_path!r} is not one of {', '.join(known)}")
    return known[field_path]


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by a variable's value, as Kubernetes does in command and args; `$$` is a literal `$`.

    An unknown name stays as it is written.
    """

    def value(match: re.Match[str]) -> str:
        if match.group(1) == "$":
            return "$"
        return env.get(match.group(2), match.group(0))

    return _REFERENCE.sub(value, text)


def _template_labels(pod: PodSpec) -> dict[str, str]:
    return {name: value for name, value in pod.template.labels.items() if not name.startswith(PREFIX)}


def _namespaces(pod: PodSpec, config: RuntimeConfig) -> dict[str, Any]:
    """What the pod as a whole decides: network, name, kernel parameters."""
    template = pod.template
    spec: dict[str, Any] = {}
    if template.sysctls:
        spec["sysctl"] = dict(template.sysctls)
    if template.dns_servers:
        spec["dns_server"] = list(template.dns_servers)
    if template.host_network:
        return {**spec, "netns": {"nsmode": "host"}}
    return {
        **spec,
        "hostname": (template.hostname or pod.identity.pod_name)[:MAX_HOSTNAME].rstrip("-."),
        "netns": {"nsmode": "bridge"},
        "networks": {config.network: {}},
        "portmappings": [
            _port(port) for container in template.containers for port in container.ports if port.host_port
        ],
    }


def _port(port: ContainerPort) -> dict[str, Any]:
    return {
        "container_port": port.container_port,
        "host_port": port.host_port,
        "host_ip": port.host_ip,
        "protocol": port.protocol.lower(),
    }


def _bind(mount: Mount) -> dict[str, Any]:
    options = ["rbind", "rprivate", "ro" if mount.read_only else "rw"]
    if mount.relabel:
        options.append("z")
    source = f"{mount.source}/{mount.sub_path}" if mount.sub_path else mount.source
    return {"type": "bind", "source": source, "destination": mount.destination, "options": options}


def _volume(mount: Mount) -> dict[str, Any]:
    return {"Name": mount.source, "Dest": mount.destination, "Options": ["ro" if mount.read_only else "rw"]}
