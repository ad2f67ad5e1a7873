"""Where replicas run, and what is said of those that cannot run anywhere."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

from tests.node.integration.dying import containers
from tests.node.integration.grove import Grove, machines_of, roaming
from tests.node.integration.manifests import deployment
from tests.node.integration.mesh import Operator
from tests.node.integration.waiting import until

_PATIENCE = 90.0
"""Seconds: a busy machine that did not answer is asked again only after growing pauses."""
HELLO = {
    "script": "echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp",
    "ports": [{"name": "http", "containerPort": 8080}],
    "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 2},
}


def test_hello_runs_on_three_machines_on_two_and_on_one(grove: Grove) -> None:
    admin = grove.admin
    spread = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": {"app": "hello"}}, "topologyKey": "kubernetes.io/hostname"}
            ]
        }
    }
    admin.apply(roaming("hello", 3, pod={"affinity": spread}, **HELLO))
    assert machines_of(grove.pods(admin, "-l", "app=hello")) == ["elm", "fir", "oak"]

    grove.elm.stop(signal.SIGKILL)
    admin.apply(roaming("hello-two", 2, **HELLO))
    assert set(machines_of(grove.pods(admin, "-l", "app=hello-two"))) <= {"fir", "oak"}

    grove.fir.stop(signal.SIGKILL)
    admin.apply(roaming("hello-one", 2, **HELLO))
    assert machines_of(grove.pods(admin, "-l", "app=hello-one")) == ["oak", "oak"]

    grove.elm.start()
    grove.fir.start()
    grove.settle()
    # What ran on the killed machines all the while still does.
    until(lambda: _ready(grove, admin, "hello") == ["elm", "fir", "oak"], "hello runs on all three again")
    admin.delete("deployment/hello", "deployment/hello-two", "deployment/hello-one")


def test_every_reason_for_not_placing_a_replica_is_told(grove: Grove) -> None:
    admin = grove.admin
    ample, on_fir = {"requests": {"memory": "300Mi"}}, {"nodeSelector": {"kubernetes.io/hostname": "fir"}}
    huge = {"requests": {"memory": "900Gi"}}
    intolerant = deployment("intolerant")
    intolerant["spec"]["template"]["spec"].update(on_fir)
    admin.apply(
        roaming("too-large", resources=huge),
        roaming("too-large-for-fir", pod=on_fir, resources=ample),
        roaming("nowhere", pod={"nodeSelector": {"disk": "ssd"}}),
        roaming("crowded", 4, ports=[{"containerPort": 8080, "hostPort": 18080}]),
        intolerant,
        wait=False,
    )
    expected = {
        "too-large": ("0/3 machines can take it: 3 lack memory", "fir: needs 900Gi memory, 256Mi free"),
        "too-large-for-fir": (
            "0/3 machines can take it: 2 do not match the node selector, 1 lacks memory",
            "fir: needs 300Mi memory, 256Mi free",
        ),
        "nowhere": ("0/3 machines can take it: 3 do not match the node selector", "needs disk=ssd"),
        "crowded": (
            "1 of 4 replicas waits: 0/3 machines can take it: 3 have the host port in use",
            "oak: port 18080 is in use",
        ),
        "intolerant": (
            "0/3 machines can take it: 2 do not match the node selector, 1 has a taint that is not tolerated",
            "fir: size=small:NoSchedule",
        ),
    }
    names = [f"deployment/{name}" for name in expected]
    described = until(_described(admin, names, expected), "describe tells each reason", _PATIENCE)
    for name, (summary, detail) in expected.items():
        events = [line for line in described[name].partition("Events:")[2].splitlines() if "FailedScheduling" in line]
        assert any(summary in line and detail in line and "Warning" in line for line in events), described[name]
    assert machines_of(grove.pods(admin, "-l", "app=crowded")) == ["elm", "fir", "oak"]
    listed = admin.run("get", "events").out
    for name, (summary, _) in expected.items():
        assert any(f"deployment/{name} " in line and summary in line for line in listed.splitlines()), listed
    admin.delete(*names)


def test_an_image_that_does_not_exist_is_the_cause_that_is_told(grove: Grove) -> None:
    admin = grove.admin
    absent, unreachable = "localhost/bmit-absent:1", "registry.invalid/bmit/unreachable:1"
    never = roaming("never-pulled", image=absent)
    pulled = roaming("unpullable", image=unreachable, imagePullPolicy="IfNotPresent")

    for manifest, cause in (
        (never, f"lacks {absent} (imagePullPolicy Never)"),
        (pulled, f"ErrImagePull: image {unreachable}"),
    ):
        name = manifest["metadata"]["name"]
        applied = admin.run("apply", "-f", "-", "--wait", "--timeout", "5s", code=4, stdin=json.dumps(manifest))
        assert cause in applied.err
        assert f"beectl describe deployment/{name}" in applied.err
        assert cause in admin.run("describe", "deployment", name).out
        assert any(
            "Warning" in line and f"deployment/{name} " in line and cause in line
            for line in admin.run("get", "events").out.splitlines()
        )
        assert not any(containers(machine, name) for machine in grove.machines)
    admin.delete("deployment/never-pulled", "deployment/unpullable")


def _described(admin: Operator, names: list[str], expected: dict[str, tuple[str, str]]) -> Callable[[], dict[str, str]]:
    def look() -> dict[str, str]:
        text = admin.run("describe", *names).out
        parts = {part.split()[1]: part for part in text.split("\n\n\n")}
        told = all(
            summary in parts[name].partition("Events:")[2] and detail in parts[name]
            for name, (summary, detail) in expected.items()
        )
        return parts if told else {}

    return look


def _ready(grove: Grove, admin: Operator, app: str) -> list[str]:
    pods = grove.pods(admin, "-l", f"app={app}")
    begun = (pod for pod in pods if "containerStatuses" in pod["status"])
    return machines_of(pod for pod in begun if pod["status"]["containerStatuses"][0]["ready"])
