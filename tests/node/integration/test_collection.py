"""The modules of the collection in a project of somebody else, on a mesh: every example, and what users rely on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.node.integration.grove import Grove, machines_of
from tests.node.integration.manifests import deployment
from tests.node.integration.project import DATABASE_PASSWORD, EXAMPLES_ON_A_MESH, Project
from tests.node.runtime.podman_service import IMAGE

WORKLOAD = "beemesh.mesh.beemesh_workload"
_OF_EXAMPLES = ("docker.io/library/busybox:1.37", "docker.io/library/busybox:1.37.0")

DATABASE = """\
apiVersion: v1
kind: Secret
metadata: {name: database}
stringData:
  password: "{{ database_password }}"
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: database}
spec:
  selector:
    matchLabels: {app: database}
  template:
    metadata:
      labels: {app: database}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: database
          image: docker.io/library/busybox:1.37
          imagePullPolicy: IfNotPresent
          command: [sh, -c, "{% raw %}trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done{% endraw %}"]
          env:
            - name: PASSWORD
              valueFrom:
                secretKeyRef: {name: database, key: password}
"""


@pytest.fixture(scope="module")
def project(grove: Grove, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    for machine in grove.machines:
        assert machine.podman is not None
        for image in _OF_EXAMPLES:
            machine.podman.run("tag", IMAGE, image)
    project = Project(tmp_path_factory.mktemp("project") / "somebody", grove.admin)
    project.write("templates/database.yml.j2", DATABASE)
    cart = deployment("cart", 3)
    del cart["metadata"]["namespace"]
    tried = deployment("tried")
    del tried["metadata"]["namespace"]
    tried["metadata"]["labels"] = {"stage": "preview"}
    project.write("files/shop/cart.yml", json.dumps(cart))
    project.write("files/shop/tried.json", json.dumps(tried))
    yield project
    grove.admin.run("uncordon", "oak", "elm", "fir")
    grove.admin.run("label", "oak", "disk-")


def declare(manifest: object, **options: Any) -> dict[str, Any]:
    return {"name": "declare", WORKLOAD: {"definition": manifest, **options}}


@pytest.mark.long
def test_every_example_runs(project: Project, grove: Grove) -> None:
    first = project.examples("beemesh_workload")
    played = project.play(first)
    assert played.of("Run two replicas of a web server, and wait until both serve")["replicas_ready"] == 2
    database = played.of("Run what a template says, with a password from the vault in its Secret")
    assert (database["method"], database["replicas_ready"]) == ("create", 1)
    assert {each["name"] for each in played.of("Declare every manifest of a directory")["results"]} == {"cart", "tried"}
    assert [each["name"] for each in played.of("Delete what belongs to a test")["results"]] == ["tried"]
    assert len(played.of("Tell the machines")["msg"]) == 3
    patched = played.of("Take another image, and leave everything else as it is")
    (container,) = patched["result"]["spec"]["template"]["spec"]["containers"]
    assert (patched["method"], container["image"], container["ports"][0]["containerPort"]) == (
        "patch",
        "docker.io/library/busybox:1.37.0",
        8080,
    )
    assert played.of("Delete it, and wait until it has ended everywhere")["changed"]
    assert not grove.pods(grove.admin, "-l", "app=web")

    others = EXAMPLES_ON_A_MESH[1:]
    played = project.play([first[0], *(task for name in others for task in project.examples(f"beemesh_{name}"))])
    assert set(played.of("Tell where they are")["msg"]) <= {"oak", "elm"}
    assert len(played.of("Look at a Deployment, once all its replicas are ready")["resources"]) == 1
    assert played.of("Ask a web server of itself")["rc"] == 0
    assert len(played.of("Have three replicas, and wait until all are ready")["placement"]) == 3
    assert played.of("Go back to two, but only from three")["changed"]
    assert played.of("Move everything away from it")["changed"]
    assert all(pod["now"] == ["elm"] for pod in played.of("Tell where its pods went")["drained.pods"])
    assert played.of("Take it into use again, and go on once it can run pods")["node"]["metadata"]["name"] == "oak"
    labels = played.of("Say that it has a fast disk now, and is no more meant for tests")["node"]["metadata"]["labels"]
    assert labels["disk"] == "nvme"
    machines = played.of("Wait until every machine of a class is ready")["resources"]
    assert [each["metadata"]["name"] for each in machines] == ["elm", "fir", "oak"]


def test_a_second_run_is_ok_and_check_mode_changes_nothing(project: Project, grove: Grove) -> None:
    manifest = deployment("steady", 2)
    tried = project.play([declare(manifest, wait=True)], "--check", "--diff").last
    assert (tried["changed"], tried["method"]) == (True, "create")
    assert [(place["slot"], place["predicted"]) for place in tried["placement"]] == [(0, True), (1, True)]
    assert {place["machine"] for place in tried["placement"]} == {"oak", "elm"}
    assert "+  replicas: 2" in tried["diff"]["prepared"]
    assert "steady" not in grove.admin.run("get", "deployments").out

    done = project.play([declare(manifest, wait=True)]).last
    assert (done["changed"], done["replicas_ready"]) == (True, 2)
    assert {place["machine"] for place in done["placement"]} == {place["machine"] for place in tried["placement"]}
    again = project.play([declare(manifest, wait=True)], "--diff").last
    assert (again["changed"], again["method"], again["replicas_ready"]) == (False, "none", 2)
    assert not again["diff"]["prepared"]

    manifest["spec"]["replicas"] = 3
    more = project.play([declare(manifest)], "--check").last
    assert [place["predicted"] for place in more["placement"]] == [False, False, True]
    assert len(machines_of(grove.pods(grove.admin, "-l", "app=steady"))) == 2
    gone = {"name": "away", WORKLOAD: {"state": "absent", "kind": "Deployment", "name": "steady", "wait": True}}
    assert project.play([gone], "--check").last["changed"]
    assert project.play([gone]).last["changed"]
    assert not project.play([gone]).last["changed"]


def test_what_did_not_start_is_never_ok(project: Project, grove: Grove) -> None:
    manifest = deployment("broken", image="localhost/nobody-has-this:1")
    for _ in range(2):
        played = project.play([declare(manifest, wait=True, wait_timeout=10)], code=2)
        assert played.last["reason"] == "timeout"
        assert "lack an image that is never pulled" in played.last["msg"]
        assert played.last["replicas_ready"] == 0
    grove.admin.delete("deployment/broken")


@pytest.mark.long
def test_a_secret_is_seen_nowhere(project: Project, grove: Grove) -> None:
    task = {"name": "declare", WORKLOAD: {"template": "database.yml.j2", "wait": True}}
    changed = {**task, "vars": {"database_password": "another-password-4711"}}
    shown = [
        project.play([task], "-vvv", "--diff"),
        project.play([changed], "-vvv", "--diff", "--check"),
        project.play([{"name": "look", "beemesh.mesh.beemesh_workload_info": {"name": "database"}}], "-vvv"),
        project.play([{**task, WORKLOAD: {"template": "database.yml.j2", "state": "absent", "wait": True}}], "-vvv"),
    ]
    assert "*** (after)" in shown[1].last["diff"]["prepared"]
    mistakes: list[dict[str, Any]] = [{"wiat": True}, {"kind": "Deploiment"}, {"dir": "/a", "context": "b"}]
    mistaken = [
        {**task, WORKLOAD: {"template": "database.yml.j2", **mistake}, "ignore_errors": True, **how}
        for how in ({}, {"async": 60, "poll": 1})
        for mistake in mistakes
    ]
    shown.append(project.play(mistaken, "-vvv"))
    assert [each["outcome"] for each in shown[-1].results] == ["failed"] * len(mistaken)
    for played in shown:
        everything = played.said + json.dumps(played.results)
        for secret in (DATABASE_PASSWORD, "another-password-4711"):
            assert secret not in everything


@pytest.mark.long
def test_without_beectl_there_is_one_helpful_message(project: Project, tmp_path: Path) -> None:
    empty = {"BEEMESH_BEECTL": "", "PATH": "/usr/bin:/bin"}
    python = "ansible_python_interpreter=/usr/bin/python3"
    played = project.play([declare(deployment("web"))], "-e", python, code=2, **empty)
    assert played.last["reason"] == "missing_beectl"
    for word in ("was not found in PATH", "option beectl", "BEEMESH_BEECTL", "delegate_to: localhost"):
        assert word in played.last["msg"]
    assert "Traceback" not in played.said


@pytest.mark.long
def test_who_may_not_is_told_so(project: Project, grove: Grove) -> None:
    guest = grove.operator("guest", ["guests"], ["get", "apply"])
    played = project.play([declare(deployment("intruder"), dir=str(guest.directory))], code=2)
    assert (played.last["reason"], played.last["rc"]) == ("not_allowed", 3)
    assert "may not" in played.last["msg"]
