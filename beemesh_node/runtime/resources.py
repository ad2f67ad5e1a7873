"""CPU and memory of a container as the kernel's control groups see them.

Podman translates to cgroup v1 or v2. The formulas are Kubernetes' (kubelet, `cm/helpers_linux.go` and `qos/policy.go`).
"""

from __future__ import annotations

from typing import Any

from beemesh_node.workloads.pod import Container

CPU_PERIOD_US = 100_000
MIN_QUOTA_US = 1_000
MIN_SHARES = 2
UNASKED_CPU_MILLIS = 100
"""The weight of a container that requests no CPU: what Kubernetes' scheduler counts for it. The kubelet's weight of 2
would starve even the start of the container on a busy machine, and with it every healing."""
MAX_SHARES = 262_144


def resource_limits(container: Container) -> dict[str, Any]:
    """OCI LinuxResources. Swap equals memory, so that a limit on memory cannot be walked around by swapping."""
    limits = container.limits
    shares = (container.requests.cpu_millis or UNASKED_CPU_MILLIS) * 1024 // 1000
    cpu = {"shares": min(max(shares, MIN_SHARES), MAX_SHARES)}
    if limits.cpu_millis:
        cpu["period"] = CPU_PERIOD_US
        cpu["quota"] = max(limits.cpu_millis * CPU_PERIOD_US // 1000, MIN_QUOTA_US)
    resources: dict[str, Any] = {"cpu": cpu}
    if limits.memory_bytes:
        resources["memory"] = {"limit": limits.memory_bytes, "swap": limits.memory_bytes}
    return resources


def oom_score_adj(container: Container, machine_memory: int) -> int:
    """Whom the kernel ends first when the machine runs out: those who asked for least, and any pod before the node.

    Kubernetes gives -997 to what it guarantees; 2 is the least here, because lowering a score needs CAP_SYS_RESOURCE
    and the daemon (score 0) must outlive every pod.
    """
    if not machine_memory:
        return 1000
    return min(max(1000 - 1000 * container.requests.memory_bytes // machine_memory, 2), 1000)
