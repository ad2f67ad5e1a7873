"""Machines without a way to anything but each other: members all the same."""

import pytest
from testinfra.host import Host

from labs import scenario

MACHINES = ("ag-1", "ag-2", "ag-3")

testinfra_hosts = [f"podman://{scenario.PREFIX}{name}" for name in MACHINES]


def test_there_is_no_way_out(host: Host) -> None:
    assert host.check_output("ip route show default") == ""
    assert host.run("ip route get 192.0.2.1").rc != 0
    assert host.run("getent hosts example.org").rc != 0


def test_the_daemon_runs_and_will_after_a_reboot(host: Host) -> None:
    service = host.service("beemeshd.service")
    assert service.is_running
    assert service.is_enabled


@pytest.mark.parametrize("program", ["pip", "gcc", "cc"])
def test_no_tool_was_needed(host: Host, program: str) -> None:
    assert not host.exists(program)


def test_every_machine_is_ready() -> None:
    scenario.wait_for_machines(*MACHINES)


def test_the_workload_answers() -> None:
    scenario.hello_answers(*MACHINES)
