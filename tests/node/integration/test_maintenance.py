"""A machine is taken out of use and put back: it keeps, gives away or refuses work as it was told, over restarts."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import Any

import pytest

from tests.node.integration.grove import Grove, machines_of, roaming
from tests.node.integration.machine import Machine
from tests.node.integration.mesh import Operator
from tests.node.integration.waiting import until

pytestmark = pytest.mark.long


@pytest.fixture
def back_to_use(grove: Grove) -> Any:
    yield
    grove.admin.run("uncordon", "oak", "elm", "fir")


def _node(admin: Operator, name: str) -> dict[str, Any]:
    node: dict[str, Any] = next(each for each in admin.json("get", "machines")["items"] if _name(each) == name)
    return node


def _name(shape: dict[str, Any]) -> str:
    return str(shape["metadata"]["name"])


def _occupied(grove: Grove, name: str) -> Machine:
    """A machine that has replicas of the workload."""
    pods = grove.pods(grove.admin, "-l", f"app={name}")
    return next(machine for machine in grove.machines if machine.name in machines_of(pods))


@pytest.mark.usefixtures("back_to_use")
def test_a_cordoned_machine_takes_nothing_until_it_is_uncordoned(grove: Grove) -> None:
    admin = grove.admin
    assert admin.run("cordon", "oak", "fir").out == "node/oak cordoned\nnode/fir cordoned\n"
    grove.oak.restart(signal.SIGKILL)
    grove.settle()
    until(lambda: admin.run("cordon", "oak").out == "node/oak already cordoned\n", "its presence says so")
    oak = _node(admin, "oak")
    assert oak["spec"]["unschedulable"] is True
    assert {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"} in oak["spec"]["taints"]

    admin.apply(roaming("aside", 3))
    assert machines_of(grove.pods(admin, "-l", "app=aside")) == ["elm"] * 3
    admin.run("cordon", "elm")
    admin.apply(roaming("aside", 4), wait=False)
    described = until(
        lambda: text if "3 are cordoned" in (text := admin.run("describe", "deployment", "aside").out) else "",
        "it is said why the fourth waits",
    )
    assert "0/3 machines can take it" in described
    assert admin.run("uncordon", "oak").out == "node/oak uncordoned\n"
    until(lambda: machines_of(grove.pods(admin, "-l", "app=aside")) == ["elm"] * 3 + ["oak"], "oak takes the fourth")
    admin.delete("deployment/aside")


@pytest.mark.usefixtures("back_to_use")
def test_a_drain_moves_every_replica_and_the_workload_serves_on(grove: Grove) -> None:
    admin = grove.admin
    admin.apply(roaming("moving", 3))
    drained = _occupied(grove, "moving")
    here = {pod["metadata"]["name"] for pod in _pods_on(grove, drained, "moving")}
    dry = admin.run("drain", drained.name, "--dry-run").out
    assert all(f"pod default/{name} would be moved" in dry for name in here)

    serving, ran = _serving_while(grove, admin.command("drain", drained.name, "--timeout", "40s"), "moving")
    assert min(serving) >= 3, f"never fewer than declared were to serve, but ready were {serving}"
    assert ran.splitlines()[0] == f"node/{drained.name} cordoned"
    assert ran.splitlines()[-1] == f"node/{drained.name} drained"
    for name in here:
        assert f"evicting pod default/{name}" in ran
        assert f"pod/{name} evicted" in ran
    assert drained.containers() == {}
    assert drained.name not in machines_of(grove.pods(admin, "-l", "app=moving"))
    assert len(grove.containers()) == 3
    again = admin.run("drain", drained.name).out
    assert again == f"node/{drained.name} already cordoned\nnode/{drained.name} drained\n"
    admin.delete("deployment/moving")


@pytest.mark.usefixtures("back_to_use")
def test_what_cannot_be_moved_stays_is_told_and_ends_by_force(grove: Grove) -> None:
    admin = grove.admin
    apart = {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "apart"}}, "topologyKey": "kubernetes.io/hostname"}
    ]}  # fmt: skip
    admin.apply(roaming("apart", 3, pod={"affinity": {"podAntiAffinity": apart}}))
    before = grove.containers()
    ran = admin.run("drain", "elm", "--timeout", "4s", code=4)
    assert "node/elm: after 4 s not drained: default/apart-" in ran.err
    assert "1 of 3 replicas cannot be moved: 0/3 machines can take it" in ran.err
    assert grove.containers() == before, "it goes on serving"

    grove.elm.restart(signal.SIGKILL)
    grove.settle()
    began = time.monotonic()
    forced = admin.run("drain", "elm", "--force", "--grace-period", "1", "--timeout", "40s")
    assert time.monotonic() - began < 30, "it does not wait for the end of the time when nothing gets on"
    assert "ending what could not be moved: default/apart-" in forced.err
    assert "node/elm drained" in forced.out
    assert grove.elm.containers() == {}
    admin.run("uncordon", "elm")
    until(lambda: len(grove.elm.containers()) == 1, "the replica is back where there is room for it")
    admin.delete("deployment/apart")


@pytest.mark.usefixtures("back_to_use")
def test_what_is_important_takes_the_room_of_what_is_less_so_and_that_runs_elsewhere(grove: Grove) -> None:
    admin = grove.admin
    admin.run("cordon", "oak", "elm")
    half = {"requests": {"memory": "100Mi"}}
    admin.apply(roaming("modest", 2, resources=half))
    assert machines_of(grove.pods(admin, "-l", "app=modest")) == ["fir", "fir"]
    admin.run("uncordon", "oak", "elm")
    here = {"nodeSelector": {"kubernetes.io/hostname": "fir"}}

    writer = grove.operator("writer", ["default"], ["get", "apply"])
    writer.enter_by(*grove.machines)
    important = roaming("important", 1, pod={**here, "priority": 1000}, resources=half)
    assert "uses priority, for which writer needs the verb priority" in writer.apply(important, code=3).err
    admin.apply(important)
    assert machines_of(grove.pods(admin, "-l", "app=important")) == ["fir"]
    others = until(
        lambda: found if len(found := machines_of(grove.pods(admin, "-l", "app=modest"))) == 2 else None,
        "the evicted is placed anew",
    )
    assert others.count("fir") == 1
    described = admin.run("describe", "deployment", "modest").out
    assert "Preempted" in described
    assert "default/important of priority 1000 takes the room of priority 0" in described
    admin.delete("deployment/important", "deployment/modest")


@pytest.mark.usefixtures("back_to_use")
def test_a_crowded_machine_gives_replicas_to_an_empty_one_when_asked(grove: Grove) -> None:
    admin = grove.admin
    admin.run("cordon", "elm", "fir")
    admin.apply(roaming("crowd", 4))
    assert machines_of(grove.pods(admin, "-l", "app=crowd")) == ["oak"] * 4
    admin.run("uncordon", "elm")
    until(lambda: not _node(admin, "elm")["spec"].get("unschedulable"), "its presence says so")
    planned = admin.json("rebalance", "deployment/crowd", "--dry-run")["moves"]
    assert [(move["from"], move["to"]) for move in planned] == [("oak", "elm")] * 2
    moved = admin.run("rebalance", "--all", "--timeout", "40s").out
    assert moved.count("from oak to elm") == 2
    assert machines_of(grove.pods(admin, "-l", "app=crowd")) == ["elm", "elm", "oak", "oak"]
    admin.delete("deployment/crowd")


def test_maintenance_takes_its_verbs_and_a_machine_that_exists(grove: Grove) -> None:
    viewer = grove.operator("viewer", ["*"], ["get", "cordon"])
    viewer.enter_by(*grove.machines)
    refused = viewer.run("drain", "oak", code=3).err
    assert "viewer may not drain machines" in refused
    local = grove.operator("local", ["default"], ["*"])
    local.enter_by(*grove.machines)
    assert "local may not cordon machines (that takes every namespace, '*')" in local.run("cordon", "oak", code=3).err
    assert "machine yew not found: see `beectl get machines`" in viewer.run("cordon", "yew", code=1).err
    assert "names no machine" in viewer.run("cordon", "pod/x", code=2).err
    assert not _node(grove.admin, "oak")["spec"].get("unschedulable")


def _pods_on(grove: Grove, machine: Machine, name: str) -> list[dict[str, Any]]:
    return [pod for pod in grove.pods(grove.admin, "-l", f"app={name}") if pod["spec"]["nodeName"] == machine.name]


def _serving_while(grove: Grove, command: list[str], name: str) -> tuple[list[int], str]:
    """Run a command; how many replicas were ready each time that somebody looked meanwhile, and what it said."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    ready = []
    while process.poll() is None:
        statuses = [pod["status"].get("containerStatuses", ()) for pod in grove.pods(grove.admin, "-l", f"app={name}")]
        ready.append(sum(all(each["ready"] for each in found) and bool(found) for found in statuses))
    assert process.stdout is not None
    out = process.stdout.read()
    assert process.returncode == 0, out
    return ready, out
