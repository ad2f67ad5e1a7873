# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The members of a mesh as an inventory has them: what `beectl get` shows, as variables and groups."""

from __future__ import annotations

import typing as t

Shape = dict[str, t.Any]

GUARDIAN_LABEL = "node-role.kubernetes.io/guardian"
PREFIX = "beemesh"
"""Of every variable and group that is made here."""

_STATES = {"True": "ready", "False": "not_ready"}


def members(nodes: t.Iterable[Shape], pods: t.Iterable[Shape]) -> dict[str, Shape]:
    """The variables of every member by host name, from v1 Nodes and v1 Pods.

    Machine names are not unique: one that was lost may still be known when another took its name. The one that was
    heard last keeps the name, and the others get the beginning of their id behind it.
    """
    by_name: dict[str, list[Shape]] = {}
    for node in nodes:
        by_name.setdefault(node["metadata"]["name"], []).append(node)
    work = _by_machine(pods)
    found: dict[str, Shape] = {}
    for name, namesakes in sorted(by_name.items()):
        namesakes.sort(key=_preference)
        for number, node in enumerate(namesakes):
            host = name if number == 0 else f"{name}-{node['metadata']['uid'][:8]}"
            # Pods name the machine that they run on by its name only, and who runs pods is heard.
            found[host] = _variables(node, work.get(name, []) if number == 0 else [])
    return found


def groups_of(variables: Shape) -> list[str]:
    """The groups that a member with these variables is in, before they are made safe as names."""
    names = [PREFIX, f"{PREFIX}_{variables['beemesh_state']}"]
    if variables["beemesh_arch"]:
        names.append(f"{PREFIX}_arch_{variables['beemesh_arch']}")
    if variables["beemesh_cordoned"]:
        names.append(f"{PREFIX}_cordoned")
    if variables["beemesh_guardian"]:
        names.append(f"{PREFIX}_guardian")
    for pod in variables["beemesh_pods"]:
        group = f"{PREFIX}_workload_{pod['namespace']}_{pod['workload']}"
        if group not in names:
            names.append(group)
    return names


def address_of(variables: Shape, kind: str) -> str | None:
    """The first address of a kind (`internal`, `external` or `any`) at which the member can be reached."""
    wanted = {"internal": ("InternalIP",), "external": ("ExternalIP",), "any": ("InternalIP", "ExternalIP")}[kind]
    return next((each["address"] for each in variables["beemesh_addresses"] if each["type"] in wanted), None)


def _variables(node: Shape, pods: list[Shape]) -> Shape:
    metadata, spec, status = node["metadata"], node.get("spec", {}), node.get("status", {})
    ready = _ready(node)
    info = status.get("nodeInfo", {})
    allocatable = status.get("allocatable", {})
    labels = metadata.get("labels", {})
    return {
        "beemesh_id": metadata["uid"],
        "beemesh_name": metadata["name"],
        "beemesh_state": _STATES.get(ready.get("status", ""), "unknown"),
        "beemesh_message": ready.get("message", ""),
        "beemesh_cordoned": bool(spec.get("unschedulable", False)),
        "beemesh_guardian": GUARDIAN_LABEL in labels,
        "beemesh_labels": dict(labels),
        "beemesh_taints": list(spec.get("taints", [])),
        "beemesh_addresses": list(status.get("addresses", [])),
        "beemesh_arch": info.get("architecture", ""),
        "beemesh_os": info.get("operatingSystem", ""),
        "beemesh_kernel": info.get("kernelVersion", ""),
        "beemesh_version": info.get("kubeletVersion", ""),
        "beemesh_podman_version": info.get("containerRuntimeVersion", "").rpartition("//")[2],
        "beemesh_cpu": allocatable.get("cpu", ""),
        "beemesh_memory": allocatable.get("memory", ""),
        "beemesh_pods": pods,
    }


def _by_machine(pods: t.Iterable[Shape]) -> dict[str, list[Shape]]:
    """What is known of pods, by the name of the machine that runs them, sorted."""
    found: dict[str, list[Shape]] = {}
    for pod in pods:
        metadata = pod["metadata"]
        owner = next(iter(metadata.get("ownerReferences", [])), {"kind": "Pod", "name": metadata["name"]})
        found.setdefault(pod["spec"].get("nodeName", ""), []).append(
            {
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "kind": owner["kind"],
                "workload": owner["name"],
                "phase": pod["status"].get("phase", "Unknown"),
                "ready": _condition(pod, "Ready").get("status") == "True",
                "labels": dict(metadata.get("labels", {})),
            }
        )
    for each in found.values():
        each.sort(key=lambda pod: (pod["namespace"], pod["name"]))
    return found


def _preference(node: Shape) -> tuple[int, str]:
    """Ready before not ready before not heard; then the id, so that the same name always means the same machine."""
    order = {"True": 0, "False": 1}
    return (order.get(_ready(node).get("status", ""), 2), node["metadata"]["uid"])


def _ready(node: Shape) -> Shape:
    return _condition(node, "Ready")


def _condition(shape: Shape, kind: str) -> Shape:
    return next((each for each in shape.get("status", {}).get("conditions", []) if each["type"] == kind), {})
