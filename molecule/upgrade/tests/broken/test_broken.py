"""A release that does not run: every machine has the old one, and is in use."""

from testinfra.host import Host

from labs import scenario

MACHINES = ("up-1", "up-2", "up-3")

testinfra_hosts = [f"podman://{scenario.PREFIX}{name}" for name in MACHINES]


def test_every_machine_runs_what_it_ran_and_keeps_nothing_else(host: Host) -> None:
    assert host.service("beemeshd.service").is_running
    assert "9.9.9" not in host.check_output("beemeshd version")
    assert not host.file("/opt/beemesh/upgrading").exists
    assert not host.file("/opt/beemesh/venv.old").exists


def test_every_machine_is_in_use() -> None:
    scenario.wait_for_machines(*MACHINES)
    assert [item["metadata"]["name"] for item in scenario.items("machines") if item["spec"].get("unschedulable")] == []
