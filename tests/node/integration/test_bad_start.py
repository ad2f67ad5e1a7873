"""`beemeshd run` that cannot run says so in one line, with an exit code, and leaves what it found as it was."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from beemesh_node.daemon.state_key import state_key
from beemesh_node.daemon.store import FACTS, Store
from tests.node.integration.machine import BEEMESHD, ROOT, Machine
from tests.node.integration.mesh import Mesh, Ran
from tests.node.integration.segment import Segment


@pytest.fixture(scope="module")
def mesh_of_one(segment: Segment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh whose machines never run."""
    with Mesh(tmp_path_factory.mktemp("bad"), segment, "bad") as mesh:
        yield mesh


@pytest.fixture
def machine(mesh_of_one: Mesh, request: pytest.FixtureRequest) -> Machine:
    machine = mesh_of_one.add(f"bad{len(mesh_of_one.machines)}", run=False)
    machine.configure(listen=["/ip4/127.0.0.1/tcp/0"])
    return machine


def run(machine: Machine, **environment: str) -> Ran:
    config = machine.directory / "beemeshd.yaml"
    done = subprocess.run(
        [*BEEMESHD, "run", "--config", str(config)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def told(ran: Ran, code: int) -> str:
    """The only line that it printed."""
    assert ran.code == code, ran
    assert ran.out == ""
    lines = [line for line in ran.err.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, ran.err
    return lines[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("listen: 7400\n", "Expected `array`"),
        ("listen: [\n", "not YAML"),
    ],
)
def test_a_configuration_that_cannot_be_used(machine: Machine, text: str, words: str) -> None:
    (machine.directory / "beemeshd.yaml").write_text(text)
    ran = run(machine)
    assert ran.code == 2
    assert words in ran.err
    assert str(machine.directory / "beemeshd.yaml") in ran.err
    assert "Traceback" not in ran.err


def test_a_configuration_that_is_not_there(machine: Machine) -> None:
    (machine.directory / "beemeshd.yaml").unlink()
    assert "No such file" in told(run(machine), 2)


def test_a_variable_that_cannot_be_used(machine: Machine) -> None:
    assert "log.level" in told(run(machine, BEEMESHD_LOG__LEVEL="loud"), 2)


def test_an_address_that_cannot_be_listened_on(machine: Machine) -> None:
    machine.configure(listen=["/ip4/192.0.2.77/tcp/33001"])
    assert "192.0.2.77" in told(run(machine), 1)
    machine.configure(listen=["nonsense"])
    assert "nonsense" in told(run(machine), 1)


def test_a_local_socket_of_something_else(machine: Machine) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(machine.local_socket))
        other.listen(1)
        assert "is served by another process" in told(run(machine), 1)
    machine.local_socket.unlink()
    machine.local_socket.write_text("mine")
    assert "exists and is no socket" in told(run(machine), 1)
    assert machine.local_socket.read_text() == "mine"


def test_a_machine_that_has_not_joined(machine: Machine) -> None:
    (machine.state / "machine.cert").unlink()
    assert "belongs to no mesh yet: `beemeshd keys generate`" in told(run(machine), 1)


def test_keys_of_another_machine(mesh_of_one: Mesh, machine: Machine) -> None:
    other = mesh_of_one.add(f"bad{len(mesh_of_one.machines)}", run=False)
    shutil.copy(other.state / "machine.key", machine.state / "machine.key")
    line = told(run(machine), 1)
    assert str(machine.state) in line
    assert "machine.cert is for other keys than those in machine.key" in line


def test_the_state_of_another_machine(mesh_of_one: Mesh, machine: Machine) -> None:
    other = mesh_of_one.add(f"bad{len(mesh_of_one.machines)}", run=False)
    key, _ = state_key(machine.state)
    Store(machine.state / "state.db", key).write({(FACTS, "clock"): b"1"})
    (machine.state / "state.key").unlink(missing_ok=True)
    (machine.state / "state.cred").unlink(missing_ok=True)
    state_key(other.state)
    for found in other.state.glob("state.*"):
        shutil.copy(found, machine.state)
    line = told(run(machine), 1)
    assert "state.db" in line
    assert "does not open with this machine's state key" in line


def test_a_state_directory_that_is_damaged(machine: Machine) -> None:
    (machine.state / "membership.json").write_text(json.dumps({"mesh_id": 5}))
    line = told(run(machine), 1)
    assert str(machine.state) in line
    assert "join this machine anew" in line
