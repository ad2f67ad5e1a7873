"""The modules for keys and certificates in a project of somebody else, with the real beectl: every example, twice."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.node.integration.mesh import BEECTL, Operator
from tests.node.integration.project import EXAMPLES_ON_A_MESH, Played, Project

pytestmark = pytest.mark.long

BEEMESHD = str(Path(sys.executable).with_name("beemeshd"))
PASSPHRASE = "correct horse battery staple"
NONCE = "ab" * 32

KEYS = "beemesh.mesh.beemesh_keys"
INFO = "beemesh.mesh.beemesh_keys_info"
PIPE = "beemesh.mesh.beemesh_keys_pipe"
CERTIFICATE = "beemesh.mesh.beemesh_certificate"
SHOWN_HERE = {KEYS, INFO, PIPE, CERTIFICATE}


def run(*command: object, **environment: str) -> dict[str, Any]:
    words = [*map(str, command), "-o", "json"]
    done = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def project(place: Path) -> Project:
    """A project beside the directory of a mesh, with requests that wait for an answer."""
    mesh_id = run(BEECTL, "mesh", "init", "--dir", place / "home")["mesh_id"]
    for name in ("web1", "sensor1"):
        state = place / name
        run(BEEMESHD, "keys", "generate", "--state", state)
        asked = ("--mesh", mesh_id, "--nonce", NONCE, "--out", place / f"{name}.request")
        run(BEEMESHD, "keys", "request", "--state", state, *asked)
    run(BEECTL, "keys", "request", "--dir", place / "ci", "--mesh", mesh_id, "--out", place / "ci.request")
    return Project(place / "project", Operator(place / "home"))


def placed(tasks: list[dict[str, Any]], place: Path) -> list[dict[str, Any]]:
    """Examples with the paths of this test, and here in place of there."""
    here = {
        "~/.config/beemesh": place,
        "/var/lib/beemesh": place / "machine",
        "{{ inventory_dir }}": place / "inventory",
        "/tmp": place,
    }
    named = "|".join(map(re.escape, here))
    text = re.sub(named, lambda found: str(here[found[0]]), json.dumps(tasks))
    changed: list[dict[str, Any]] = json.loads(text)
    return [{**task, "no_log": False} for task in changed]


def told(played: Played) -> list[bool]:
    """Whether each task of the collection changed something, in order."""
    return [each["result"]["changed"] for each in played.results if each["action"].startswith("beemesh.mesh.")]


def knowing(task: dict[str, Any], **values: object) -> dict[str, Any]:
    return {**task, "vars": {**task.get("vars", {}), **values}}


def checked(task: dict[str, Any]) -> dict[str, Any]:
    return {**task, "check_mode": True}


def test_every_module_has_a_test_that_runs_its_examples(project: Project) -> None:
    there = {f"beemesh.mesh.{path.stem}" for path in (project.collection / "plugins" / "modules").glob("*.py")}
    elsewhere = {f"beemesh.mesh.beemesh_{name}" for name in EXAMPLES_ON_A_MESH}
    assert SHOWN_HERE | elsewhere == there


def test_the_examples_of_beemesh_keys(project: Project, place: Path) -> None:
    machine, operator, replaced, removed = placed(project.examples("beemesh_keys"), place)
    (place / "shop").mkdir(mode=0o700)
    lost = knowing(replaced, operator_passphrase="another one")
    operator, replaced = (knowing(task, operator_passphrase=PASSPHRASE) for task in (operator, replaced))
    tasks = [checked(machine), machine, operator, replaced, checked(machine), machine, operator, replaced, lost]
    played = project.play(tasks, "--diff")
    assert told(played) == [True, True, True, False, False, False, False, False, True]
    assert played.results[1]["result"]["fingerprint"] in played.said
    for path in (place / "machine" / "machine.key", place / "shop" / "operator.key", played.last["backup_file"]):
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert told(project.play([checked(removed), removed, removed])) == [True, True, False]


def test_a_root_that_is_only_in_the_vault_signs(project: Project, place: Path) -> None:
    (place / "inventory" / "group_vars" / "all").mkdir(parents=True)
    vault = place / "inventory" / "group_vars" / "all" / "root.yml"
    made, kept = placed(project.examples("beemesh_keys_pipe"), place)
    right = {"root_passphrase": PASSPHRASE, "vault_secret": "of the vault"}
    first = project.play([knowing(made, **right), knowing(kept, **right)]).of(made["name"])
    assert vault.read_text().startswith("$ANSIBLE_VAULT")

    # The same root makes a mesh, and signs in it without ever lying in its directory.
    root, secret = place / "for-a-moment" / "root.key", place / "secret"
    root.parent.mkdir(mode=0o700)
    root.touch(mode=0o600)
    root.write_text(first["content"])
    secret.write_text(PASSPHRASE)
    mesh = ("--dir", place / "vaulted", "--root-key", root)
    mesh_id = run(BEECTL, "mesh", "init", *mesh, BEEMESH_PASSPHRASE_FILE=str(secret))["mesh_id"]
    root.unlink()
    assert mesh_id == first["fingerprint"]
    state, request = place / "sensor2", place / "sensor2.request"
    run(BEEMESHD, "keys", "generate", "--state", state)
    run(BEEMESHD, "keys", "request", "--state", state, "--mesh", mesh_id, "--nonce", NONCE, "--out", request)
    signing = {
        "dir": str(place / "vaulted"),
        "name": "sensor2",
        "request_path": str(request),
        "root_key_content": "{{ vault_mesh_root }}",
        "passphrase": "{{ root_passphrase }}",
        "path": str(place / "sensor2.bundle"),
    }
    machine, looked = placed(project.examples("beemesh_keys_info"), place)
    right["vault_mesh_root"] = first["content"]
    wrong = {**right, "root_passphrase": "wrong one"}
    machine = {**machine, INFO: {"path": str(state / "machine.key")}}
    assert project.play([machine]).of(machine["name"])["type"] == "machine"
    sign = {"name": "sign", CERTIFICATE: signing, "ignore_errors": True}
    tasks = [
        knowing(made, **right),
        knowing(looked, **right),
        knowing({**looked, "name": "look", "ignore_errors": True}, **wrong),
        knowing({**sign, "name": "refused"}, **wrong),
        knowing(sign, **right),
        knowing(sign, **wrong),
    ]
    played = project.play(tasks)
    assert told(played) == [False, False, False, False, True, False]
    assert (played.of(looked["name"])["type"], played.of(looked["name"])["unlocked"]) == ("mesh-root", True)
    assert played.of("look")["unlocked"] is False
    assert "wrong passphrase" in played.of("refused")["msg"]
    assert run(BEEMESHD, "join", "--state", state, "--bundle", place / "sensor2.bundle")["name"] == "sensor2"


def test_the_examples_of_beemesh_certificate(project: Project, place: Path) -> None:
    web, sensor, ci, _ = placed(project.examples("beemesh_certificate"), place)
    (place / "home" / "bundles").mkdir(mode=0o700)
    # The mesh of this test has its root in its directory.
    for name in ("root_key_content", "passphrase"):
        del sensor[CERTIFICATE][name]
    slurped = {"name": "read", "ansible.builtin.slurp": {"src": str(place / "sensor1.request")}, "register": "request"}
    signing = [web, sensor, ci]
    played = project.play([slurped, *map(checked, signing), *signing, *signing], "--diff")
    assert told(played) == [True, True, True, True, True, True, False, False, False]
    planned, signed, kept = (each["result"] for each in played.results if each["name"] == web["name"])
    assert planned["reasons"] == signed["reasons"] == ["nothing was signed under this name"]
    assert "serial" not in planned
    assert signed["serial"] == kept["serial"]
    assert signed["diff"]["after"]["labels"] == planned["diff"]["after"]["labels"]
    bundles = {"web1": place / "web1.bundle", "sensor1": place / "home" / "bundles" / "sensor1"}
    for name, path in bundles.items():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert run(BEEMESHD, "join", "--state", place / name, "--bundle", path)["name"] == name
    run(BEECTL, "mesh", "join", "--dir", place / "ci", "--bundle", place / "ci.bundle")
    assert run(BEECTL, "mesh", "info", "--dir", place / "ci")["verbs"] == ["get", "apply"]


def test_when_a_certificate_is_signed_anew(project: Project, place: Path) -> None:
    options = {
        "dir": str(place / "home"),
        "name": "web2",
        "request_path": str(place / "web1.request"),
        "path": str(place / "another.bundle"),
        "backup": True,
    }

    def task(name: str, **others: object) -> dict[str, Any]:
        return {"name": name, CERTIFICATE: {**options, "labels": {"region": "us"}, **others}}

    tasks = [
        task("first", labels={}),
        task("labels"),
        task("ignored", not_after="+2d"),
        task("end", not_after="+2d", ignore_timestamps=False),
        task("soon", remaining_days=3),
        checked(task("forced", force=True)),
        task("gone", state="absent"),
        task("still gone", state="absent"),
    ]
    played = project.play(tasks)
    assert told(played) == [True, True, False, True, True, True, True, False]
    assert played.of("labels")["reasons"] == ["other labels are wanted"]
    assert played.of("labels")["replaced"] == played.of("first")["serial"]
    assert Path(played.of("labels")["backup_file"]).is_file()
    assert played.of("end")["reasons"] == ["its end is another"]
    assert played.of("soon")["reasons"] == ["it ends soon"]


def test_what_cannot_be_signed_is_said(project: Project, place: Path) -> None:
    options: dict[str, Any] = {
        "dir": str(place / "home"),
        "name": "wrong",
        "request_path": str(place / "web1.request"),
        "path": str(place / "wrong.bundle"),
    }
    wrongs: dict[str, dict[str, Any]] = {
        "answers another nonce": {"nonce": "cd" * 32},
        "a b": {"labels": {"a b": "c"}},
        "request_content is not Base64": {"request_path": "{{ omit }}", "request_content": "no base64"},
        "missing: namespaces, verbs": {"role": "operator"},
        "is no context": {"dir": "/nowhere"},
        "is no time": {"not_after": "tomorrow"},
    }
    tasks = [{"name": said, CERTIFICATE: {**options, **wrong}, "ignore_errors": True} for said, wrong in wrongs.items()]
    played = project.play(tasks)
    assert [each["outcome"] for each in played.results] == ["failed"] * len(wrongs)
    for said in wrongs:
        assert said in played.of(said)["msg"]
    assert not (place / "wrong.bundle").exists()


def test_no_secret_is_seen_anywhere(project: Project, place: Path) -> None:
    path = place / "secret-keys" / "operator.key"
    project.write("vars/passphrase.yml", f"secret: {PASSPHRASE}\n")
    guarded = {"path": str(path), "passphrase": "{{ secret }}"}
    tasks = [
        {"name": "make", KEYS: {**guarded, "type": "operator"}},
        {"name": "again", KEYS: {**guarded, "type": "operator", "force": True}},
        {"name": "look", INFO: guarded},
        {"name": "pipe", PIPE: {"passphrase": "{{ secret }}"}},
    ]
    played = project.play(
        [{"ansible.builtin.include_vars": "vars/passphrase.yml", "no_log": True}, *tasks], "-vvv", "--diff"
    )
    body = path.read_text().split("\n\n")[1].splitlines()[0]
    for seen in (json.dumps(played.results[1:]), played.said):
        assert PASSPHRASE not in seen
        assert body not in seen
