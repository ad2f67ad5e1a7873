"""After the cut is mended: one mesh, and exactly as many replicas as are declared."""

import time

import pytest
from testinfra.host import Host

from labs import scenario

MACHINES = ("pa-1", "pa-2", "pa-3", "pa-4")
DRAINED = 30.0
"""Seconds within which what is too much has ended. It is a matter of a few on a quiet computer."""
CALM = 5.0
"""Seconds for which it has to stay so."""

testinfra_hosts = [f"podman://{scenario.PREFIX}{name}" for name in MACHINES]


def test_every_machine_sees_all_others(host: Host) -> None:
    scenario.wait_for_machines(*MACHINES)
    assert host.service("beemeshd.service").is_running


@pytest.mark.parametrize(("app", "number"), [("many", 2), ("left", 2), ("right", 2), ("single", 1)])
def test_exactly_as_many_run_as_are_declared(app: str, number: int) -> None:
    scenario.wait_for_containers(app, number, *MACHINES, seconds=DRAINED)
    end = time.monotonic() + CALM
    while time.monotonic() < end:
        assert len(scenario.containers(app, *MACHINES)) == number
