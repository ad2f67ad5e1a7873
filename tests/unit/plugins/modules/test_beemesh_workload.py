# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""beemesh_workload, with a program in the place of beectl."""

from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.beemesh.mesh.plugins.modules import beemesh_workload as module

SECRET = "swordfish-42"
WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "containers": [{"name": "web", "image": "web:1", "envFrom": [{"secretRef": {"name": "keys"}}]}],
            }
        },
    },
}
KEYS = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"token": SECRET}}
OTHER = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "job", "labels": {"app": "job"}}, "spec": {}}


def told(name="web", action="created", kind="Deployment", **more):
    facts = {"action": action, "changed": action != "unchanged", "kind": kind, "namespace": "default", "name": name}
    return {**facts, "uid": "u-" + name, "object": {"kind": kind, "metadata": {"name": name}}, **more}


def facts(*results, warnings=()):
    return {
        "changed": any(result["changed"] for result in results),
        "results": list(results),
        "warnings": list(warnings),
    }


def sent(mesh, number=-1):
    """The documents that a call brought."""
    return [json.loads(text) for text in mesh.calls[number]["stdin"].split("\n---\n")]


def placed(*machines, predicted=False):
    return [{"slot": slot, "machine": name, "predicted": predicted} for slot, name in enumerate(machines)]


class TestPresent:
    def test_tells_what_was_done_and_where_it_runs(self, play, mesh):
        mesh.says("apply", facts(told(readyReplicas=2, replicas=2, placement=placed("oak", "elm"), diff="+a\n")))
        answer = play(module, definition=[WEB, KEYS], wait=True, wait_timeout=7, dir="/mesh")
        assert (answer["changed"], answer["method"], answer["replicas_ready"]) == (True, "create", 2)
        assert [each["machine"] for each in answer["placement"]] == ["oak", "elm"]
        assert answer["result"]["kind"] == "Deployment"
        assert answer["diff"] == {"prepared": "+a\n"}
        assert mesh.words == ["--dir /mesh apply -f - --wait --timeout 7s -o json"]
        assert [document["kind"] for document in sent(mesh)] == ["Deployment", "Secret"]

    def test_what_is_live_already_is_ok(self, play, mesh):
        mesh.says("apply", facts(told(action="unchanged", readyReplicas=2)))
        answer = play(module, definition=WEB)
        assert (answer["changed"], answer["method"]) == (False, "none")

    def test_waits_unless_told_not_to(self, play, mesh):
        mesh.says("apply", facts(told()))
        mesh.says("delete", facts(told(action="deleted")))
        for options, waits in (({}, True), ({"wait": True}, True), ({"wait": False}, False)):
            play(module, definition=WEB, **options)
            assert ("--wait" in mesh.calls[-1]["words"]) == waits
        play(module, definition=WEB, state="absent")
        assert "--wait" not in mesh.calls[-1]["words"]

    @pytest.mark.parametrize("check", [False, True])
    @pytest.mark.parametrize("action", ["unchanged", "configured"])
    def test_what_stands_as_failed_is_not_ok_without_waiting_either(self, play, mesh, action, check):
        failed = told(action=action, failure="web-1: CrashLoopBackOff: ends at once", readyReplicas=0)
        mesh.says("apply", facts(told("other", "unchanged"), failed))
        answer = play(module, fails=action == "unchanged", definition=WEB, wait=False, check=check)
        assert answer["changed"] == (action != "unchanged")
        assert len(answer["results"]) == 2
        if action == "unchanged":
            assert "Deployment default/web is as declared and stands as failed: web-1: CrashLoop" in answer["msg"]
            assert answer["reason"] == "failed"

    def test_check_mode_only_tries(self, play, mesh):
        mesh.says("apply", facts(told(placement=placed("oak", predicted=True), waiting=1, message="3 lack memory")))
        answer = play(module, check=True, definition=WEB, wait=True, force=True)
        assert answer["changed"]
        assert answer["placement"] == placed("oak", predicted=True)
        assert (answer["results"][0]["waiting"], answer["replicas_ready"]) == (1, 0)
        assert "--dry-run=server" in mesh.words[0]
        assert "--wait" not in mesh.words[0]

    def test_who_waits_in_vain_fails_and_is_told_what_there_is(self, play, mesh):
        mesh.says("apply", facts(told(readyReplicas=1, placement=placed("oak"))), rc=4, err="error: after 7 s 1 of 2\n")
        answer = play(module, fails=True, definition=WEB, wait=True)
        assert (answer["reason"], answer["rc"], answer["msg"]) == ("timeout", 4, "after 7 s 1 of 2")
        assert (answer["changed"], answer["replicas_ready"]) == (True, 1)

    @pytest.mark.parametrize(("rc", "reason"), [(1, "failed"), (2, "invalid"), (3, "not_allowed"), (4, "timeout")])
    def test_exit_codes_are_reasons(self, play, mesh, rc, reason):
        mesh.says("apply", rc=rc, err="Warning: careful\nerror: no\n  because\n")
        answer = play(module, fails=True, definition=WEB)
        assert (answer["reason"], answer["msg"]) == (reason, "no\n  because")

    def test_names_and_namespaces_are_filled_in(self, play, mesh):
        mesh.says("apply", facts(told()))
        play(module, definition={"spec": {}}, kind="Deployment", name="web", namespace="shop")
        expected = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}}
        assert sent(mesh) == [{**expected, "spec": {}}]
        assert "-n" not in mesh.calls[0]["words"], "a manifest may name its own"

    def test_only_what_is_selected_goes_with_what_it_uses(self, play, mesh):
        mesh.says("apply", facts(told()))
        play(module, definition=[OTHER, KEYS, WEB], label_selectors=["app in (web, shop)", "!test"])
        assert [document["metadata"]["name"] for document in sent(mesh)] == ["web", "keys"]
        assert not play(module, definition=[OTHER], label_selectors=["app!=job"])["changed"]
        assert len(mesh.calls) == 1

    def test_a_hash_of_the_content_is_put_behind_names(self, play, mesh):
        mesh.says("apply", facts(told()))
        names = []
        for value in (SECRET, SECRET, "other-secret"):
            play(module, definition=[WEB, {**KEYS, "stringData": {"token": value}}], append_hash=True)
            web, keys = sent(mesh)
            (used,) = web["spec"]["template"]["spec"]["containers"][0]["envFrom"]
            assert used["secretRef"]["name"] == keys["metadata"]["name"]
            names.append(keys["metadata"]["name"])
        assert names[0] == names[1] != names[2]
        assert names[0].startswith("keys-")

    def test_with_continue_on_error_each_has_its_turn_and_the_task_fails(self, play, mesh):
        mesh.says("apply", facts(told("job", kind="Pod")))
        mesh.says("apply", rc=2, err="error: spec is wrong\n", once=True)
        answer = play(module, fails=True, definition=[WEB, KEYS, OTHER], continue_on_error=True)
        assert "1 of 2 workloads failed" in answer["msg"]
        assert [(each["name"], each.get("error", {}).get("reason")) for each in answer["results"]] == [
            ("web", "invalid"),
            ("job", None),
        ]
        assert [len(sent(mesh, number)) for number in (0, 1)] == [2, 1], "the Secret goes with who uses it"
        assert answer["changed"]

    @pytest.mark.parametrize("taken", [False, True])
    def test_who_has_the_name_in_another_namespace_is_not_blamed(self, play, mesh, taken):
        elsewhere = {**copy.deepcopy(WEB), "metadata": {"name": "web", "namespace": "shop"}}
        late = {**told(readyReplicas=1), "namespace": "shop"}
        mesh.says("apply", facts(late) if taken else "", rc=4, err="error: after 7 s 1 of 2\n")
        mesh.says("apply", facts(told(readyReplicas=2)), once=True)
        answer = play(module, fails=True, definition=[WEB, elsewhere], continue_on_error=True)
        assert [(each["namespace"], each.get("error", {}).get("reason")) for each in answer["results"]] == [
            ("default", None),
            ("shop", "timeout"),
        ]

    def test_validate_looks_at_all_of_it_first(self, play, mesh):
        mesh.says("apply", rc=2, err="error: spec is wrong\n")
        play(module, fails=True, definition=[WEB, KEYS, OTHER], continue_on_error=True, validate=True)
        assert mesh.words == ["apply -f - --dry-run=client -o json"]
        assert len(sent(mesh)) == 3

    def test_force_waits_for_what_it_ends(self, play, mesh):
        mesh.says("apply", facts(told(action="replaced")))
        assert play(module, definition=WEB, force=True, wait=False, wait_timeout=9)["method"] == "replace"
        assert "--force --timeout 9s" in mesh.words[0]

    def test_without_apply_what_is_there_is_patched(self, play, mesh):
        mesh.says("get", {"kind": "Deployment", "metadata": {"name": "web"}})
        mesh.says("patch", facts(told(action="patched")))
        assert play(module, definition=WEB, apply=False)["method"] == "patch"
        mesh.says("get", rc=1, err="error: not found in namespace default: deployments/web\n")
        mesh.says("apply", facts(told()))
        assert play(module, definition=WEB, apply=False)["method"] == "create"

    def waiting(self, mesh, status="True", ready=2, **more):
        """Have the mesh tell of a workload whose condition Available has this status, and which stands like this."""
        shape = {"kind": "Deployment", "metadata": {"name": "web"}, "status": {"readyReplicas": 2}}
        conditions = [{"type": "Available", "status": status, "reason": "Because", "message": "it is so"}]
        mesh.says("get", {**shape, "status": {"conditions": conditions, "readyReplicas": 2}})
        mesh.says("get", shape, once=True)
        mesh.says("patch", facts(told(action="unchanged", readyReplicas=ready, placement=placed("oak"), **more)))
        return {"wait": True, "wait_sleep": 0, "wait_timeout": 60, "wait_condition": {"type": "Available"}}

    @pytest.mark.parametrize("status", ["True", "False"])
    def test_waits_for_a_condition(self, play, mesh, status):
        mesh.says("apply", facts(told()))
        options = self.waiting(mesh, status)
        options["wait_condition"]["reason"] = "Because"
        options["wait_timeout"] = 60 if status == "True" else 1
        answer = play(module, fails=status == "False", definition=WEB, **options)
        assert "--wait" not in mesh.words[0]
        if status == "True":
            assert answer["replicas_ready"] == 2
        else:
            assert "not Available=True: web: Available is False (it is so)" in answer["msg"]

    def test_replicas_that_are_not_of_what_is_declared_now_are_not_counted(self, play, mesh):
        mesh.says("apply", facts(told(action="configured", readyReplicas=0)))
        answer = play(module, definition=WEB, **self.waiting(mesh, ready=1))
        assert (answer["changed"], answer["replicas_ready"], answer["placement"]) == (True, 1, placed("oak"))
        assert mesh.words[-1] == ("-n default patch deployment/web --type merge --patch {} --dry-run=server -o json")

    @pytest.mark.parametrize("action", ["unchanged", "configured"])
    @pytest.mark.parametrize("status", ["True", "False"])
    def test_what_stands_as_failed_is_not_ok_because_it_has_a_condition(self, play, mesh, status, action):
        failed = {"failure": "web-1: CrashLoopBackOff: ends at once"}
        mesh.says("apply", facts(told(action=action, readyReplicas=0, **failed)))
        options = self.waiting(mesh, status, ready=0, **failed)
        options["wait_condition"]["status"] = status
        answer = play(module, fails=status == "True", definition=WEB, **options)
        assert answer["replicas_ready"] == 0
        if status == "True":
            assert "stands as failed: web-1: CrashLoop" in answer["msg"]
            assert (answer["reason"], answer["changed"]) == ("failed", action == "configured")
        play(module, fails=action == "unchanged", check=True, definition=WEB, **options)


class TestPatched:
    def test_sends_the_definition_as_a_patch(self, play, mesh):
        mesh.says("get", {"kind": "Deployment", "metadata": {"name": "web"}})
        mesh.says("patch", facts(told(action="patched", diff="-a\n+b\n")))
        patch = {"spec": {"replicas": 3}}
        options = {"state": "patched", "kind": "Deployment", "name": "web", "namespace": "shop", "merge_type": "merge"}
        answer = play(module, definition=patch, wait=True, wait_timeout=5, **options)
        assert (answer["method"], answer["diff"]["prepared"]) == ("patch", "-a\n+b\n")
        assert mesh.words[-1] == (
            "-n shop patch deployment/web --type merge --patch-file - --wait --timeout 5s -o json"
        )
        assert sent(mesh)[0]["spec"] == {"replicas": 3}
        play(module, check=True, definition=patch, **options)
        assert "--dry-run=server" in mesh.words[-1]

    def test_what_is_not_there_is_left_out(self, play, mesh):
        mesh.says("get", rc=1, err="error: not found: deployment/web\n")
        answer = play(module, state="patched", definition=WEB)
        assert (answer["changed"], answer["results"]) == (False, [])
        assert "nothing to patch" in answer["warned"][0]

    def test_only_workloads_are_patched(self, play, mesh):
        answer = play(module, fails=True, state="patched", definition={"kind": "Deployment", "spec": {}})
        assert answer["reason"] == "invalid"
        assert mesh.calls == []


class TestAbsent:
    def test_deletes_by_name_and_what_is_not_there_is_fine(self, play, mesh):
        mesh.says("delete", facts(told(action="deleted")))
        options = {"state": "absent", "kind": "Deployment", "name": "web", "namespace": "shop"}
        answer = play(module, wait=True, wait_timeout=5, wait_condition={"type": "Available"}, **options)
        assert (answer["changed"], answer["method"], answer["result"]) == (True, "delete", {})
        assert mesh.words == ["-n shop delete deployment/web --ignore-not-found --wait --timeout 5s -o json"]
        mesh.says("delete", facts())
        answer = play(module, **options)
        assert (answer["changed"], answer["method"]) == (False, "none")

    def test_check_mode_looks_and_does_not_touch(self, play, mesh):
        mesh.says("get", {"kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}})
        answer = play(module, check=True, state="absent", definition=[KEYS, WEB])
        assert (answer["changed"], answer["method"]) == (True, "delete")
        assert "LIVE/Deployment default/web" in answer["diff"]["prepared"]
        mesh.says("get", rc=1, err="error: not found: deployment/web\n")
        assert not play(module, check=True, state="absent", definition=WEB)["changed"]

    def test_deletes_what_has_labels(self, play, mesh):
        pods = [{"kind": kind, "metadata": {"name": name}} for kind, name in (("Pod", "job"), ("Deployment", "web"))]
        mesh.says("get", {"kind": "List", "items": pods})
        mesh.says("delete", facts(told("job", "deleted", "Pod")))
        play(module, state="absent", kind="Pod", label_selectors=["app=job", "tier"])
        assert mesh.words[0] == "get workloads -l app=job,tier -o json"
        assert [words for words in mesh.words if "delete" in words] == ["delete pod/job --ignore-not-found -o json"]

    def test_only_what_was_meant(self, play, mesh):
        mesh.says("delete", facts(told(action="deleted")))
        conditions = {"preconditions": {"uid": "u", "resourceVersion": "7"}}
        play(module, state="absent", definition=WEB, delete_options=conditions)
        assert "--uid u --resource-version 7" in mesh.words[-1]
        mesh.says("get", {"kind": "Deployment", "metadata": {"name": "web", "uid": "other", "resourceVersion": "7"}})
        answer = play(module, fails=True, check=True, state="absent", definition=WEB, delete_options=conditions)
        assert "another uid" in answer["msg"]
        answer = play(module, fails=True, state="absent", definition=[WEB, OTHER], delete_options=conditions)
        assert "name it alone" in answer["msg"]

    def test_what_has_not_ended_in_time_is_deleted_all_the_same(self, play, mesh):
        mesh.says("delete", facts(told(action="deleted")), rc=4, err="error: not ended everywhere\n")
        answer = play(module, fails=True, state="absent", definition=WEB, wait=True)
        assert (answer["changed"], answer["reason"]) == (True, "timeout")


class TestSecrets:
    def test_are_in_nothing_that_is_returned(self, play, mesh):
        result = told(diff=f"+ {SECRET}\n", message=f"cannot use {SECRET}")
        result["object"]["spec"] = {"env": SECRET}
        mesh.says("apply", facts(result, warnings=[]), err=f"Warning: {SECRET}\n")
        for alias in ("definition", "inline", "resource_definition"):
            answer = play(module, **{alias: [WEB, KEYS]})
            assert SECRET not in json.dumps(answer)
            assert alias in answer["invocation"]["module_args"]
        assert SECRET in mesh.calls[0]["stdin"]

    def test_are_in_no_message(self, play, mesh):
        mesh.says("apply", rc=2, err=f"error: {SECRET} is wrong\n")
        assert SECRET not in json.dumps(play(module, fails=True, definition=[WEB, KEYS]))
        broken = [copy.deepcopy(KEYS), "text"]
        assert SECRET not in json.dumps(play(module, fails=True, definition=broken))

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"wiat": True}, "Unsupported parameters"),
            ({"kind": "Deploiment"}, "value of kind must be one of"),
            ({"dir": "/mesh", "context": "home"}, "mutually exclusive"),
            ({"wait_timeout": "soon"}, "wait_timeout"),
            ({"defintion": [KEYS, json.dumps(KEYS)]}, "Unsupported parameters"),
        ],
    )
    def test_are_not_shown_when_another_option_is_wrong(self, play, mesh, wrong, says):
        listed = {"kind": "List", "items": [KEYS]}
        given = {"definition": [WEB, KEYS], "inline": listed, "resource_definition": json.dumps(KEYS)}
        for alias in given:
            answer = play(module, fails=True, **{alias: given[alias]}, **wrong)
            assert says in answer["msg"]
            assert SECRET not in json.dumps(answer)
            assert alias in answer["invocation"]["module_args"]
        assert mesh.calls == []

    def test_short_ones_are_not_masked_everywhere(self, play, mesh):
        mesh.says("apply", facts(told(message="web is there")))
        answer = play(module, definition=[WEB, {**KEYS, "stringData": {"token": "web"}}])
        assert answer["results"][0]["message"] == "web is there"
        keys = answer["invocation"]["module_args"]["resource_definition"][1]
        assert keys["stringData"]["token"] != "web"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "give resource_definition"),
        ({"state": "absent"}, "give kind and name"),
        ({"state": "absent", "definition": [KEYS]}, "no workload"),
        ({"state": "patched", "definition": [KEYS]}, "Secret keys: no workload of the definition uses it"),
        ({"definition": [OTHER, KEYS], "continue_on_error": True}, "Secret keys: no workload"),
        ({"definition": ["text"]}, "no mapping"),
        ({"definition": "a: b"}, "only the controller"),
        ({"definition": [WEB, OTHER], "name": "x"}, "2 workloads"),
        ({"definition": WEB, "label_selectors": ["a b"]}, "no selector"),
        ({"definition": {"kind": "List", "items": 3}}, "list of objects"),
        ({"definition": {"kind": "Pod", "metadata": 3}}, "metadata"),
        ({"src": "x.yml"}, "read on the controller"),
        ({"template": "x.yml"}, "read on the controller"),
        ({"definition": WEB, "dir": "/a", "context": "b"}, "mutually exclusive"),
    ],
)
def test_what_makes_no_sense_is_said(play, mesh, options, says):
    assert says in play(module, fails=True, **options)["msg"]
    assert mesh.calls == []
