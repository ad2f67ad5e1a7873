# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin, run by Ansible's own inventory manager, with a program in the place of beectl."""

from __future__ import annotations

import json
import stat
import sys

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible_collections.beemesh.mesh.plugins.inventory import beemesh as plugin


def node(name, uid, *, ready="True", arch="amd64", cpu="4", labels=None, cordoned=False, addresses=("192.0.2.7",)):
    shape = {
        "metadata": {"name": name, "uid": uid, "labels": {"kubernetes.io/arch": arch, **(labels or {})}},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "conditions": [{"type": "Ready", "status": ready, "message": f"it is {ready}"}],
            "addresses": [
                *({"type": "InternalIP", "address": address} for address in addresses),
                {"type": "Hostname", "address": name},
            ],
        },
    }
    if ready != "Unknown":
        shape["status"]["nodeInfo"] = {"architecture": arch, "containerRuntimeVersion": "podman://5.4.2"}
        shape["status"]["allocatable"] = {"cpu": cpu, "memory": "8Gi"}
    return shape


def pod(name, machine, *, namespace="default", workload="hello", kind="Deployment"):
    owners = [] if kind == "Pod" else [{"kind": kind, "name": workload}]
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": workload}, "ownerReferences": owners},
        "spec": {"nodeName": machine},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


NODES = [
    node("cloud-1", "a" * 32, labels={"topology.kubernetes.io/region": "eu"}),
    node("sensor-1", "b" * 32, arch="arm64", cpu="500m", cordoned=True, addresses=("198.51.100.9",)),
    node("sensor-2", "c" * 32, ready="Unknown", addresses=()),
]
PODS = [
    pod("hello-1", "cloud-1"),
    pod("hello-2", "cloud-1"),
    pod("till-0", "sensor-1", namespace="shop", workload="till", kind="StatefulSet"),
]


@pytest.fixture
def beectl(tmp_path):
    """A program that answers with what lies in files beside it, and notes what it was asked."""
    program = tmp_path / "beectl"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, pathlib, sys\n"
        "place = pathlib.Path(__file__).parent\n"
        "with (place / 'asked').open('a') as notes:\n"
        "    notes.write(json.dumps([sys.argv[1:], os.environ.get('BEEMESH_PASSPHRASE_FILE')]) + '\\n')\n"
        "if sys.argv[1] == 'version':\n"
        "    sys.exit(print(json.dumps({'clientVersion': {'beectl': '0.1.0'}})))\n"
        "resource = sys.argv[sys.argv.index('get') + 1]\n"
        "answer = json.loads((place / resource).read_text())\n"
        "sys.stderr.write(answer.get('stderr', ''))\n"
        "sys.stdout.write(answer.get('stdout', ''))\n"
        "sys.exit(answer.get('code', 0))\n"
    )
    program.chmod(stat.S_IRWXU)

    class Beectl:
        path = str(program)

        @staticmethod
        def answers(resource, items=(), **said):
            said.setdefault("stdout", json.dumps({"kind": "List", "items": list(items)}))
            (tmp_path / resource).write_text(json.dumps(said))

        @staticmethod
        def asked():
            notes = tmp_path / "asked"
            lines = notes.read_text().splitlines() if notes.exists() else []
            return [each for each in map(json.loads, lines) if each[0][0] != "version"]

    Beectl.answers("machines", NODES)
    Beectl.answers("pods", PODS)
    return Beectl


@pytest.fixture
def inventory(tmp_path, beectl):
    """Make the inventory that a configuration gives."""

    def make(**options):
        path = tmp_path / "test.beemesh.yml"
        path.write_text(yaml.safe_dump({"plugin": "beemesh.mesh.beemesh", "beectl": beectl.path, **options}))
        return InventoryManager(loader=DataLoader(), sources=[str(path)])

    return make


def hosts(made, group):
    return sorted(host.name for host in made.groups[group].get_hosts()) if group in made.groups else []


def variables(made, host):
    return made.get_host(host).get_vars()


def test_machines_become_hosts_with_what_the_mesh_knows_of_them(inventory):
    made = inventory()
    assert hosts(made, "beemesh") == ["cloud-1", "sensor-1", "sensor-2"]
    cloud = variables(made, "cloud-1")
    assert cloud["ansible_host"] == "192.0.2.7"
    assert cloud["beemesh_id"] == "a" * 32
    assert cloud["beemesh_labels"]["topology.kubernetes.io/region"] == "eu"
    assert cloud["beemesh_podman_version"] == "5.4.2"
    assert (cloud["beemesh_cpu"], cloud["beemesh_memory"]) == ("4", "8Gi")
    assert [each["name"] for each in cloud["beemesh_pods"]] == ["hello-1", "hello-2"]
    assert cloud["beemesh_pods"][0] == {
        "namespace": "default", "name": "hello-1", "kind": "Deployment", "workload": "hello", "phase": "Running",
        "ready": True, "labels": {"app": "hello"},
    }  # fmt: skip


def test_groups_by_state_architecture_and_workload(inventory):
    made = inventory()
    assert hosts(made, "beemesh_ready") == ["cloud-1", "sensor-1"]
    assert hosts(made, "beemesh_unknown") == ["sensor-2"]
    assert hosts(made, "beemesh_cordoned") == ["sensor-1"]
    assert hosts(made, "beemesh_arch_arm64") == ["sensor-1"]
    assert hosts(made, "beemesh_workload_default_hello") == ["cloud-1"]
    assert hosts(made, "beemesh_workload_shop_till") == ["sensor-1"]


def test_a_machine_nobody_has_heard_of_has_no_address_and_no_architecture(inventory):
    silent = variables(inventory(), "sensor-2")
    assert "ansible_host" not in silent
    assert silent["beemesh_state"] == "unknown"
    assert silent["beemesh_message"] == "it is Unknown"
    assert silent["beemesh_arch"] == ""


@pytest.mark.parametrize(("kind", "expected"), [("external", "203.0.113.5"), ("internal", "192.0.2.7"), ("none", None)])
def test_which_address_becomes_that_of_the_host(inventory, beectl, kind, expected):
    several = node("one", "d" * 32)
    several["status"]["addresses"].append({"type": "ExternalIP", "address": "203.0.113.5"})
    beectl.answers("machines", [several])
    assert variables(inventory(host_address=kind), "one").get("ansible_host") == expected


def test_of_two_machines_with_one_name_the_ready_one_keeps_it(inventory, beectl):
    beectl.answers("machines", [node("cloud-1", "0" * 32, ready="Unknown"), node("cloud-1", "f" * 32)])
    made = inventory()
    assert variables(made, "cloud-1")["beemesh_id"] == "f" * 32
    assert variables(made, "cloud-1-00000000")["beemesh_pods"] == []


def test_what_is_asked(inventory, beectl, tmp_path):
    inventory(dir="mesh", selector="class=edge", namespaces=["shop", "till"], passphrase_file="secret")
    told = str(tmp_path / "secret")
    common = ["--dir", str(tmp_path / "mesh")]
    assert beectl.asked() == [
        [[*common, "get", "machines", "-l", "class=edge", "-o", "json"], told],
        [[*common, "-n", "shop", "get", "pods", "-o", "json"], told],
        [[*common, "-n", "till", "get", "pods", "-o", "json"], told],
    ]


def test_without_workloads_pods_are_not_asked_for(inventory, beectl):
    made = inventory(workloads=False, context="home")
    assert [words for words, _secret in beectl.asked()] == [["--context", "home", "get", "machines", "-o", "json"]]
    assert variables(made, "cloud-1")["beemesh_pods"] == []


def test_the_examples_of_the_documentation(inventory, beectl, tmp_path):
    home, edge = yaml.safe_load_all(plugin.EXAMPLES)
    assert hosts(inventory(**{**home, "beectl": beectl.path}), "beemesh") == ["cloud-1", "sensor-1", "sensor-2"]
    edge["cache_connection"] = str(tmp_path / "cache")
    beectl.answers("machines", NODES[:2])
    made = inventory(**{**edge, "beectl": beectl.path})
    assert hosts(made, "region_eu") == ["cloud-1"]
    assert hosts(made, "region_nowhere") == ["sensor-1"]
    assert hosts(made, "small") == ["sensor-1"]
    assert hosts(made, "runs_shop") == ["sensor-1"]
    assert variables(made, "sensor-1")["ansible_user"] == "pi"


def test_the_cache_answers_only_the_question_it_was_filled_with(inventory, beectl, tmp_path, monkeypatch):
    cached = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    first = inventory(**cached)
    questions = len(beectl.asked())
    again = inventory(**cached)
    assert len(beectl.asked()) == questions
    assert variables(again, "cloud-1") == variables(first, "cloud-1")
    monkeypatch.setenv("BEEMESH_DIR", "/another/mesh")
    inventory(**cached)
    assert len(beectl.asked()) == 2 * questions


def parse(plugin_options, tmp_path):
    """Run the plugin itself, so that its error is not turned into a warning."""
    from ansible.inventory.data import InventoryData
    from ansible.plugins.loader import inventory_loader

    path = tmp_path / "wrong.beemesh.yml"
    path.write_text(yaml.safe_dump({"plugin": "beemesh.mesh.beemesh", **plugin_options}))
    loaded = inventory_loader.get("beemesh.mesh.beemesh")
    loaded.parse(InventoryData(), DataLoader(), str(path), cache=False)


def test_a_missing_beectl_is_said_with_the_next_step(tmp_path):
    with pytest.raises(Exception, match=r"/nowhere/beectl is not there .* BEEMESH_BEECTL"):
        parse({"beectl": "/nowhere/beectl"}, tmp_path)


def test_what_beectl_says_is_passed_on(beectl, tmp_path):
    beectl.answers("machines", stdout="", stderr="error: no machine answers\n", code=1)
    with pytest.raises(Exception, match="no machine answers"):
        parse({"beectl": beectl.path}, tmp_path)


def test_a_machine_that_does_not_answer_is_a_warning(inventory, beectl, monkeypatch):
    warned = []
    monkeypatch.setattr("ansible.utils.display.Display.warning", lambda self, text, **_: warned.append(text))
    beectl.answers("machines", NODES, stderr="Warning: no answer from sensor-2\n")
    assert hosts(inventory(), "beemesh") == ["cloud-1", "sensor-1", "sensor-2"]
    assert "no answer from sensor-2" in warned


def test_an_answer_that_is_no_json_is_refused(beectl, tmp_path):
    beectl.answers("pods", stdout="no json")
    with pytest.raises(Exception, match="did not answer with JSON"):
        parse({"beectl": beectl.path}, tmp_path)


def test_names_of_files():
    made = plugin.InventoryModule()
    assert not made.verify_file("/nowhere/home.beemesh.yml")
    assert not made.verify_file(__file__)


def test_strict_refuses_what_cannot_be_composed(inventory, beectl, tmp_path):
    broken = {"beectl": beectl.path, "compose": {"ansible_user": "no_such_variable"}}
    assert "ansible_user" not in variables(inventory(**broken), "cloud-1")
    with pytest.raises(Exception, match="Could not set ansible_user for host cloud-1"):
        parse({**broken, "strict": True}, tmp_path)
