"""Who is believed changes while a mesh runs: epochs, revocations, another root. Containers keep running."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.node.integration.grove import machines_of
from tests.node.integration.insider import Credentials, insider
from tests.node.integration.machine import Machine
from tests.node.integration.manifests import deployment
from tests.node.integration.mesh import Mesh
from tests.node.integration.segment import Segment
from tests.node.integration.waiting import until


class Copse(Mesh):
    """Machines ash, bay and yew; the tests of this file change who they are, one after the other."""

    ash: Machine
    bay: Machine
    yew: Machine

    def containers(self, *machines: Machine) -> dict[str, tuple[str, str]]:
        return {name: found for machine in machines for name, found in machine.containers().items()}


@pytest.fixture(scope="module")
def copse(segment: Segment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copse]:
    with Copse(tmp_path_factory.mktemp("copse"), segment, "copse") as mesh:
        mesh.ash, mesh.bay, mesh.yew = (mesh.add(name) for name in ("ash", "bay", "yew"))
        for machine in mesh.machines:
            known = [other.multiaddr for other in mesh.machines if other is not machine]
            machine.configure(bootstrap=known)
            machine.start_podman()
            machine.start()
        mesh.settle()
        mesh.admin.enter_by(*mesh.machines)
        yield mesh


def trust(machine: Machine) -> dict[str, Any]:
    status = machine.status()
    assert status is not None
    found: dict[str, Any] = status["trust"]
    return found


def agreed(copse: Copse, *machines: Machine) -> None:
    """Wait until these machines believe the same."""
    until(lambda: len({trust(machine)["digest"] for machine in machines}) == 1, "they believe the same")


def test_a_machine_that_was_away_during_two_epochs_returns(copse: Copse) -> None:
    copse.yew.stop()
    first = copse.admin.json("mesh", "rotate-epoch")
    assert (first["epoch"], first["changed"]) == (2, True)
    assert set(first["told"]) >= {"ash", "bay"}
    assert copse.admin.json("mesh", "rotate-epoch")["epoch"] == 3
    for machine in (copse.ash, copse.bay):
        machine.until(lambda status: status["trust"]["epoch"] == 3, "has the third epoch")
    assert not set(trust(copse.ash)) - set(trust(copse.bay))
    copse.yew.start()
    copse.yew.until(lambda status: status["trust"]["epoch"] == 3, "was given the third epoch")
    copse.settle()
    agreed(copse, *copse.machines)


def test_another_root_takes_over_and_no_container_is_restarted(copse: Copse) -> None:
    admin = copse.admin
    admin.apply(deployment("steady", 3))
    before = copse.containers(*copse.machines)
    assert len(before) == 3
    old = trust(copse.ash)["root"]

    added = admin.json("mesh", "root", "add")
    assert (added["changed"], added["bundle"], len(added["roots"])) == (True, 2, 2)
    assert admin.json("mesh", "root", "add")["changed"] is False
    assert {each["renewed"] for each in admin.json("mesh", "root", "status")["members"]} == {False}
    refused = admin.run("mesh", "root", "retire", code=1)
    assert "still under the old root: machine/ash, machine/bay, machine/yew" in refused.err

    copse.yew.stop()
    partly = admin.json("cert", "renew", "--all", code=1)
    assert {each["name"] for each in partly["renewed"]} >= {"ash", "bay"}
    assert set(partly["failed"]) == {"yew"}
    copse.yew.start()
    copse.settle()
    rest = admin.json("cert", "renew", "--all")
    assert [each["name"] for each in rest["renewed"]] == ["yew"]
    assert trust(copse.yew)["root"] == added["roots"][0] != old
    retired = admin.json("mesh", "root", "retire")
    assert (retired["changed"], retired["bundle"], retired["roots"]) == (True, 3, added["roots"][:1])
    for machine in copse.machines:
        machine.until(lambda status: status["trust"]["roots"] == added["roots"][:1], "has forgotten the old root")
    agreed(copse, *copse.machines)
    assert copse.containers(*copse.machines) == before

    assert admin.json("mesh", "info")["mesh_id"] == copse.id
    admin.run("scale", "deployment/steady", "--replicas", "4", "--timeout", "40s")
    until(lambda: len(copse.containers(*copse.machines)) == 4, "what was declared under the old root is still believed")
    after = copse.containers(*copse.machines)
    assert {name: after.get(name) for name in before} == before
    copse.ash.restart(signal.SIGTERM)
    copse.settle()
    assert copse.containers(*copse.machines) == after
    admin.delete("deployment/steady")


async def test_what_a_revoked_machine_says_is_refused_and_what_it_ran_runs_elsewhere(copse: Copse) -> None:
    pass
