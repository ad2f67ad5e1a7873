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
GATES = ("Look how the mesh is now", "See that the mesh is well", "On the controller alone")


def machine(name: str, ready: str) -> dict[str, object]:
    """A machine as `beectl get` shows it."""
    conditions = [{"type": "Ready", "status": ready}]
    return {"kind": "Node", "metadata": {"name": name}, "status": {"conditions": conditions}}


def workload(ready: int, wanted: int, kind: str = "Deployment", name: str = "web") -> dict[str, object]:
    """A workload in the namespace `shop` as `beectl get` shows it."""
    metadata = {"namespace": "shop", "name": name}
    if kind == "Pod":
        conditions = [{"type": "Ready", "status": str(bool(ready))}]
        phase = "Running" if wanted else "Succeeded"
        return {"kind": kind, "metadata": metadata, "spec": {}, "status": {"phase": phase, "conditions": conditions}}
    return {"kind": kind, "metadata": metadata, "spec": {"replicas": wanted}, "status": {"readyReplicas": ready}}


@pytest.fixture
def gates(tmp_path: Path) -> Path:
    """The plays of upgrade-mesh.yml with nothing in them but the looks at the health of the mesh."""
    plays = yaml.safe_load((PLAYBOOKS / "upgrade-mesh.yml").read_text())
    for play in plays:
        play["tasks"] = [task for task in play["tasks"] if task["name"] in GATES]
        play["become"] = False
    assert [len(play["tasks"]) for play in plays] == [1, 1, 1]
    (tmp_path / "mesh").mkdir()
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


def upgrade(gates: Path, *answers: list[dict[str, object]]) -> tuple[int, str]:
    """Look at the health of a mesh that gives these answers: at the start, before one, before two."""
    (gates.parent / "asked").unlink(missing_ok=True)
    beectl = fake(gates.parent, *answers)
    mesh_dir = str(gates.parent / "mesh")
    done = play(gates, beemesh_beectl=str(beectl), beemesh_mesh_dir=mesh_dir, beemesh_health_timeout=3)
    return done.returncode, " ".join(done.stdout.split())


def test_the_second_machine_is_measured_by_the_start_too(gates: Path) -> None:
    well, ill = [machine("one", "True")], [machine("one", "False")]
    # At the start, before the first machine, and from then on: worse, by what the first one did.
    code, said = upgrade(gates, well, well, ill)
    assert code != 0, said
    assert "Stopped before two: fewer are ready than before anything was changed, for 3 s: machine/one 0/1" in said


def test_what_was_ill_at_the_start_stops_nobody(gates: Path) -> None:
    code, said = upgrade(gates, [machine("one", "False"), workload(1, 3), workload(0, 1, "Pod")])
    assert code == 0, said
    assert "changed=1" not in said
    assert [*(gates.parent / "mesh").iterdir()] == []


def test_fewer_are_ready(gates: Path) -> None:
    before = [workload(9, 10), workload(2, 3, "StatefulSet"), workload(1, 1, "Pod"), workload(10, 10, name="scaled")]
    after = [workload(8, 10), workload(0, 3, "StatefulSet"), workload(0, 1, "Pod"), workload(4, 5, name="scaled")]
    named = "deployment/shop/web 8/10 (9 before), statefulset/shop/web 0/3 (2 before), pod/shop/web 0/1 (1 before)"
    named += ", deployment/shop/scaled 4/5 (10 before), machine/two 0/1 (1 before)"
    both = [*before, machine("two", "True")]
    code, said = upgrade(gates, both, both, after)
    assert code != 0, said
    assert f"for 3 s: {named}. Put that right" in said
    # The next run does not take that for well: it is measured by the same start, until somebody says that it is.
    code, said = upgrade(gates, after)
    assert code != 0, said
    assert "Stopped before anything was changed" in said
    assert named in said
    note = gates.parent / "mesh" / "health.json"
    assert f"To go on with the mesh as it is now, remove {note} first" in said
    note.unlink()
    code, said = upgrade(gates, after)
    assert code == 0, said
    assert not note.exists()


def test_what_its_owner_took_away_stops_nobody(gates: Path) -> None:
    # Scaled, at its own end, deleted; and a machine that is in the inventory no more has left.
    before = [machine("one", "True"), machine("gone", "True"), workload(10, 10), workload(1, 1, "Pod")]
    deleted = workload(1, 1, name="deleted")
    after = [machine("one", "True"), workload(3, 3), workload(0, 0, "Pod")]
    code, said = upgrade(gates, [*before, deleted], [*before, deleted], after)
    assert code == 0, said


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
    mesh = {"beemesh_beectl": str(fake(tmp_path, [machine("three", "True")])), "beemesh_mesh_dir": str(tmp_path)}
    done = play(tmp_path / "join.yml", *words, hosts={"one": lost, "three": {}}, beemesh_batch=1, **mesh)
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "two has not joined (Fail: no room)" in said, done.stdout
    assert "three has arrived" in said
    assert "the mesh does not see it ready" not in said
    # Nobody waits for a machine that is not there.
    assert (tmp_path / "asked").read_text() == "1\n"
    assert "unreachable=1" in said


@pytest.mark.parametrize(
    ("facts", "address"),
    [
        ({"default_ipv4": {"address": "192.0.2.7"}, "all_ipv4_addresses": ["198.51.100.7"]}, "/ip4/192.0.2.7/tcp"),
        ({"default_ipv4": {}, "all_ipv4_addresses": ["127.0.0.2", "198.51.100.7"]}, "/ip4/198.51.100.7/tcp"),
        (
            {"default_ipv4": {}, "all_ipv4_addresses": [], "all_ipv6_addresses": ["fe80::7", "2001:db8::7"]},
            "/ip6/2001:db8::7/tcp",
        ),
        ({"default_ipv4": {}, "default_ipv6": {"address": "2001:db8::8"}}, "/ip6/2001:db8::8/tcp"),
        ({"default_ipv4": {}, "all_ipv4_addresses": []}, "two has no address but its loopback's"),
    ],
    ids=["default", "no way out", "only IPv6", "default IPv6", "none"],
)
def test_where_a_machine_is_reached(tmp_path: Path, facts: dict[str, object], address: str) -> None:
    found = {"ansible.builtin.set_fact": {**facts, "cacheable": True}}
    role = {"name": str(PLAYBOOKS.parent / "roles" / "keys"), "tasks_from": "address"}
    told = {"keys_public": {"stdout": json.dumps({"peer_id": "12D3"})}}
    say = {"ansible.builtin.debug": {"msg": "{{ keys_multiaddr }}"}}
    tasks = [found, {"ansible.builtin.import_role": role, "vars": told}, say]
    (tmp_path / "address.yml").write_text(yaml.safe_dump([{"hosts": "two", "gather_facts": False, "tasks": tasks}]))
    done = play(tmp_path / "address.yml")
    assert address in " ".join(done.stdout.split()), done.stdout + done.stderr
    assert (done.returncode == 0) == address.startswith("/")


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


def program(path: Path, module: str) -> Path:
    """A program of the node, from this checkout."""
    path.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from {module} import main; main()' \"$@\"\n")
    path.chmod(0o700)
    return path


def test_a_root_from_a_vault_makes_the_mesh_and_signs_without_lying_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beectl = program(tmp_path / "beectl", "beemesh_node.cli.main")
    program(tmp_path / "beemeshd", "beemesh_node.daemon.main")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    root, secret, mesh_dir, state = (tmp_path / name for name in ("kept.key", "secret", "mesh", "state"))
    secret.write_text("quiet bees")
    subprocess.run(
        [beectl, "keys", "generate", root, "--kind", "mesh-root", "--encrypt"],
        env={**os.environ, "BEEMESH_PASSPHRASE_FILE": str(secret)},
        check=True,
    )
    given = {"beemesh_root_key": root.read_text(), "beemesh_mesh_dir": str(mesh_dir), "beemesh_beectl": str(beectl)}
    root.unlink()
    playbook = beginning(tmp_path, "join-mesh")
    wrong = play(playbook, beemesh_passphrase="loud bees", **given)
    assert "wrong passphrase for this mesh-root key" in " ".join(wrong.stdout.split())
    assert not mesh_dir.exists()
    made = play(playbook, beemesh_passphrase="quiet bees", **given)
    assert made.returncode == 0, made.stdout
    assert (mesh_dir / "operator.key").is_file()
    assert not (mesh_dir / "root.key").exists()

    keys = tmp_path / "keys.yml"
    role = {"name": str(PLAYBOOKS.parent / "roles" / "keys")}
    variables = {
        "keys_mesh_dir": str(mesh_dir),
        "keys_beectl": str(beectl),
        "keys_state": str(state),
        "keys_address": "192.0.2.1",
        "keys_root_key": given["beemesh_root_key"],
        "keys_passphrase": "quiet bees",
    }
    tasks = [{"name": "Sign", "ansible.builtin.import_role": role}]
    keys.write_text(yaml.safe_dump([{"hosts": "one", "gather_facts": False, "vars": variables, "tasks": tasks}]))
    signed = play(keys)
    assert signed.returncode == 0, signed.stdout
    assert (state / "bundle").is_file()
    kept = [line for line in given["beemesh_root_key"].splitlines() if line]
    assert not [line for line in kept for done in (wrong, made, signed) if line in done.stdout + done.stderr]
    assert not list(tmp_path.rglob("root.key"))
