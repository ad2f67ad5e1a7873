"""What must never run twice, on real daemons: a StatefulSet on three machines, and a machine that is cut off."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from beemesh_node.healing.leases.times import TTL
from tests.node.integration.dying import containers, hung, started_ns, time_ns
from tests.node.integration.machine import Machine
from tests.node.integration.manifests import claims, deployment, stateful_set
from tests.node.integration.mesh import Mesh
from tests.node.integration.segment import Segment
from tests.node.integration.waiting import DEADLINE, until


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


def scratch() -> dict[str, Any]:
    return {"volumes": [{"name": "data", "emptyDir": {}}]}


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


def _programs(machine: Machine, workload: str) -> list[tuple[int, str]]:
    """The programs of a workload on a machine, and the uids of their pods."""
    assert machine.podman is not None
    form = '{{.State.Pid}} {{index .Config.Labels "io.beemesh.pod-uid"}}'
    shown = [machine.podman.run("inspect", "--format", form, each).split() for each in containers(machine, workload)]
    return [(int(pid), uid) for pid, uid in shown]


def test_a_machine_that_is_cut_off_ends_its_slot_before_another_begins(reef: Reef) -> None:
    admin = reef.admin
    manifest = stateful_set("db", 2)
    manifest["spec"]["template"]["spec"] |= scratch()
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


def test_a_machine_on_which_all_hangs_ends_its_slot_before_another_begins(reef: Reef) -> None:
    """Its daemon, Podman, the monitor and the guard are stopped and never woken: the kernel alone can end the pod."""
    admin = reef.admin.enter_by(*reef.machines)
    manifest = deployment("solo", 1)
    manifest["spec"]["strategy"] = {"type": "Recreate"}
    admin.apply(manifest)
    (pod,) = reef.pods(admin)
    holder = next(machine for machine in reef.machines if machine.name == pod["spec"]["nodeName"])
    others = [machine for machine in reef.machines if machine is not holder]
    admin.enter_by(*others)
    ((program, uid),) = _programs(holder, "solo")
    exit_of = os.pidfd_open(program)
    with hung(holder, [uid]) as moment:
        assert select.select([exit_of], [], [], DEADLINE)[0], "nothing has ended the pod"
        ended = time_ns()
        started = until(
            lambda: next((at for m in others if (at := started_ns(m, moment, "solo")) is not None), None),
            "runs elsewhere",
        )
        print(json.dumps({"ended after s": (ended - moment) / 1e9, "elsewhere after s": (started - moment) / 1e9}))
        assert ended < started
        assert started - moment < 2.5 * TTL * 1e9
    os.close(exit_of)
    reef.settle()
    until(lambda: [containers(machine, "solo") for machine in (holder, *others)].count({}) == 2, "one is left")
    admin.delete("deployment/solo")


def test_a_slot_keeps_its_volume_and_shows_its_lease(reef: Reef) -> None:
    admin = reef.admin.enter_by(*reef.machines)
    manifest = stateful_set("files", 2, volumeClaimTemplates=claims())
    admin.apply(manifest)
    where = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in reef.pods(admin)}
    shown = admin.json("lease", "statefulset/files")
    assert {f"files-{slot['slot']}": slot["holder"] for slot in shown["slots"]} == where
    assert {f"files-{slot['slot']}": slot["volumesOn"] for slot in shown["slots"]} == where
    assert shown["majority"] == 2
    assert sorted(voter["name"] for voter in shown["voters"]) == ["crab", "squid", "whale"]
    assert all(0 < slot["endsInSeconds"] <= 1.02 * TTL for slot in shown["slots"])
    table = admin.run("lease", "statefulset/files").out
    assert table.startswith("Voters: ")
    assert "VOLUMES ON" in table

    admin.run("rollout", "restart", "statefulset/files", "--wait", "--timeout", "60s")
    assert {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in reef.pods(admin)} == where
    for name in where:
        assert admin.run("exec", name, "--", "cat", "/data/lives").out.split() == ["life", "life"]
    terms = {slot["slot"]: slot["term"] for slot in admin.json("lease", "statefulset/files")["slots"]}
    for slot, term in terms.items():
        assert f"term {term}" in admin.run("logs", f"files-{slot}").out
    assert all(now > before["term"] for now, before in zip(terms.values(), shown["slots"], strict=True))
    assert "Volumes" in admin.run("describe", "statefulset/files").out
    admin.delete("statefulset/files")


def test_an_announced_restart_of_a_daemon_takes_longer_than_a_lease(reef: Reef) -> None:
    admin = reef.admin.enter_by(*reef.machines)
    manifest = deployment("single", 1)
    manifest["spec"]["strategy"] = {"type": "Recreate"}
    admin.apply(manifest)
    (pod,) = reef.pods(admin)
    holder = next(machine for machine in reef.machines if machine.name == pod["spec"]["nodeName"])
    before = holder.containers()
    holder.stop()
    stopped = time.monotonic()
    until(lambda: time.monotonic() - stopped > 1.3 * TTL, "a lease would have ended")
    assert holder.containers() == before
    holder.start()
    reef.settle()
    until(lambda: admin.json("lease", "deployment/single")["slots"][0]["holder"] == holder.name, "it renews its lease")
    assert holder.containers() == before
    admin.delete("deployment/single")


def test_an_operator_goes_on_when_most_voters_are_gone_for_ever(reef: Reef) -> None:
    """The last test of this mesh: two of its machines do not come back."""
    admin = reef.admin.enter_by(*reef.machines)
    manifest = deployment("last", 1)
    manifest["spec"]["strategy"] = {"type": "Recreate"}
    admin.apply(manifest)
    (pod,) = reef.pods(admin)
    left = next(machine for machine in reef.machines if machine.name != pod["spec"]["nodeName"])
    dead = [machine for machine in reef.machines if machine is not left]
    words = [word for machine in dead for word in ("--dead", machine.name)]
    assert "is not dead" in admin.run("lease", "break", "deployment/last", *words, "--confirm", "last", code=1).err
    for machine in dead:
        machine.stop(signal.SIGKILL)
    admin.enter_by(left)
    left.until(lambda status: status["members"] == [left.name], "knows that it is alone")
    until(lambda: admin.json("lease", "deployment/last")["slots"][0]["holder"] == "", "the lease has ended")
    assert left.containers() == {}, "one voter of three is no majority"

    admin.run("lease", "break", "deployment/last", *words, "--confirm", "last", "--timeout", "40s")
    admin.run("rollout", "status", "deployment/last", "--timeout", "40s")
    (anew,) = [pod for pod in reef.pods(admin) if pod["status"]["phase"] == "Running"]
    assert anew["spec"]["nodeName"] == left.name
    assert [voter["name"] for voter in admin.json("lease", "deployment/last")["voters"]] == [left.name]
    admin.delete("deployment/last")
