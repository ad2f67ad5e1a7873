"""Machines tell everybody, under the epoch, that they are there, leave, or have seen another one die."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Taint:
    """v1.Taint: keeps pods away that do not tolerate it. `effect` is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


@dataclass(frozen=True, slots=True)
class Presence:
    """A machine says that it is there and what it has. Sent at a rate that falls as the mesh grows."""

    statement: bytes
    """The session statement object: session id and KEM key, by which others seal to this machine."""
    addresses: tuple[str, ...]
    """Multiaddrs at which it can be dialled."""
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    unschedulable: bool
    """Cordoned: keeps what it has, takes nothing new."""
    cpu_allocatable: int
    memory_allocatable: int
    cpu_reserved: int
    memory_reserved: int
    host_ports: tuple[int, ...]
    """Ports of the machine that pods already hold."""
    pods: int
    architecture: str
    operating_system: str
    kernel: str
    runtime_version: str
    node_version: str
    started_at: int
    """When this daemon started."""
    sequence: int
    """Grows with every presence of one session; the greatest is the newest."""
    period_ms: int
    """When the next one is due; three missed mean that nothing is known of the machine."""
    ready: bool
    reason: str
    """Why it is not ready ("Podman does not answer: …"), else empty."""
    incarnation: int = 0
    """How often this daemon had to contradict that it is dead (SWIM): a death notice counts for one incarnation."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """A machine stops in order, and says so, so that nobody suspects it dead."""

    restarting: bool
    """True for a restart: its pods go on running and it will be back."""


@dataclass(frozen=True, slots=True)
class Death:
    """A machine that is held dead, as of which start and incarnation of its daemon, and why."""

    machine: str
    started_at: int
    incarnation: int
    reason: str


@dataclass(frozen=True, slots=True)
class DeathNotice:
    """A watcher says that it holds machines dead. Two watchers must say so for a death to count."""

    deaths: tuple[Death, ...]
