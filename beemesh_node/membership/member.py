"""What the decision core knows of one machine: its presence, and what its certificate says that must be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from beemesh_node.membership.labels import Sources, labels_in_force
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Presence, Taint


@dataclass(frozen=True, slots=True)
class Member:
    """A machine of the mesh at one moment. CPU in millicores, memory in bytes."""

    machine: MachineId
    name: str
    labels: Mapping[str, str]
    """The machine's own, overridden by those its certificate carries, with the well-known ones filled in."""
    taints: tuple[Taint, ...]
    unschedulable: bool
    """Cordoned: keeps what it has, takes nothing new."""
    cpu_allocatable: int
    memory_allocatable: int
    cpu_reserved: int
    memory_reserved: int
    host_ports: tuple[int, ...]
    pods: int
    guardian: bool
    """Whether its certificate lets it keep records (default: not on IoT)."""
    ready: bool
    reason: str
    """Why it is not ready, else empty."""
    period: float
    """Seconds until its next presence is due."""
    started_at: int = 0
    """When its daemon started (mesh time, ms): tells a restart."""


def member_of(
    machine: MachineId, name: str, guardian: bool, trusted_labels: Mapping[str, str], presence: Presence
) -> Member:
    """Join what a machine says of itself with what its certificate says of it; of two labels the certificate's wins.

    The architecture and system labels of Kubernetes are filled in where neither has them; the hostname is its name.
    """
    sources = Sources(name, presence.architecture, presence.operating_system, {}, trusted_labels)
    return Member(
        machine=machine,
        name=name,
        labels=labels_in_force(sources, presence.labels),
        taints=presence.taints,
        unschedulable=presence.unschedulable,
        cpu_allocatable=presence.cpu_allocatable,
        memory_allocatable=presence.memory_allocatable,
        cpu_reserved=presence.cpu_reserved,
        memory_reserved=presence.memory_reserved,
        host_ports=presence.host_ports,
        pods=presence.pods,
        guardian=guardian,
        ready=presence.ready,
        reason=presence.reason,
        period=presence.period_ms / 1000,
        started_at=presence.started_at,
    )
