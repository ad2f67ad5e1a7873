"""What a scenario of Molecule finds on a computer on which only the packages of requirements.lock are installed."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from labs import scenario
from labs.paths import BIN, COLLECTIONS, ROOT
from labs.run import LabError

SCENARIOS = sorted((ROOT / "molecule").glob("*/molecule.yml"))


def test_beectl_need_not_be_installed(tmp_path: Path) -> None:
    bare = {"PATH": f"{scenario.write_beectl(tmp_path / 'bin').parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    said = subprocess.run(
        ["/usr/bin/env", "beectl", "--help"], env=bare, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout.split()[:2]) == (0, ["Usage:", "beectl"]), said.stderr


def test_playbooks_find_the_modules_of_the_checkout(tmp_path: Path) -> None:
    for _ in range(2):
        assert scenario.link_collection(tmp_path).resolve() == ROOT
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "ANSIBLE_HOME": str(tmp_path / "home")}
    playbook = str(ROOT / "molecule" / "shared" / "workload.yml")
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "--syntax-check", playbook]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.parent.name)
def test_every_scenario_and_its_tests_have_both(file: Path) -> None:
    settings = yaml.safe_load(file.read_text())
    bin_, collections = (str(path).replace(str(ROOT), "${MOLECULE_PROJECT_DIRECTORY}") for path in (BIN, COLLECTIONS))
    for environment in (settings["ansible"]["env"], settings["verifier"]["env"]):
        assert environment["PATH"] == f"{bin_}:${{PATH}}"
        assert environment["ANSIBLE_COLLECTIONS_PATH"] == collections


def test_the_workload_of_a_scenario_answers_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    running = [
        scenario.Container("oak", "hello-1", datetime.now(UTC)),
        scenario.Container("elm", "hello-2", datetime.now(UTC)),
    ]
    pods = [
        {"metadata": {"name": each.pod}, "status": {"podIP": f"10.0.0.{number}"}} for number, each in enumerate(running)
    ]
    said = {"http://10.0.0.0:8080/": "Hello from hello-1\n", "http://10.0.0.1:8080/": "Hello from hello-2\n"}
    monkeypatch.setattr(scenario, "wait_for_containers", lambda *_, **__: running)
    monkeypatch.setattr(scenario, "items", lambda *_: pods)
    monkeypatch.setattr(scenario, "on", lambda _, *command: said[command[-1]])
    scenario.hello_answers("oak", "elm")
    said["http://10.0.0.1:8080/"] = "Hello from hello-1\n"
    with pytest.raises(LabError, match="hello-2 on elm answers 'Hello from hello-1"):
        scenario.hello_answers("oak", "elm")
