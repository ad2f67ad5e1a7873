"""A fleet and what happens to it. In the order of the file: each test goes on with what the one before left."""

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from labs import scenario
from labs.run import run

ROOT = Path(__file__).parents[3]
FIRST, MORE = ("fl-1", "fl-2", "fl-3"), ("fl-4", "fl-5", "fl-6")
INTERRUPTED = 99
"""Ansible's exit code after Ctrl-C."""
PATIENCE = 600.0
"""Seconds until a playbook is killed."""
KILLED = -signal.SIGKILL
STUCK = 2
"""How often Ansible may have to be killed after Ctrl-C: now and then it waits for a lock of a worker that it ended."""
STRIDE = int(os.environ.get("BEEMESH_FLEET_STRIDE", "10"))
"""Ctrl-C is pressed at every so many tasks; 1 is all of them, and takes hours."""


@dataclass(frozen=True)
class Played:
    """The outcome of a playbook."""

    code: int
    said: str

    @property
    def changed(self) -> list[str]:
        """The machines on which something was changed."""
        return re.findall(r"^(\S+) +: .* changed=[1-9]", self.said, re.MULTILINE)

    def tells(self, *words: str) -> bool:
        """Whether all the words stand in one message, however its lines are broken."""
        flat = " ".join(self.said.split())
        return all(word in flat for word in words)


def play(name: str, *arguments: str, **env: str) -> Played:
    """Run a playbook of the collection on the scenario's machines."""
    inventories = [ROOT / "labs" / "scenario.py", ROOT / "molecule" / "fleet" / "inventory" / "hosts.yml"]
    words = [part for inventory in inventories for part in ("--inventory", str(inventory))]
    with subprocess.Popen(
        ["ansible-playbook", *words, *arguments, str(ROOT / "playbooks" / f"{name}.yml")],
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1", **env},  # Molecule wants it coloured
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            said, _ = running.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            said, _ = running.communicate()
    (scenario.directory() / "last-play.log").write_text(said)
    return Played(running.returncode, said)


def sheds(machine: str) -> bool:
    """Whether nothing that makes it a member is on the machine."""
    return scenario.on(machine, "sh", "-c", "ls /var/lib/beemesh 2>/dev/null || true") == ""


def turn_clock(machine: str, by: str) -> None:
    """Have the clock of all programs that a machine starts from now on off, as "+1h"."""
    script = """library=$(ls /usr/lib/*/faketime/libfaketime.so.1)
    for setting in "LD_PRELOAD=$library" "FAKETIME=$1" FAKETIME_DONT_FAKE_MONOTONIC=1; do
        echo "$setting" >>/etc/environment
        all="$all $setting"
    done
    mkdir -p /etc/systemd/system.conf.d
    printf '[Manager]\\nDefaultEnvironment=%s\\n' "${all# }" >/etc/systemd/system.conf.d/clock.conf
    systemctl daemon-reexec"""
    scenario.on(machine, "sh", "-ec", script, "clock", by)


def test_a_check_changes_nothing() -> None:
    played = play("join-mesh", "--check", "--limit", "fl-1")
    assert played.code == 0, played.said
    assert played.changed == ["fl-1"]
    assert sheds("fl-1")
    assert not (scenario.directory() / "mesh").exists()


def test_three_join() -> None:
    played = play("join-mesh", "--limit", ",".join(FIRST))
    assert played.code == 0, played.said
    scenario.wait_for_machines(*FIRST)


def test_one_unreachable_one_without_room_one_with_a_wrong_clock() -> None:
    run(["podman", "kill", "--signal=KILL", "beemesh-fl-5"])
    scenario.on("fl-6", "sh", "-ec", "mkdir -p /opt/beemesh; mount -t tmpfs -o size=20m full /opt/beemesh")
    turn_clock("fl-4", "+1h")
    played = play("join-mesh")
    assert played.code != 0
    assert re.search(r"^fl-5 .* unreachable=1", played.said, re.MULTILINE), played.said
    assert played.tells("fl-6 has not joined", "MiB free for /opt/beemesh", "Put that right and run the playbook again")
    scenario.wait_for_machines(*FIRST, "fl-4")


def test_all_of_them_once_that_is_put_right() -> None:
    run(["podman", "start", "beemesh-fl-5"])
    scenario.on("fl-5", "sh", "-c", "systemctl is-system-running --wait || true")
    turn_clock("fl-5", "-1h")
    scenario.on("fl-6", "umount", "/opt/beemesh")
    played = play("join-mesh")
    assert played.code == 0, played.said
    assert sorted(played.changed) == ["fl-5", "fl-6"]
    scenario.wait_for_machines(*FIRST, *MORE)


def test_a_second_run_changes_nothing() -> None:
    assert play("join-mesh").changed == []
    assert play("join-mesh", "--check").changed == []


def test_a_wrong_passphrase_from_a_vault_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, vault = scenario.directory() / "mesh", tmp_path / "vault"
    vault.write_text("a vault's password\n")
    for name in ("right", "wrong"):
        (tmp_path / name).write_text(f"{name} bees\n")
        secrets = tmp_path / f"{name}.yml"
        secrets.write_text(f"beemesh_passphrase: {name} bees\n")
        run(["ansible-vault", "encrypt", "--vault-password-file", vault, secrets])
    monkeypatch.setenv("BEEMESH_NEW_PASSPHRASE_FILE", str(tmp_path / "right"))
    scenario.beectl("keys", "passphrase")
    before = {path.name: path.read_bytes() for path in mesh.iterdir() if path.is_file()}

    def join(name: str) -> Played:
        words = ("--vault-password-file", str(vault), "--extra-vars", f"@{tmp_path / name}.yml")
        return play("join-mesh", *words, "--limit", "fl-1")

    wrong, right = join("wrong"), join("right")
    assert wrong.code != 0
    assert wrong.tells("Nothing was changed:", "wrong passphrase for this mesh-root key")
    assert (right.code, right.changed) == (0, []), right.said
    assert [played for played in (wrong, right) if " bees" in played.said] == []
    assert {path.name: path.read_bytes() for path in mesh.iterdir() if path.is_file()} == before
    monkeypatch.setenv("BEEMESH_PASSPHRASE_FILE", str(tmp_path / "right"))
    scenario.beectl("keys", "passphrase", "--remove")


def test_a_check_of_leaving_changes_nothing() -> None:
    played = play("leave-mesh", "--check", "--extra-vars", "beemesh_leaving=fl-5,fl-6")
    assert played.code == 0, played.said
    scenario.wait_for_machines(*FIRST, *MORE)


def test_it_has_to_be_said_who_leaves() -> None:
    played = play("leave-mesh")
    assert played.code != 0
    assert played.tells("say which machines leave: -e beemesh_leaving=NAME,NAME")


def test_two_leave_and_their_work_goes_on() -> None:
    scenario.beectl("apply", "-f", str(ROOT / "molecule" / "failover" / "files" / "workload.yml"), "--wait")
    scenario.beectl("scale", "deployment/many", "--replicas", "6", "--wait")
    played = play("leave-mesh", "--extra-vars", "beemesh_leaving=fl-5,fl-6")
    assert played.code == 0, played.said
    scenario.wait_for_machines(*FIRST, "fl-4")
    scenario.wait_for_containers("many", 6, *FIRST, "fl-4", seconds=60)
    scenario.wait_for_containers("single", 1, *FIRST, "fl-4", seconds=60)
    for machine in ("fl-5", "fl-6"):
        assert sheds(machine)
        assert scenario.containers("many", machine) == []
    again = play("leave-mesh", "--extra-vars", "beemesh_leaving=fl-5,fl-6")
    assert (again.code, again.changed) == (0, []), again.said


@pytest.mark.parametrize(
    ("name", "arguments", "members"),
    [
        ("join-mesh", ("--limit", "fl-6"), (*FIRST, "fl-4", "fl-6")),
        ("leave-mesh", ("--extra-vars", "beemesh_leaving=fl-6"), (*FIRST, "fl-4")),
    ],
)
def test_ctrl_c_at_any_task(name: str, arguments: tuple[str, ...], members: tuple[str, ...]) -> None:
    env = {
        "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "molecule" / "fleet" / "callback_plugins"),
        "ANSIBLE_CALLBACKS_ENABLED": "interrupt",
    }
    number, stuck = STRIDE, 0
    while (played := play(name, *arguments, **env, INTERRUPT_AT=str(number))).code in (INTERRUPTED, KILLED):
        number += STRIDE
        stuck += played.code == KILLED
        assert stuck <= STUCK, played.said
    assert played.code == 0, played.said
    print(f"{name}: interrupted {number // STRIDE - 1} times")
    assert number > STRIDE
    assert play(name, *arguments).changed == []
    scenario.wait_for_machines(*members)


def test_a_reset_wants_the_name_of_the_mesh() -> None:
    played = play("reset", "--extra-vars", "beemesh_confirm=other")
    assert played.code != 0
    assert played.tells("Nothing was changed")
    scenario.wait_for_machines(*FIRST, "fl-4")


def test_a_reset_forgets_everything_but_the_root() -> None:
    played = play("reset", "--extra-vars", "beemesh_confirm=fleet")
    assert played.code == 0, played.said
    for machine in (*FIRST, *MORE):
        assert sheds(machine)
        assert scenario.on(machine, "podman", "ps", "--all", "--quiet") == ""
    assert (scenario.directory() / "mesh" / "root.key").exists()
    assert play("reset", "--extra-vars", "beemesh_confirm=fleet").changed == []
