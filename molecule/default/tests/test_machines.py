"""What the playbook leaves on each machine, looked at on the machine itself."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from testinfra.host import Host

MACHINES = ("m-cloud", "m-onprem", "m-iot")
MESH = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "mesh"

testinfra_hosts = [f"podman://beemesh-{name}" for name in MACHINES]


def test_the_daemon_runs_and_will_after_a_reboot(host: Host) -> None:
    service = host.service("beemeshd.service")
    assert service.is_running
    assert service.is_enabled


@pytest.mark.parametrize("name", ["machine.key", "network.key", "membership.json"])
def test_secrets_are_readable_by_root_alone(host: Host, name: str) -> None:
    secret = host.file(f"/var/lib/beemesh/{name}")
    assert (secret.user, secret.mode) == ("root", 0o600)


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
