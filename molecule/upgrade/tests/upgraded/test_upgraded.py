"""After the upgrade: the new release everywhere, and nobody has noticed."""

import json

from testinfra.host import Host

from labs import scenario

MACHINES = ("up-1", "up-2", "up-3")

PASSED_OVER = 20
"""Requests at most that came to an endpoint which had ended since the client last looked, about once a second.

Usual is none. Twenty is all that it asks in one second: more means that endpoints end unannounced."""

testinfra_hosts = [f"podman://{scenario.PREFIX}{name}" for name in MACHINES]


def test_every_machine_runs_the_new_release(host: Host) -> None:
    assert host.service("beemeshd.service").is_running
    assert "9.9.9" in host.check_output("beemeshd version")
    assert not host.file("/opt/beemesh/upgrading").exists


def test_every_machine_is_in_use_and_says_its_release() -> None:
    scenario.wait_for_machines(*MACHINES)
    found = scenario.items("machines")
    assert [item["metadata"]["name"] for item in found if item["spec"].get("unschedulable")] == []
    assert {item["status"]["nodeInfo"]["kubeletVersion"] for item in found} == {"9.9.9"}


def test_no_request_failed() -> None:
    figures = json.loads((scenario.directory() / "requests.json").read_text())
    print(figures)
    assert figures["asked"] > 100
    assert figures["failed"] == 0
    assert figures["passed_over"] <= PASSED_OVER
