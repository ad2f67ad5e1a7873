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
HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
GATES = ("Look how the mesh is now", "See that the mesh is well")


def machine(name: str, ready: str) -> dict[str, object]:
    """A machine as `beectl get` shows it."""
    conditions = [{"type": "Ready", "status": ready}]
    return {"kind": "Node", "metadata": {"name": name}, "status": {"conditions": conditions}}


@pytest.fixture
def gates(tmp_path: Path) -> Path:
    """The plays of upgrade-mesh.yml with nothing in them but the looks at the health of the mesh."""
    plays = yaml.safe_load((PLAYBOOKS / "upgrade-mesh.yml").read_text())
    for play in plays:
        play["tasks"] = [task for task in play["tasks"] if task["name"] in GATES]
        play["become"] = False
    assert [len(play["tasks"]) for play in plays] == [1, 1]
    (tmp_path / "gates.yml").write_text(yaml.safe_dump(plays))
    for name in ("tasks", "vars"):
        (tmp_path / name).symlink_to(PLAYBOOKS / name)
    return tmp_path / "gates.yml"


def play(
    playbook: Path, *more_words: str, hosts: dict[str, dict[str, object]] | None = None, **variables: object
) -> subprocess.CompletedProcess[str]:
    """Run a playbook for two machines that are both this one, or for what `hosts` says beyond that."""
    known: dict[str, dict[str, object]] = {"one": {}, "two": {}, **(hosts or {})}
    inventory = {"mesh": {"hosts": {name: {**HERE, **more} for name, more in known.items()}}}
    (playbook.parent / "hosts.yml").write_text(yaml.safe_dump(inventory))
    words = ["-i", str(playbook.parent / "hosts.yml"), "-e", json.dumps(variables)]
    return subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", *words, *more_words, str(playbook)],
        env={
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_HOME": str(playbook.parent / "ansible"),
        },
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


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((), id="all"),
        pytest.param(("--limit", "mesh"), id="group", marks=pytest.mark.long),
        pytest.param(("--limit", "one,two,three"), id="names", marks=pytest.mark.long),
    ],
)
def test_a_batch_that_is_lost_does_not_end_the_run(tmp_path: Path, words: tuple[str, ...]) -> None:
    plays = yaml.safe_load((PLAYBOOKS / "join-mesh.yml").read_text())
    look, join, tell = plays[1:]
    look["become"] = join["become"] = False
    look["tasks"] = look["tasks"][1:]
    block = join["tasks"][-1]
    # The line to the first machine is lost while it joins; the second fails in its own way. No two are at it at once.
    alone = f"mkdir {tmp_path}/busy && sleep 0.5 && rmdir {tmp_path}/busy"
    block["block"] = [
        {"name": "Lose it", "ansible.builtin.ping": {}},
        {"name": "Be alone", "ansible.builtin.shell": alone},
        {"name": "Fail", "ansible.builtin.fail": {"msg": "no room"}, "when": "inventory_hostname == 'two'"},
        {"name": "Arrive", "ansible.builtin.debug": {"msg": "{{ inventory_hostname }} has arrived"}},
    ]
    (tmp_path / "join.yml").write_text(yaml.safe_dump([look, join, tell]))
    for name in ("tasks", "vars"):
        (tmp_path / name).symlink_to(PLAYBOOKS / name)
    lost = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    done = play(tmp_path / "join.yml", *words, hosts={"one": lost, "three": {}}, beemesh_batch=1)
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "two has not joined (Fail: no room)" in said, done.stdout
    assert "three has arrived" in said
    assert "unreachable=1" in said


def beginning(tmp_path: Path, name: str) -> Path:
    """A playbook up to where it reaches for machines."""
    plays = yaml.safe_load((PLAYBOOKS / f"{name}.yml").read_text())
    (tmp_path / "begin.yml").write_text(yaml.safe_dump(plays[:1]))
    for part in ("tasks", "vars"):
        (tmp_path / part).symlink_to(PLAYBOOKS / part)
    return tmp_path / "begin.yml"


@pytest.mark.parametrize("name", ["join-mesh", "rotate-keys"])
def test_what_a_machine_says_of_itself_is_not_certified(tmp_path: Path, name: str) -> None:
    live = {"beemesh_id": "0" * 32, "beemesh_labels": {"class": "cloud"}}
    done = play(beginning(tmp_path, name), hosts={"two": live}, beemesh_mesh_dir=str(tmp_path / "mesh"))
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "Nothing was changed: two would be certified with labels that the machine says of itself" in said, (
        done.stdout
    )
    assert "changed=0" in said
    assert not (tmp_path / "mesh").exists()


@pytest.mark.long
def test_a_passphrase_guards_the_root_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    mesh_dir = tmp_path / "mesh"
    beectl = tmp_path / "beectl"
    beectl.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from beemesh_node.cli.main import main; main()' \"$@\"\n")
    beectl.chmod(0o700)
    playbook = beginning(tmp_path, "join-mesh")

    def begin(**more: object) -> subprocess.CompletedProcess[str]:
        return play(playbook, beemesh_beectl=str(beectl), beemesh_mesh_dir=str(mesh_dir), **more)

    made = begin(beemesh_passphrase="quiet bees")
    assert made.returncode == 0, made.stdout
    for name in ("root.key", "operator.key"):
        told = subprocess.run(
            [beectl, "keys", "inspect", str(mesh_dir / name), "-o", "json"], capture_output=True, check=True
        )
        assert json.loads(told.stdout)["encrypted"]
    before = {path.name: path.read_bytes() for path in mesh_dir.iterdir()}
    again = begin(beemesh_passphrase="quiet bees")
    wrong, none = begin(beemesh_passphrase="loud bees"), begin()
    assert again.returncode == 0
    assert "changed=1" not in again.stdout
    assert (wrong.returncode != 0, none.returncode != 0) == (True, True)
    assert "Nothing was changed:" in wrong.stdout
    assert "wrong passphrase for this mesh-root key" in " ".join(wrong.stdout.split())
    assert "Give the passphrase as beemesh_passphrase" in " ".join(none.stdout.split())
    assert {path.name: path.read_bytes() for path in mesh_dir.iterdir()} == before
    assert not [done for done in (made, again, wrong) if " bees" in done.stdout + done.stderr]
