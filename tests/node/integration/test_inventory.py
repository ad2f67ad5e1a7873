"""A live mesh as an inventory, and a member that the collection has it forget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.node.integration.machine import Machine
from tests.node.integration.manifests import deployment
from tests.node.integration.mesh import BEECTL, Mesh
from tests.node.integration.project import Project
from tests.node.integration.segment import Segment
from tests.node.integration.waiting import until


@pytest.fixture
def project(segment: Segment, tmp_path: Path) -> Any:
    """A project, and two machines of a mesh with their Podmans."""
    with Mesh(tmp_path / "mesh", segment, "inv") as mesh:
        near: Machine = mesh.add("inv-near", "--label", "region=near")
        far: Machine = mesh.add("inv-far", "--label", "region=far", "--no-guardian")
        for machine in (near, far):
            machine.start_podman()
            machine.start()
        mesh.settle()
        yield Project(tmp_path / "project", mesh.admin.enter_by(near)), mesh


def test_what_the_mesh_knows_is_an_inventory_and_whom_it_forgets_is_gone(project: tuple[Project, Mesh]) -> None:
    made, mesh = project
    wanted = deployment("listed", 1)
    wanted["spec"]["template"]["spec"]["nodeSelector"] = {"region": "far"}
    mesh.admin.apply(wanted)
    made.write(
        "live.beemesh.yml",
        json.dumps(
            {
                "plugin": "beemesh.mesh.beemesh",
                "beectl": BEECTL,
                "dir": str(mesh.root),
                "strict": True,
                "keyed_groups": [{"key": "beemesh_labels['region']", "prefix": "region"}],
            }
        ),
    )
    listed = inventory(made)
    hosts = listed["_meta"]["hostvars"]
    assert {name: each["beemesh_id"] for name, each in hosts.items()} == {each.name: each.id for each in mesh.machines}
    assert {each["beemesh_state"] for each in hosts.values()} == {"ready"}
    assert hosts["inv-near"]["ansible_host"] == mesh.machines[0].address
    for group, members in {
        "beemesh_ready": {"inv-near", "inv-far"},
        "beemesh_guardian": {"inv-near"},
        "region_far": {"inv-far"},
        "beemesh_workload_default_listed": {"inv-far"},
    }.items():
        assert set(listed[group]["hosts"]) == members
    assert [each["workload"] for each in hosts["inv-far"]["beemesh_pods"]] == ["listed"]

    *_, revoke = made.examples("beemesh_certificate")
    module = "beemesh.mesh.beemesh_certificate"
    revoke = {**revoke, module: {**revoke[module], "dir": str(mesh.root), "name": "inv-far"}}
    played = made.play([{**revoke, "check_mode": True}, revoke, revoke])
    planned, done, again = (each["result"] for each in played.results)
    assert [each["changed"] for each in (planned, done, again)] == [True, True, False]
    assert [each["name"] for each in planned["revoked"]] == ["inv-far"]
    assert [each["name"] for each in done["exposed"]] == ["listed"]
    until(lambda: "inv-far" not in inventory(made).get("beemesh_ready", {}).get("hosts", ()), "it is forgotten")


def inventory(project: Project) -> dict[str, Any]:
    """What `ansible-inventory --list` shows; it marks text that is never to be taken for a template."""
    done = project.run("ansible-inventory", "-i", "live.beemesh.yml", "--list")
    assert done.returncode == 0, done.stderr
    listed: dict[str, Any] = json.loads(done.stdout, object_hook=lambda each: each.get("__ansible_unsafe", each))
    return listed
