"""The machine is back: nothing runs twice, and nothing is missing."""

import time

import pytest
from testinfra.host import Host

from labs import scenario

MACHINES = ("fo-1", "fo-2", "fo-3")
CALM = 5.0
"""Seconds for which it has to stay so."""

testinfra_hosts = [f"podman://{scenario.PREFIX}{name}" for name in MACHINES]


def test_the_daemon_runs_on_every_machine(host: Host) -> None:
    scenario.wait_for_machines(*MACHINES)
    assert host.service("beemeshd.service").is_running


@pytest.mark.parametrize(("app", "number"), [("many", 3), ("single", 1)])
def test_exactly_as_many_run_as_are_declared(app: str, number: int) -> None:
    scenario.wait_for_containers(app, number, *MACHINES, seconds=60)
    end = time.monotonic() + CALM
    while time.monotonic() < end:
        assert len(scenario.containers(app, *MACHINES)) == number
