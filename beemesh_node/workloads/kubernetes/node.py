"""A machine of the mesh, as v1 Node."""

from __future__ import annotations

import ipaddress

from beemesh_node.protocol.certificate import Certificate
from beemesh_node.protocol.messages import MachineEntry, Presence
from beemesh_node.protocol.root import CLOCK_ALLOWANCE_MS
from beemesh_node.workloads.kubernetes.shapes import Shape, condition, filled
from beemesh_node.workloads.kubernetes.times import human_duration, timestamp
from beemesh_node.workloads.names import GUARDIAN_LABEL
from beemesh_node.workloads.quantity import format_bytes, format_cpu

_MISSED = 3
"""Presences that may be missed before nothing is known of a machine."""


def node(entry: MachineEntry, certificate: Certificate, now: int) -> Shape:
    """The Node for a member with a checked `certificate`. `now` is mesh time in milliseconds."""
    presence = entry.presence
    labels = dict(certificate.labels)
    taints = []
    if presence is not None:
        known = {"kubernetes.io/arch": presence.architecture, "kubernetes.io/os": presence.operating_system}
        own = {key: value for key, value in presence.labels.items() if key != GUARDIAN_LABEL}
        labels = known | own | {"kubernetes.io/hostname": certificate.name} | labels
        taints = [filled(key=each.key, value=each.value, effect=each.effect) for each in presence.taints]
        if presence.unschedulable:
            taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    if certificate.guardian:
        labels[GUARDIAN_LABEL] = ""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": filled(
            name=certificate.name,
            uid=entry.machine,
            creationTimestamp=timestamp(certificate.not_before + CLOCK_ALLOWANCE_MS),
            labels=dict(sorted(labels.items())),
        ),
        "spec": filled(
            providerID=f"beemesh://{entry.machine}",
            taints=taints,
            unschedulable=True if presence is not None and presence.unschedulable else None,
        ),
        "status": _status(entry, certificate, now),
    }


def _status(entry: MachineEntry, certificate: Certificate, now: int) -> Shape:
    heard = now - entry.age_ms
    presence = entry.presence
    status: Shape = {"conditions": [_ready(entry, heard)], "addresses": _addresses(presence, certificate.name)}
    if presence is None:
        return status
    # What is not allocatable is never reported: the two are shown equal.
    resources = {"cpu": format_cpu(presence.cpu_allocatable), "memory": format_bytes(presence.memory_allocatable)}
    return status | {
        "allocatable": dict(resources),
        "capacity": resources,
        # Kubernetes requires fields here that a mesh knows nothing of; they are empty.
        "nodeInfo": {
            "architecture": presence.architecture,
            "bootID": "",
            "containerRuntimeVersion": f"podman://{presence.runtime_version}",
            "kernelVersion": presence.kernel,
            "kubeProxyVersion": "",
            "kubeletVersion": presence.node_version,
            "machineID": entry.machine,
            "operatingSystem": presence.operating_system,
            "osImage": presence.operating_system,
            "systemUUID": "",
        },
    }


def _ready(entry: MachineEntry, heard: int) -> Shape:
    presence = entry.presence
    if presence is None:
        return condition("Ready", None, "NodeStatusUnknown", "The machine has not been heard of yet.", 0)
    if entry.age_ms > _MISSED * presence.period_ms:
        message = f"The machine was last heard {human_duration(entry.age_ms / 1000)} ago."
        return condition("Ready", None, "NodeStatusUnknown", message, heard)
    if not presence.ready:
        return condition("Ready", False, "MachineNotReady", presence.reason, presence.started_at)
    return condition("Ready", True, "MachineReady", "beemeshd is running and Podman answers.", presence.started_at)


def _addresses(presence: Presence | None, name: str) -> list[Shape]:
    """The IP addresses at which the machine can be dialled, then its name."""
    found: dict[str, str] = {}
    for multiaddr in presence.addresses if presence is not None else ():
        protocol, _, rest = multiaddr.removeprefix("/").partition("/")
        if protocol not in ("ip4", "ip6"):
            continue
        try:
            address = ipaddress.ip_address(rest.partition("/")[0])
        except ValueError:
            continue
        if not address.is_loopback:
            found.setdefault(str(address), "ExternalIP" if address.is_global else "InternalIP")
    return [{"type": kind, "address": address} for address, kind in found.items()] + [
        {"type": "Hostname", "address": name}
    ]
