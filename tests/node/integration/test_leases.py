"""What must never run twice, on real daemons: a StatefulSet on three machines, and a machine that is cut off."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beemesh_node.healing.leases.times import TTL
from tests.node.integration.machine import Machine
from tests.node.integration.manifests import deployment
from tests.node.integration.mesh import Mesh
from tests.node.integration.segment import Segment
from tests.node.integration.waiting import until

STAMPING = "trap 'exit 0' TERM; while :; do cat /proc/uptime > /data/stamp; usleep 20000; done"
"""Writes when it was alive last."""


class Reef(Mesh):
    """Three machines of which each may vote."""


@pytest.fixture(scope="module", name="reef")
def reef_fixture(segment: Segment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reef]:
    with Reef(tmp_path_factory.mktemp("reef"), segment, "reef") as mesh:
        for name in ("crab", "squid", "whale"):
            mesh.add(name)
        for machine in mesh.machines:
            known = [other.multiaddr for other in mesh.machines if other is not machine]
            machine.configure(bootstrap=known)
            machine.start_podman()
            machine.start()
        mesh.settle()
        mesh.admin.enter_by(*mesh.machines)
        yield mesh


def stateful_set(name: str, replicas: int, **spec: Any) -> dict[str, Any]:
    manifest = deployment(name, replicas, script=STAMPING, volumeMounts=[{"name": "data", "mountPath": "/data"}])
    manifest["kind"] = "StatefulSet"
    manifest["spec"] |= {"serviceName": name, **spec}
    return manifest


def on_host(path: Path) -> dict[str, Any]:
    return {"volumes": [{"name": "data", "hostPath": {"path": str(path), "type": "DirectoryOrCreate"}}]}


def running(mesh: Mesh, name: str) -> dict[str, list[Machine]]:
    """On which machines a container of each pod of a StatefulSet runs, whatever their daemons say."""
    found: dict[str, list[Machine]] = {}
    for machine in mesh.machines:
        assert machine.podman is not None
        form = '{{index .Labels "io.beemesh.pod-name"}}'
        for pod in machine.podman.run("ps", "--format", form).splitlines():
            if pod.startswith(f"{name}-"):
                found.setdefault(pod, []).append(machine)
    return found


def test_a_machine_that_is_cut_off_ends_its_slot_before_another_begins(reef: Reef, tmp_path: Path) -> None:
    admin = reef.admin
    manifest = stateful_set("db", 2)
    manifest["spec"]["template"]["spec"] |= on_host(tmp_path / "data")
    assert "statefulset.apps/db created" in admin.apply(manifest).out
    pods = {pod["metadata"]["name"]: pod for pod in reef.pods(admin)}
    assert sorted(pods) == ["db-0", "db-1"]
    where = {name: pod["spec"]["nodeName"] for name, pod in pods.items()}
    cut = next(machine for machine in reef.machines if machine.name == where["db-0"])
    others = [machine for machine in reef.machines if machine is not cut]
    admin.enter_by(*others)

    began = time.monotonic()
    reef.segment.plugged(cut.name, False)
    until(lambda: not any(cut in at for at in running(reef, "db").values()), "the machine that is cut off has none")
    ended = time.monotonic() - began
    again = until(lambda: [m for m in running(reef, "db").get("db-0", []) if m is not cut], "db-0 runs elsewhere")
    moved = time.monotonic() - began
    print(json.dumps({"ended after s": round(ended, 2), "running elsewhere after s": round(moved, 2)}))
    assert ended < moved
    assert len(again) == 1
    assert moved < 2.5 * TTL
    reef.segment.plugged(cut.name, True)
    reef.settle()
    admin.delete("statefulset/db")
