"""After the rotation: other keys everywhere, the same machines, the same containers, and nobody has noticed."""

import json
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from labs import scenario

MACHINES = ("ro-1", "ro-2", "ro-3")
KEPT = ("machine.key", "machine.cert", "trust.bundle")

testinfra_hosts = [f"podman://{scenario.PREFIX}{name}" for name in MACHINES]


@pytest.fixture
def before(notes: Path) -> Any:
    """What was noted before."""
    return json.loads(notes.read_text())


def test_every_machine_has_other_keys(host: Host, before: Any) -> None:
    now = [host.check_output("sha256sum /var/lib/beemesh/%s", name).split()[0] for name in KEPT]
    then = before["files"][host.check_output("hostname")]
    assert [name for name, one, other in zip(KEPT, now, then, strict=True) if one == other] == []


def test_they_are_the_same_machines_and_ready(before: Any) -> None:
    scenario.wait_for_machines(*MACHINES)
    assert {item["metadata"]["name"]: item["metadata"]["uid"] for item in scenario.items("machines")} == before["ids"]


def test_there_is_one_root_and_it_is_another(before: Any) -> None:
    standing = json.loads(scenario.beectl("mesh", "root", "status", "-o", "json"))
    assert [each["state"] for each in standing["roots"]] == ["signs"]
    assert standing["roots"][0]["id"] not in before["roots"]
    assert [each["name"] for each in standing["members"] if not each["renewed"]] == []
    assert standing["epoch"] > 1


def test_the_old_certificates_are_revoked_and_the_new_ones_are_not(before: Any) -> None:
    revoked = {item["spec"]["serial"] for item in scenario.items("revocations")}
    assert set(before["serials"]) - revoked == set()
    assert {scenario.serial(machine) for machine in MACHINES} & revoked == set()


def test_no_container_was_restarted(before: Any) -> None:
    running = scenario.containers("web", *MACHINES)
    assert sorted([each.machine, each.pod, each.started.isoformat()] for each in running) == before["running"]


def test_no_request_failed() -> None:
    figures = json.loads((scenario.directory() / "requests.json").read_text())
    print(figures)
    assert figures["asked"] > 100
    assert figures["failed"] == 0
    assert figures["passed_over"] == 0, "no endpoint moved: each has to answer"
