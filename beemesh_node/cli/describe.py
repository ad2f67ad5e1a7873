"""`describe`: Kubernetes objects as text for people, in kubectl's order, with what only a mesh knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from beemesh_node.cli.output import Table, format_table
from beemesh_node.cli.shapes import Shape
from beemesh_node.cli.terminal import printable
from beemesh_node.cli.times import date
from beemesh_node.protocol.revocation import Revocation
from beemesh_node.workloads.kubernetes import event_table
from beemesh_node.workloads.kubernetes.tables import pod_status

_COLUMN = 24
_NONE = "<none>"


class Text:
    """Lines of `Name:  value`, indented by what they belong to."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def field(self, name: str, value: object, level: int = 0) -> None:
        """Add a field; nothing stands as `<none>`, several lines below each other."""
        head = "  " * level + f"{name}:"
        lines = [printable(line) for line in str(value).split("\n")] if value not in (None, "") else [_NONE]
        self._lines.append(f"{head:<{_COLUMN}}{lines[0]}" if len(head) < _COLUMN else f"{head} {lines[0]}")
        self._lines.extend(" " * _COLUMN + line for line in lines[1:])

    def mapping(self, name: str, values: Mapping[str, Any], level: int = 0) -> None:
        """Add a field of several `key=value`."""
        self.field(name, "\n".join(f"{key}={value}" for key, value in values.items()), level)

    def title(self, name: str, level: int = 0) -> None:
        """Begin a group."""
        self._lines.append("  " * level + f"{name}:")

    def table(self, name: str, table: Table, level: int = 0) -> None:
        """Add a table under a title; one without rows stands as `<none>`."""
        if not table.rows:
            self.field(name, "", level)
            return
        self.title(name, level)
        self._lines.extend("  " * (level + 1) + line for line in format_table(table, None))

    def __str__(self) -> str:
        return "\n".join(self._lines)


def revoked(entry: Revocation) -> str:
    """A member, or one certificate of it, that is believed no more."""
    text = Text()
    text.field("Name", entry.name)
    text.field("Machine ID", entry.machine_id)
    text.field("Revoked", date(entry.revoked_at))
    text.field("Certificate", str(entry.serial or "all, for good"))
    text.field("Reason", entry.reason)
    return str(text)


def machine(shape: Shape, facts: Mapping[str, str], pods: Sequence[Shape], events: Sequence[Shape], now: int) -> str:
    """A Node, with `facts` that have no place in its shape, the pods on it and its events."""
    text = Text()
    metadata, status, info = shape["metadata"], shape["status"], shape["status"].get("nodeInfo", {})
    text.field("Name", metadata["name"])
    text.field("Machine ID", metadata["uid"])
    text.mapping("Labels", metadata.get("labels", {}))
    taints = [f"{each['key']}={each.get('value', '')}:{each['effect']}" for each in shape["spec"].get("taints", ())]
    text.field("Taints", "\n".join(taints))
    text.field("Unschedulable", str(shape["spec"].get("unschedulable", False)).lower())
    for name, value in facts.items():
        text.field(name, value)
    _conditions(text, status)
    text.field("Addresses", "\n".join(f"{each['type']}: {each['address']}" for each in status.get("addresses", ())))
    text.mapping("Allocatable", status.get("allocatable", {}))
    text.title("System Info")
    for name, key in (
        ("Architecture", "architecture"),
        ("Operating System", "operatingSystem"),
        ("Kernel", "kernelVersion"),
        ("Podman", "containerRuntimeVersion"),
        ("beemeshd", "kubeletVersion"),
    ):
        text.field(name, info.get(key, ""), 1)
    rows = tuple((each["metadata"]["namespace"], each["metadata"]["name"], pod_status(each)) for each in pods)
    text.table("Pods", Table(("NAMESPACE", "NAME", "STATUS"), rows))
    _events(text, events, now)
    return str(text)


def deployment(shape: Shape, facts: Mapping[str, str], pods: Sequence[Shape], events: Sequence[Shape], now: int) -> str:
    """A Deployment or StatefulSet, with `facts` that have no place in its shape, its pods and its events."""
    text = Text()
    spec, status = shape["spec"], shape["status"]
    _head(text, shape)
    text.field("Selector", _selector(spec.get("selector", {})))
    counts = {"desired": spec["replicas"]}
    for word in ("updated", "total", "available", "unavailable"):
        counts[word] = status.get("replicas" if word == "total" else f"{word}Replicas", 0)
    text.field("Replicas", " | ".join(f"{count} {word}" for word, count in counts.items()))
    text.field(*_update(shape))
    for name, value in facts.items():
        text.field(name, value)
    text.title("Pod Template")
    template = spec["template"]
    text.mapping("Labels", template.get("metadata", {}).get("labels", {}), 1)
    if template.get("metadata", {}).get("annotations"):
        text.mapping("Annotations", template["metadata"]["annotations"], 1)
    _containers(text, template["spec"], {}, 1)
    _conditions(text, status)
    rows = tuple(
        (each["metadata"]["name"], pod_status(each), each["spec"].get("nodeName", ""), _trouble(each)) for each in pods
    )
    text.table("Pods", Table(("NAME", "STATUS", "NODE", "REASON"), rows))
    _events(text, events, now)
    return str(text)


def _update(shape: Shape) -> tuple[str, str]:
    """How a change reaches the replicas."""
    spec = shape["spec"]
    if shape["kind"] == "StatefulSet":
        return "Update Strategy", f"RollingUpdate, {spec.get('podManagementPolicy', 'OrderedReady')}"
    if spec.get("strategy", {}).get("type") == "Recreate":
        return "Strategy", "Recreate: all old pods end before a new one begins"
    update = spec.get("strategy", {}).get("rollingUpdate", {})
    surge = f"{update.get('maxUnavailable', '25%')} max unavailable, {update.get('maxSurge', '25%')} max surge"
    return "Rolling Update", surge


def pod(shape: Shape, facts: Mapping[str, str], events: Sequence[Shape], now: int) -> str:
    """A Pod, with `facts` that have no place in its shape, and the events of its replica on whatever machines."""
    text = Text()
    status = shape["status"]
    _head(text, shape)
    text.field("Node", shape["spec"].get("nodeName", ""))
    text.field("Start Time", status.get("startTime", ""))
    text.field("Status", pod_status(shape))
    for name in ("reason", "message"):
        if status.get(name):
            text.field(name.capitalize(), status[name])
    text.field("IP", status.get("podIP", ""))
    for owner in shape["metadata"].get("ownerReferences", ()):
        text.field("Controlled By", f"{owner['kind']}/{owner['name']}")
    for name, value in facts.items():
        text.field(name, value)
    statuses = {
        each["name"]: each for each in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    }
    _containers(text, shape["spec"], statuses, 0)
    _conditions(text, status)
    _events(text, events, now)
    return str(text)


def _head(text: Text, shape: Shape) -> None:
    metadata = shape["metadata"]
    text.field("Name", metadata["name"])
    text.field("Namespace", metadata.get("namespace", ""))
    if metadata.get("creationTimestamp"):
        text.field("Created", metadata["creationTimestamp"])
    text.mapping("Labels", metadata.get("labels", {}))
    text.mapping("Annotations", metadata.get("annotations", {}))


def _selector(selector: Mapping[str, Any]) -> str:
    parts = [f"{key}={value}" for key, value in selector.get("matchLabels", {}).items()]
    for each in selector.get("matchExpressions", ()):
        values = f" ({','.join(each['values'])})" if each.get("values") else ""
        parts.append(f"{each['key']} {each['operator'].lower()}{values}")
    return ",".join(parts)


def _containers(text: Text, spec: Mapping[str, Any], statuses: Mapping[str, Any], level: int) -> None:
    for title, key in (("Init Containers", "initContainers"), ("Containers", "containers")):
        if spec.get(key):
            text.title(title, level)
        for each in spec.get(key, ()):
            _container(text, each, statuses.get(each["name"], {}), level + 1)


def _container(text: Text, container: Mapping[str, Any], status: Mapping[str, Any], level: int) -> None:
    text.title(container["name"], level)
    inner = level + 1
    text.field("Image", container.get("image", ""), inner)
    ports = [f"{each['containerPort']}/{each.get('protocol', 'TCP')}" for each in container.get("ports", ())]
    text.field("Ports", ", ".join(ports), inner)
    for name, key in (("Command", "command"), ("Args", "args")):
        if container.get(key):
            text.field(name, " ".join(container[key]), inner)
    if status:
        _state(text, "State", status.get("state", {}), inner)
        if status.get("lastState"):
            _state(text, "Last State", status["lastState"], inner)
        text.field("Ready", str(status.get("ready", False)), inner)
        text.field("Restart Count", str(status.get("restartCount", 0)), inner)
    for name, key in (("Limits", "limits"), ("Requests", "requests")):
        if container.get("resources", {}).get(key):
            text.mapping(name, container["resources"][key], inner)
    text.field("Environment", "\n".join(_variables(container)), inner)
    mounts = [f"{each['mountPath']} from {each['name']}" for each in container.get("volumeMounts", ())]
    text.field("Mounts", "\n".join(mounts), inner)


def _variables(container: Mapping[str, Any]) -> Iterable[str]:
    for each in container.get("envFrom", ()):
        for kind, reference in each.items():
            if isinstance(reference, dict):
                yield f"from {kind.removesuffix('Ref')} {reference.get('name', '')}"
    for each in container.get("env", ()):
        source = each.get("valueFrom", {})
        if not source:
            yield f"{each['name']}={each.get('value', '')}"
        for kind, reference in source.items():
            if "key" in reference:
                owner = kind.removesuffix("KeyRef")
                yield f"{each['name']}: key {reference['key']} of {owner} {reference.get('name', '')}"
            else:
                yield f"{each['name']}: {reference.get('fieldPath', reference.get('resource', ''))}"


def _state(text: Text, name: str, state: Mapping[str, Any], level: int) -> None:
    for kind, details in state.items():
        text.field(name, kind.capitalize(), level)
        for key in ("reason", "message", "exitCode", "startedAt", "finishedAt"):
            if details.get(key) not in (None, ""):
                words = "".join(f" {each}" if each.isupper() else each for each in key)
                text.field(words.title(), details[key], level + 1)


def _conditions(text: Text, status: Mapping[str, Any]) -> None:
    rows = tuple(
        (each["type"], each["status"], each.get("reason", ""), each.get("message", ""))
        for each in status.get("conditions", ())
    )
    text.table("Conditions", Table(("TYPE", "STATUS", "REASON", "MESSAGE"), rows))


def _trouble(shape: Shape) -> str:
    """Why a pod does not serve, in the words of its first container that says so."""
    status = shape["status"]
    for each in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = each["state"].get("waiting") or each["state"].get("terminated") or {}
        if waiting.get("message"):
            return str(waiting["message"])
    return str(status.get("message", ""))


def _events(text: Text, events: Sequence[Shape], now: int) -> None:
    made = event_table(events, now)
    hosts = (each.get("source", {}).get("host", "") for each in events)
    rows = tuple((row[1], row[2], row[0], host, row[4]) for row, host in zip(made.rows, hosts, strict=True))
    text.table("Events", Table(("TYPE", "REASON", "AGE", "FROM", "MESSAGE"), rows, status="TYPE"))
