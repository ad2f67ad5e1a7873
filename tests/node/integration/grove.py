"""Three machines for workloads, of which one is small and tainted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.node.integration.dying import containers
from tests.node.integration.machine import Machine
from tests.node.integration.manifests import IDLE, deployment
from tests.node.integration.mesh import Mesh
from tests.node.integration.segment import Segment

SMALL = 256 << 20
"""Bytes of memory that fir offers."""
TAINT = {"key": "size", "value": "small", "effect": "NoSchedule"}
"""Of fir."""
METRICS = "127.0.0.1:9460"
"""Where each machine, in its own network namespace, tells Prometheus."""


class Grove(Mesh):
    """Machines oak, elm and fir; fir offers little memory and wants to be tolerated."""

    oak: Machine
    elm: Machine
    fir: Machine

    def containers(self) -> dict[str, tuple[str, str]]:
        """What runs on all machines, as `Machine.containers` has it."""
        return {name: found for machine in self.machines for name, found in machine.containers().items()}

    def running(self, workload: str) -> list[str]:
        """Ids of a workload's containers that run, on whichever machine."""
        return [identity for machine in self.machines for identity in containers(machine, workload)]

    def watch(self) -> None:
        """Wait until every machine hears the beats of all others."""
        for machine in self.machines:
            machine.until(
                lambda status: status["detection"]["heard"] == status["detection"]["watched"] == len(self.machines) - 1,
                "hears all others",
            )


@contextmanager
def grove(directory: Path, segment: Segment) -> Iterator[Grove]:
    with Grove(directory, segment, "grove") as mesh:
        mesh.oak, mesh.elm, mesh.fir = (mesh.add(name) for name in ("oak", "elm", "fir"))
        for machine in mesh.machines:
            # One lives on when another is killed: everyone knows everyone.
            known = [other.multiaddr for other in mesh.machines if other is not machine]
            narrow = {"reserve": {"memory": str(_memory() - SMALL)}, "taints": [TAINT]} if machine is mesh.fir else {}
            machine.configure(bootstrap=known, metrics=METRICS, **narrow)
            machine.start_podman()
            machine.start()
        mesh.settle()
        mesh.admin.enter_by(*mesh.machines)
        yield mesh


def roaming(name: str, replicas: int = 1, *, script: str = IDLE, pod: Any = None, **container: Any) -> dict[str, Any]:
    """A Deployment that may run on each of the three; `pod` has further fields of the pod's spec."""
    manifest = deployment(name, replicas, script=script, **container)
    tolerations = [{"key": TAINT["key"], "operator": "Exists"}]
    manifest["spec"]["template"]["spec"].update({"tolerations": tolerations, **(pod or {})})
    return manifest


def machines_of(pods: Iterable[dict[str, Any]]) -> list[str]:
    """Names of the pods' machines, sorted."""
    return sorted(pod["spec"]["nodeName"] for pod in pods)


def _memory() -> int:
    text = Path("/proc/meminfo").read_text()
    return int(text.split("MemTotal:")[1].split()[0]) * 1024
