"""What the runtime is told at its start, and what it tells about the machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MAX_CONCURRENT_STARTS = 16

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """Where Podman is and where a pod's files go.

    Raises ValueError, naming the field, for what cannot work.
    """

    mesh: str
    """Written on everything that is made; pods of another mesh on the same Podman are never touched."""
    state_dir: Path
    """Disk for what may be written to one: emptyDir and ConfigMap volumes."""
    secret_dir: Path
    """Must lie on a tmpfs (usually below /run) and outlive the daemon: Secrets, and the specs for adoption.

    Under a service manager: made before the daemon starts, and not removed when it stops.
    """
    node_name: str
    """What `spec.nodeName` means to a pod."""
    host_ip: Callable[[], str] = str
    """Tells what `status.hostIP` means to a pod that starts now, and what the pod IP of a hostNetwork pod is."""
    socket: Path = Path("/run/podman/podman.sock")
    name_prefix: str = "beemesh-"
    network: str = "beemesh"
    network_interface: str = "beemesh0"
    subnet: str = ""
    """IPv4 CIDR of the pods' network; empty lets Podman choose a free one. Used only when the network is created."""
    protected_ports: tuple[int, ...] = (7400,)
    """Ports of the machine plane that no pod on the bridge may reach, on this machine or another."""
    concurrent_starts: int = 2
    """How many pods start at a time (1 to 16). Podman serialises on locks: on two cores 2 is faster than 8."""

    def __post_init__(self) -> None:
        for field in ("mesh", "node_name", "network"):
            if not _NAME.fullmatch(getattr(self, field)):
                raise ValueError(f"{field} {getattr(self, field)!r}: use up to 63 letters, digits, '.', '_' and '-'")
        if not _NAME.fullmatch(self.name_prefix + "x"):
            raise ValueError(f"name_prefix {self.name_prefix!r}: use up to 62 letters, digits, '.', '_' and '-'")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,14}", self.network_interface):
            raise ValueError(f"network_interface {self.network_interface!r}: use up to 15 letters, digits and '-'")
        if not 1 <= self.concurrent_starts <= MAX_CONCURRENT_STARTS:
            raise ValueError(f"concurrent_starts {self.concurrent_starts}: use 1 to {MAX_CONCURRENT_STARTS}")
        if any(not 0 < port < 65536 for port in self.protected_ports):
            raise ValueError(f"protected_ports {self.protected_ports}: use 1 to 65535")


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """The machine as its Podman sees it."""

    version: str
    cpus: int
    memory_bytes: int
    architecture: str
    """As Go and Kubernetes name it: amd64, arm64, arm, riscv64 …"""
    os: str
    kernel: str
    cgroup_version: int
    rootless: bool
    oci_runtime: str
    graph_root: str
    guards: bool = False
    """Whether the kernel ends a leased pod in time here (see `guard`); without it none is started."""
    guards_reason: str = ""
    """Why not, in a sentence."""
