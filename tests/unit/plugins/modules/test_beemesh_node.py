# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""beemesh_node and beemesh_node_info, with a program in the place of beectl."""

from __future__ import annotations

import pytest
from ansible_collections.beemesh.mesh.plugins.modules import beemesh_node, beemesh_node_info

POD = {"namespace": "default", "pod": "web-x", "workload": "web"}


def node(closed=False, status="True", name="oak"):
    spec = {"unschedulable": True} if closed else {}
    conditions = [{"type": "Ready", "status": status, "message": "Podman does not answer"}]
    return {"kind": "Node", "metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions}}


class TestCordon:
    @pytest.mark.parametrize(
        ("state", "verb", "closed"), [("cordoned", "cordon", False), ("uncordoned", "uncordon", True)]
    )
    def test_changes_once(self, play, mesh, state, verb, closed):
        mesh.says("get", node(closed))
        mesh.says(verb, {"machines": [{"machine": "oak", "changed": True}]})
        answer = play(beemesh_node, name="oak", state=state)
        assert answer["changed"]
        assert answer["node"]["spec"]["unschedulable"] is not closed
        assert answer["diff"]["before"] == {"unschedulable": closed, "pods": []}
        assert answer["diff"]["after"] == {"unschedulable": not closed, "pods": []}
        assert mesh.words == ["get machines oak -o json", f"{verb} oak -o json"]
        mesh.says("get", node(not closed))
        assert not play(beemesh_node, name="oak", state=state)["changed"]

    def test_check_mode_only_looks(self, play, mesh):
        mesh.says("get", node())
        assert play(beemesh_node, check=True, name="oak", state="cordoned")["changed"]
        assert mesh.words == ["get machines oak -o json"]

    def test_waits_until_it_is_ready_again(self, play, mesh):
        mesh.says("uncordon", {"machines": []})
        mesh.says("get", node())
        mesh.says("get", node(status="False"), once=True)
        for _look in range(2):
            mesh.says("get", node(closed=True), once=True)
        answer = play(beemesh_node, name="oak", state="uncordoned", wait=True, wait_sleep=0, wait_timeout=30)
        assert answer["node"]["status"]["conditions"][0]["status"] == "True"
        assert len([words for words in mesh.words if "get" in words]) == 4

    def test_waits_until_the_mesh_knows_that_it_is_cordoned(self, play, mesh):
        mesh.says("cordon", {"machines": []})
        mesh.says("get", node(closed=True))
        for _look in range(2):
            mesh.says("get", node(), once=True)
        answer = play(beemesh_node, name="oak", state="cordoned", wait=True, wait_sleep=0, wait_timeout=30)
        assert (answer["changed"], answer["node"]["spec"]) == (True, {"unschedulable": True})
        assert len([words for words in mesh.words if "get" in words]) == 3
        mesh.says("get", node())
        late = play(beemesh_node, fails=True, name="oak", state="cordoned", wait=True, wait_timeout=0)
        assert "after 0 s not cordoned: machine oak" in late["msg"]

    def test_a_stranger_is_named(self, play, mesh):
        mesh.says("get", rc=1, err="error: not found: node/oak\n")
        assert "oak is no member" in play(beemesh_node, fails=True, name="oak", state="cordoned")["msg"]


class TestDrain:
    def test_tells_what_moved_and_where(self, play, mesh):
        mesh.says("get", node())
        mesh.says("drain", {"machine": "oak", "pods": [{**POD, "now": ["elm"]}]})
        mesh.says("--dry-run", {"pods": [POD], "dryRun": True})
        options = {"grace_period": 5, "force": True}
        answer = play(beemesh_node, name="oak", state="drained", wait_timeout=9, drain_options=options)
        assert answer["changed"]
        assert answer["pods"] == [{**POD, "now": ["elm"]}]
        assert answer["diff"]["before"]["pods"] == ["default/web-x"]
        assert mesh.words[-1] == "drain oak --timeout 9s --grace-period 5 --force -o json"

    def test_a_drained_machine_is_ok(self, play, mesh):
        mesh.says("get", node(closed=True))
        mesh.says("drain", {"machine": "oak", "pods": []})
        assert not play(beemesh_node, name="oak", state="drained")["changed"]

    def test_check_mode_tells_what_would_move(self, play, mesh):
        mesh.says("get", node(closed=True))
        mesh.says("drain", {"pods": [POD], "dryRun": True})
        answer = play(beemesh_node, check=True, name="oak", state="drained")
        assert (answer["changed"], answer["pods"]) == (True, [POD])
        assert all("--dry-run" in words for words in mesh.words if "drain" in words)

    def test_what_is_not_over_in_time_fails(self, play, mesh):
        mesh.says("get", node())
        mesh.says("drain", rc=4, err="error: node/oak: after 9 s not drained: default/web-x\n")
        mesh.says("--dry-run", {"pods": [POD]})
        answer = play(beemesh_node, fails=True, name="oak", state="drained")
        assert answer["reason"] == "timeout"
        assert "not drained" in answer["msg"]

    def test_options_of_a_drain_are_for_a_drain(self, play, mesh):
        play(beemesh_node, fails=True, name="oak", state="cordoned", drain_options={"force": True})
        assert mesh.calls == []


class TestLabels:
    def labelled(self, labels):
        return {**node(), "metadata": {"name": "oak", "labels": labels}}

    def says(self, mesh, before, after):
        mesh.says("get", self.labelled(before))
        mesh.says(
            "label", {"machines": [{"machine": "oak", "changed": before != after, "before": before, "labels": after}]}
        )

    def test_sets_and_removes(self, play, mesh):
        before, after = {"disk": "hdd", "old": "x", "site": "a"}, {"disk": "ssd", "rack": "7", "site": "a"}
        self.says(mesh, before, after)
        answer = play(beemesh_node, name="oak", labels={"disk": "ssd", "rack": 7, "old": None})
        assert mesh.words[0] == "label --overwrite -o json -- machine/oak disk=ssd rack=7 old-"
        assert (answer["changed"], answer["labels"], answer["node"]["metadata"]["labels"]) == (True, after, after)
        assert answer["diff"]["before"]["labels"] == {"disk": "hdd", "old": "x"}
        assert answer["diff"]["after"]["labels"] == {"disk": "ssd", "rack": "7"}
        assert "unschedulable" in answer["diff"]["before"]

    def test_a_second_run_is_ok(self, play, mesh):
        self.says(mesh, {"disk": "ssd"}, {"disk": "ssd"})
        answer = play(beemesh_node, name="oak", labels={"disk": "ssd", "old": None})
        assert not answer["changed"]
        assert answer["diff"]["before"] == answer["diff"]["after"]

    def test_check_mode_has_the_machine_say_what_would_be(self, play, mesh):
        self.says(mesh, {}, {"disk": "ssd"})
        answer = play(beemesh_node, check=True, name="oak", labels={"disk": "ssd"}, wait=True)
        assert (answer["changed"], answer["labels"], answer["node"]["metadata"]["labels"]) == (
            True,
            {"disk": "ssd"},
            {},
        )
        assert mesh.words[0] == "label --overwrite --dry-run -o json -- machine/oak disk=ssd"

    def test_waits_until_the_mesh_knows(self, play, mesh):
        self.says(mesh, {}, {"disk": "ssd"})
        mesh.says("get", self.labelled({"disk": "ssd"}))
        for _look in range(2):
            mesh.says("get", self.labelled({}), once=True)
        play(beemesh_node, name="oak", labels={"disk": "ssd", "old": None}, wait=True, wait_sleep=0, wait_timeout=30)
        assert len([words for words in mesh.words if "get" in words]) == 3
        mesh.says("get", self.labelled({"disk": "ssd", "old": "x"}))
        late = play(
            beemesh_node, fails=True, name="oak", labels={"disk": "ssd", "old": None}, wait=True, wait_timeout=0
        )
        assert "after 0 s not labelled so: machine oak" in late["msg"]

    @pytest.mark.parametrize(
        ("state", "first", "then"), [("uncordoned", "label", "uncordon"), ("ready", "get", "label")]
    )
    def test_goes_with_a_state(self, play, mesh, state, first, then):
        self.says(mesh, {}, {"disk": "ssd"})
        mesh.says("uncordon", {"machines": []})
        answer = play(beemesh_node, name="oak", state=state, labels={"disk": "ssd"})
        assert answer["changed"]
        assert (mesh.words[0].split()[0], mesh.words[-1].split()[0]) == (first, then)

    @pytest.mark.parametrize("labels", [{"ssd": True}, {"ssd": 1.5}, {"ssd": ["a"]}, {"a=b": "c"}, {"": "c"}])
    def test_what_yaml_made_something_else_of_is_no_label(self, play, mesh, labels):
        answer = play(beemesh_node, fails=True, name="oak", labels=labels)
        assert answer["reason"] == "invalid"
        assert mesh.calls == []

    def test_what_the_machine_refuses_fails_with_its_words(self, play, mesh):
        mesh.says("label", rc=2, err="error: node/oak: label class cannot be changed: it stands in the certificate\n")
        answer = play(beemesh_node, fails=True, name="oak", labels={"class": "iot"})
        assert (answer["reason"], answer["rc"]) == ("invalid", 2)
        assert "it stands in the certificate" in answer["msg"]

    def test_something_has_to_be_asked_for(self, play, mesh):
        answer = play(beemesh_node, fails=True, name="oak")
        assert "one of the following is required: state, labels" in answer["msg"]


class TestReady:
    def test_waits_and_says_why_it_waited_in_vain(self, play, mesh):
        mesh.says("get", node(status="False"))
        answer = play(beemesh_node, fails=True, name="oak", state="ready", wait_timeout=1, wait_sleep=1)
        assert answer["reason"] == "timeout"
        assert "Ready is False (Podman does not answer)" in answer["msg"]
        mesh.says("get", node())
        assert not play(beemesh_node, name="oak", state="ready")["changed"]


class TestInfo:
    def test_lists_and_selects(self, play, mesh):
        mesh.says("get", {"kind": "List", "items": [node(), node(name="elm")]})
        answer = play(beemesh_node_info, label_selectors=["class=iot", "region!=eu"])
        assert [each["metadata"]["name"] for each in answer["resources"]] == ["oak", "elm"]
        assert mesh.words == ["get machines -l class=iot,region!=eu -o json"]
        mesh.says("get", rc=1, err="error: not found: node/fir\n")
        assert play(beemesh_node_info, name="fir")["resources"] == []

    def test_waits_for_all_of_them(self, play, mesh):
        mesh.says("get", {"kind": "List", "items": [node(), node(name="elm", status="Unknown")]})
        answer = play(beemesh_node_info, fails=True, wait=True, wait_timeout=1, wait_sleep=1)
        assert "elm: Ready is Unknown" in answer["msg"]
        assert len(answer["resources"]) == 2
