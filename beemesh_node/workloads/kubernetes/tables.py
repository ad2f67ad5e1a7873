"""The tables that kubectl makes of objects (k8s.io/kubernetes/pkg/printers/internalversion), as rows of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from beemesh_node.workloads.errors import Problems
from beemesh_node.workloads.kubernetes.shapes import Shape, find_condition
from beemesh_node.workloads.kubernetes.times import age, human_duration, milliseconds
from beemesh_node.workloads.selectors import format_selector, label_selector
from beemesh_node.workloads.values import Json

_NONE = "<none>"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under titles; columns from `narrow` on are for `-o wide` alone."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = field(default=())
    narrow: int | None = None


def _table(
    objects: Iterable[Shape],
    titles: str,
    wide: str,
    row: Callable[[Shape], Sequence[str]],
    namespaces: bool,
) -> Table:
    first = ("NAMESPACE",) if namespaces else ()
    rows = [(*((each["metadata"].get("namespace", ""),) if namespaces else ()), *row(each)) for each in objects]
    shown = (*first, *titles.split("|"))
    return Table((*shown, *wide.split("|")) if wide else shown, tuple(rows), len(shown) if wide else None)


def deployment_table(objects: Iterable[Shape], now: int, *, namespaces: bool = False) -> Table:
    """`kubectl get deployments`; with a first column NAMESPACE for all namespaces. `now` in milliseconds."""

    def row(shape: Shape) -> Sequence[str]:
        status, containers = shape["status"], shape["spec"]["template"]["spec"]["containers"]
        selector = label_selector(shape["spec"]["selector"], "", Problems())
        return (
            shape["metadata"]["name"],
            f"{status.get('readyReplicas', 0)}/{shape['spec']['replicas']}",
            str(status.get("updatedReplicas", 0)),
            str(status.get("availableReplicas", 0)),
            age(shape["metadata"].get("creationTimestamp"), now),
            ",".join(each["name"] for each in containers),
            ",".join(each["image"] for each in containers),
            format_selector(selector),
        )

    return _table(objects, "NAME|READY|UP-TO-DATE|AVAILABLE|AGE", "CONTAINERS|IMAGES|SELECTOR", row, namespaces)


def stateful_set_table(objects: Iterable[Shape], now: int, *, namespaces: bool = False) -> Table:
    """`kubectl get statefulsets`."""

    def row(shape: Shape) -> Sequence[str]:
        containers = shape["spec"]["template"]["spec"]["containers"]
        return (
            shape["metadata"]["name"],
            f"{shape['status'].get('readyReplicas', 0)}/{shape['spec']['replicas']}",
            age(shape["metadata"].get("creationTimestamp"), now),
            ",".join(each["name"] for each in containers),
            ",".join(each["image"] for each in containers),
        )

    return _table(objects, "NAME|READY|AGE", "CONTAINERS|IMAGES", row, namespaces)


def pod_table(objects: Iterable[Shape], now: int, *, namespaces: bool = False) -> Table:
    """`kubectl get pods`."""

    def row(shape: Shape) -> Sequence[str]:
        status = shape["status"]
        containers = status.get("containerStatuses", ())
        total = len(shape["spec"]["containers"])
        return (
            shape["metadata"]["name"],
            f"{sum(each['ready'] for each in containers)}/{total}",
            pod_status(shape),
            _restarts((*status.get("initContainerStatuses", ()), *containers), now),
            age(shape["metadata"].get("creationTimestamp"), now),
            status.get("podIP", _NONE),
            shape["spec"].get("nodeName") or _NONE,
        )

    return _table(objects, "NAME|READY|STATUS|RESTARTS|AGE", "IP|NODE", row, namespaces)


def node_table(objects: Iterable[Shape], now: int) -> Table:
    """`kubectl get nodes`."""

    def row(shape: Shape) -> Sequence[str]:
        status, labels = shape["status"], shape["metadata"].get("labels", {})
        ready = find_condition(shape, "Ready").get("status") == "True"
        words = ["Ready" if ready else "NotReady"]
        if shape["spec"].get("unschedulable"):
            words.append("SchedulingDisabled")
        prefix = "node-role.kubernetes.io/"
        roles = sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix) and key != prefix)
        info = status.get("nodeInfo", {})
        addresses: dict[str, str] = {}
        for each in status.get("addresses", ()):
            addresses.setdefault(each["type"], each["address"])
        return (
            shape["metadata"]["name"],
            ",".join(words),
            ",".join(roles) or _NONE,
            age(shape["metadata"].get("creationTimestamp"), now),
            info.get("kubeletVersion") or "<unknown>",
            addresses.get("InternalIP", _NONE),
            addresses.get("ExternalIP", _NONE),
            info.get("osImage") or "<unknown>",
            info.get("kernelVersion") or "<unknown>",
            info.get("containerRuntimeVersion") or "<unknown>",
        )

    wide = "INTERNAL-IP|EXTERNAL-IP|OS-IMAGE|KERNEL-VERSION|CONTAINER-RUNTIME"
    return _table(objects, "NAME|STATUS|ROLES|AGE|VERSION", wide, row, namespaces=False)


def event_table(objects: Iterable[Shape], now: int, *, namespaces: bool = False) -> Table:
    """`kubectl get events`."""

    def row(shape: Shape) -> Sequence[str]:
        about = shape["involvedObject"]
        return (
            age(shape["lastTimestamp"], now),
            shape["type"],
            shape["reason"],
            f"{about.get('kind', '').lower()}/{about.get('name', '')}",
            shape["message"].strip(),
            f"{shape['source'].get('component', '')}, {shape['source'].get('host', '')}".rstrip(", "),
            age(shape["firstTimestamp"], now),
            str(shape["count"]),
            shape["metadata"]["name"],
        )

    return _table(objects, "LAST SEEN|TYPE|REASON|OBJECT|MESSAGE", "SOURCE|FIRST SEEN|COUNT|NAME", row, namespaces)


def pod_status(shape: Shape) -> str:
    """The word of kubectl's STATUS column: the phase, or what keeps the pod from it."""
    status = shape["status"]
    init = _init_status(status.get("initContainerStatuses", ()))
    if init:
        return init
    word: str = status.get("reason") or status["phase"]
    running = False
    for each in reversed(status.get("containerStatuses", ())):
        state = each["state"]
        if state.get("waiting", {}).get("reason"):
            word = state["waiting"]["reason"]
        elif "terminated" in state:
            word = state["terminated"].get("reason") or f"ExitCode:{state['terminated']['exitCode']}"
        elif "running" in state and each["ready"]:
            running = True
    if word == "Completed" and running:
        return "Running" if find_condition(shape, "Ready").get("status") == "True" else "NotReady"
    return word


def _init_status(statuses: Sequence[Mapping[str, Json]]) -> str:
    for number, each in enumerate(statuses):
        state = each["state"]
        if "terminated" in state:
            ended = state["terminated"]
            if ended["exitCode"] == 0:
                continue
            return f"Init:{ended.get('reason') or 'ExitCode:' + str(ended['exitCode'])}"
        reason = state.get("waiting", {}).get("reason", "")
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{number}/{len(statuses)}"
    return ""


def _restarts(statuses: Sequence[Mapping[str, Json]], now: int) -> str:
    count = sum(each["restartCount"] for each in statuses)
    ends = [each["lastState"].get("terminated", {}).get("finishedAt") for each in statuses]
    last = max((milliseconds(end) for end in ends if end), default=0)
    return f"{count} ({human_duration((now - last) / 1000)} ago)" if count and last else str(count)
