"""Playbooks of the collection with a `beectl` that is none: what they carry from one machine to the next."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"
GATES = ("Look how the mesh is now", "See that the mesh is well")


def machine(name: str, ready: str) -> dict[str, object]:
    """A machine as `beectl get` shows it."""
    conditions = [{"type": "Ready", "status": ready}]
    return {"kind": "Node", "metadata": {"name": name}, "status": {"conditions": conditions}}


@pytest.fixture
def gates(tmp_path: Path) -> Path:
    """The plays of upgrade-mesh.yml with nothing in them but the looks at the mesh's health, one machine after another."""
    plays = yaml.safe_load((PLAYBOOKS / "upgrade-mesh.yml").read_text())
    for play in plays:
        play["tasks"] = [task for task in play["tasks"] if task["name"] in GATES]
        play["become"] = False
    assert [len(play["tasks"]) for play in plays] == [1, 1]
    (tmp_path / "gates.yml").write_text(yaml.safe_dump(plays))
    for name in ("tasks", "vars"):
        (tmp_path / name).symlink_to(PLAYBOOKS / name)
    return tmp_path / "gates.yml"


def play(playbook: Path, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run a playbook for two machines that are both this one."""
    inventory = {"mesh": {"hosts": {name: {"ansible_connection": "local"} for name in ("one", "two")}}}
    (playbook.parent / "hosts.yml").write_text(yaml.safe_dump(inventory))
    words = ["-i", str(playbook.parent / "hosts.yml"), "-e", json.dumps(variables)]
    return subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", *words, str(playbook)],
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(playbook.parent / "ansible")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def fake(directory: Path, *answers: list[dict[str, object]]) -> Path:
    """A `beectl` that gives one answer after the other, and the last one for ever."""
    for number, items in enumerate(answers):
        (directory / f"answer{number}").write_text(json.dumps({"items": items}))
    program = directory / "beectl"
    program.write_text(
        f"#!/bin/sh\ncd {directory}\nn=$(cat asked 2>/dev/null || echo 0)\necho $((n + 1)) >asked\n"
        f"[ $n -lt {len(answers)} ] || n={len(answers) - 1}\ncat answer$n\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_the_second_machine_is_measured_by_the_start_too(gates: Path) -> None:
    well, ill = [machine("one", "True")], [machine("one", "False")]
    # At the start, before the first machine, and from then on: worse, by what the first one did.
    beectl = fake(gates.parent, well, well, ill)
    done = play(gates, beemesh_beectl=str(beectl), beemesh_mesh_dir="nowhere", beemesh_health_timeout=3)
    assert done.returncode != 0, done.stdout
    assert "Stopped before two: machine/one not ready for 3 s" in " ".join(done.stdout.split())


def test_what_was_ill_at_the_start_stops_nobody(gates: Path) -> None:
    beectl = fake(gates.parent, [machine("one", "False")])
    done = play(gates, beemesh_beectl=str(beectl), beemesh_mesh_dir="nowhere", beemesh_health_timeout=3)
    assert done.returncode == 0, done.stdout
