"""What the playbook leaves on each machine, looked at on the machine itself."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from testinfra.host import Host

from labs import scenario

MACHINES = ("m-cloud", "m-onprem", "m-iot")
MESH = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "mesh"

NET_ADMIN = 12
MAY = {0, 1, 3, 4, 5, NET_ADMIN, 19}
"""CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, NET_ADMIN and SYS_PTRACE."""
STATUS = "import socket; s = socket.socket(1); s.connect('/run/beemesh/beemeshd.sock'); print(s.makefile().read())"

testinfra_hosts = [f"podman://beemesh-{name}" for name in MACHINES]


def capabilities(mask: str) -> set[int]:
    """The numbers in a set of /proc/PID/status."""
    return {number for number in range(64) if int(mask, 16) >> number & 1}


def test_the_daemon_runs_and_will_after_a_reboot(host: Host) -> None:
    service = host.service("beemeshd.service")
    assert service.is_running
    assert service.is_enabled


@pytest.mark.parametrize("name", ["machine.key", "network.key", "membership.json"])
def test_secrets_are_readable_by_the_daemon_alone(host: Host, name: str) -> None:
    secret = host.file(f"/var/lib/beemesh/{name}")
    assert (secret.user, secret.group, secret.mode) == ("beemesh", "beemesh", 0o600)


def test_nothing_that_is_the_daemons_belongs_to_root(host: Host) -> None:
    volumes = "-path '*/volumes/*' -o -path '*/pods/local/*/*'"
    assert host.check_output(f"find /var/lib/beemesh /run/beemesh \\( {volumes} \\) -prune -o -user root -print") == ""


def test_nobody_logs_in_as_the_daemon(host: Host) -> None:
    user = host.user("beemesh")
    assert user.uid < 1000
    assert (user.home, user.shell, user.groups) == ("/var/lib/beemesh", "/usr/sbin/nologin", ["beemesh"])


def test_the_daemon_is_no_root_and_holds_nothing_in_force(host: Host) -> None:
    pid = host.check_output("systemctl show --property MainPID --value beemeshd.service")
    status = dict(
        line.split(":", 1) for line in host.check_output("cat /proc/%s/status", pid).splitlines() if ":" in line
    )
    assert set(status["Uid"].split()) == {str(host.user("beemesh").uid)}
    assert set(status["Groups"].split()) <= {str(host.user("beemesh").gid)}
    sets = {name: capabilities(status[name]) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")}
    assert sets == {"CapEff": set(), "CapPrm": MAY, "CapBnd": MAY, "CapInh": {NET_ADMIN}, "CapAmb": {NET_ADMIN}}
    assert status["NoNewPrivs"].strip() == "1"
    threads = host.check_output("cat /proc/%s/task/*/status", pid)
    assert {line.split()[1] for line in threads.splitlines() if line.startswith("CapEff")} == {"0" * 16}


def test_podman_answers_the_daemon_and_nobody_else(host: Host) -> None:
    door = host.file("/run/beemesh-podman.sock")
    assert (door.user, door.group, door.mode) == ("root", "beemesh", 0o660)
    status = json.loads(host.check_output("python3 -c %s", STATUS))
    assert status["runtime"] == {"ready": True, "reason": ""}


def test_guards_work(host: Host) -> None:
    """The daemon has tried one: the kernel ended it in time."""
    door = host.file("/run/beemesh-guard/guard.sock")
    assert (door.user, door.mode) == ("beemesh", 0o600)
    assert host.file("/run/beemesh/pods/guards/works-door").exists


def test_nothing_that_was_for_joining_only_is_left(host: Host) -> None:
    assert not host.file("/var/lib/beemesh/bundle").exists
    assert not host.file("/var/lib/beemesh/pending.kem").exists


def test_private_keys_stayed_on_the_machine(host: Host) -> None:
    on_controller = {path.read_bytes() for path in MESH.rglob("*") if path.is_file()}
    assert host.file("/var/lib/beemesh/machine.key").content not in on_controller


def test_pods_cannot_reach_the_port_of_the_machines(host: Host) -> None:
    gateway = host.check_output("podman network inspect beemesh --format '{{(index .Subnets 0).Gateway}}'")
    pod = host.check_output("podman run --detach --rm --network beemesh localhost/beemesh-hello:latest")
    pid = host.check_output("podman inspect --format '{{.State.Pid}}' %s", pod)
    connect = f"timeout 2 bash -c '</dev/tcp/{gateway}/7400'"
    from_pod = host.run(f"nsenter --target {pid} --net {connect}")
    from_machine = host.run(connect)
    host.check_output("podman kill %s", pod)
    assert (from_machine.rc, from_pod.rc) == (0, 124)


def test_every_machine_is_a_ready_member() -> None:
    listed = subprocess.run(
        ["beectl", "--dir", str(MESH), "get", "machines", "-o", "json"], capture_output=True, text=True, check=True
    )
    ready = {
        machine["metadata"]["name"]
        for machine in json.loads(listed.stdout)["items"]
        for condition in machine["status"]["conditions"]
        if (condition["type"], condition["status"]) == ("Ready", "True")
    }
    assert ready == set(MACHINES)


def test_the_workload_answers() -> None:
    scenario.hello_answers(*MACHINES)
