"""Before anything happens: everything runs, spread over all machines."""

from labs import scenario

MACHINES = ("fo-1", "fo-2", "fo-3")


def test_every_machine_is_ready() -> None:
    scenario.wait_for_machines(*MACHINES)


def test_what_is_declared_runs() -> None:
    assert len(scenario.containers("single", *MACHINES)) == 1
    assert {each.machine for each in scenario.containers("many", *MACHINES)} == set(MACHINES)
