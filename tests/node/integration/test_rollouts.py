"""A change reaches every replica without taking the workload down, stops when it does no good, and can be undone."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

from tests.node.integration.grove import Grove, machines_of, roaming
from tests.node.integration.mesh import Operator
from tests.node.integration.waiting import DEADLINE, until


def test_a_change_rolls_out_and_back_while_the_workload_serves(grove: Grove) -> None:
    admin = grove.admin
    first = _rolling("first")
    assert "deployment.apps/rolling created" in admin.apply(first).out
    before = grove.containers()
    assert len(before) == 3

    assert "deployment.apps/rolling unchanged" in admin.apply(first).out
    assert grove.containers() == before

    ready = _ready_while(grove, admin, _rolling("second"))
    assert ready, "nobody looked while it rolled out"
    assert min(ready) >= 2, f"3 replicas, maxUnavailable 1, but ready were {ready}"
    after = grove.containers()
    assert len(after) == 3
    assert not after.keys() & before.keys()
    assert _greetings(grove, admin) == ["second"] * 3

    assert "rolled back" in admin.run("rollout", "undo", "deployment/rolling", "--wait", "--timeout", "40s").out
    assert _greetings(grove, admin) == ["first"] * 3
    undone = grove.containers()
    assert "restarted" in admin.run("rollout", "restart", "deployment/rolling", "--wait", "--timeout", "40s").out
    restarted = grove.containers()
    assert len(restarted) == 3
    assert not restarted.keys() & undone.keys()

    scaled = admin.run("scale", "deployment/rolling", "--replicas", 2, "--wait", "--timeout", "40s")
    assert "scaled" in scaled.out
    assert len(grove.containers()) == 2
    assert grove.containers().items() <= restarted.items()
    history = admin.json("rollout", "history", "deployment/rolling")["revisions"]
    assert [each["revision"] for each in history] == [2, 3, 4], "undo moves the first to the end, scale makes none"
    assert "successfully rolled out" in admin.run("rollout", "status", "deployment/rolling").out
    admin.delete("deployment/rolling")
    assert grove.containers() == {}


def test_a_rollout_that_cannot_get_healthy_stops_and_says_so(grove: Grove) -> None:
    admin = grove.admin
    good = roaming("stuck", 2)
    good["spec"]["progressDeadlineSeconds"] = 5
    bad = roaming("stuck", 2, readinessProbe={"exec": {"command": ["false"]}, "periodSeconds": 1})
    bad["spec"]["progressDeadlineSeconds"] = 5
    admin.apply(good)
    healthy = grove.containers()
    admin.apply(bad, wait=False)

    status = admin.run("rollout", "status", "deployment/stuck", "--timeout", "40s", code=1)
    assert "deployment/stuck: the rollout passed its progress deadline" in status.err
    assert "beectl describe deployment/stuck" in status.err
    described = admin.run("describe", "deployment", "stuck").out
    assert "ProgressDeadlineExceeded" in described
    assert "the rollout stopped: 0 of 2 replicas of its revision available" in described
    assert healthy.items() <= grove.containers().items(), "what served before still does"

    admin.run("rollout", "undo", "deployment/stuck", "--wait", "--timeout", "40s")
    until(lambda: grove.containers() == healthy, "only the healthy replicas are left", why=grove.containers)
    admin.delete("deployment/stuck")


def test_what_was_deleted_stays_so_on_a_machine_that_missed_it(grove: Grove) -> None:
    admin = grove.admin
    admin.apply(roaming("gone", 3, ports=[{"containerPort": 8080, "hostPort": 18081}]))
    assert machines_of(grove.pods(admin)) == ["elm", "fir", "oak"]
    grove.elm.stop(signal.SIGKILL)
    admin.run("delete", "deployment/gone")
    until(lambda: grove.oak.containers() == {} == grove.fir.containers(), "oak and fir run nothing of it")
    assert len(grove.elm.containers()) == 1

    grove.elm.start()
    grove.settle()
    until(lambda: grove.elm.containers() == {}, "elm has heard of it")
    # It starts again with nothing but the tombstone.
    grove.elm.restart(signal.SIGTERM)
    grove.settle()
    missing = admin.run("describe", "deployment", "gone", code=1)
    assert "deployment/gone not found" in missing.err
    until(lambda: grove.pods(admin) == [], "what elm ended and could not tell before it stopped is asked for")
    assert grove.containers() == {}


def _rolling(greeting: str) -> dict[str, Any]:
    ready = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    manifest = roaming("rolling", 3, env=[{"name": "GREETING", "value": greeting}], readinessProbe=ready)
    manifest["spec"]["strategy"] = {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}
    return manifest


def _ready_while(grove: Grove, admin: Operator, manifest: dict[str, Any]) -> list[int]:
    """Apply and wait; how many replicas were ready each time that somebody looked and all machines answered."""
    process = subprocess.Popen(
        admin.command("apply", "-f", "-", "--wait", "--timeout", "40s"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(manifest))
    process.stdin.close()
    ready = []
    while process.poll() is None:
        looked = admin.run("get", "pods", "-l", "app=rolling", "-o", "json")
        if looked.err:
            continue
        statuses = [pod["status"].get("containerStatuses", ()) for pod in json.loads(looked.out)["items"]]
        ready.append(sum(all(each["ready"] for each in found) and bool(found) for found in statuses))
    out = process.stdout.read()
    assert process.wait(DEADLINE) == 0, out
    assert "deployment.apps/rolling configured" in out
    return ready


def _greetings(grove: Grove, admin: Operator) -> list[str]:
    pods = grove.pods(admin, "-l", "app=rolling")
    return [pod["spec"]["containers"][0]["env"][0]["value"] for pod in pods]
