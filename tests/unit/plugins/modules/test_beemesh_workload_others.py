# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""beemesh_workload_info, _log, _exec and _scale, with a program in the place of beectl."""

from __future__ import annotations

import json

import pytest
from ansible_collections.beemesh.mesh.plugins.modules import (
    beemesh_workload_exec,
    beemesh_workload_info,
    beemesh_workload_log,
    beemesh_workload_scale,
)


def deployment(wanted=2, ready=2):
    status = {"replicas": wanted, "updatedReplicas": wanted, "readyReplicas": ready}
    return {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": wanted}, "status": status}


class TestInfo:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({}, "get workload -o json"),
            ({"kind": "Pod", "namespace": "shop"}, "-n shop get pod -o json"),
            ({"kind": "Event", "name": "web", "all_namespaces": True}, "get event web -A -o json"),
            ({"label_selectors": ["a=b", "!c"]}, "get workload -l a=b,!c -o json"),
        ],
    )
    def test_asks_for_what_is_meant(self, play, mesh, options, words):
        mesh.says("get", {"kind": "List", "items": [deployment()]})
        assert play(beemesh_workload_info, **options)["resources"] == [deployment()]
        assert mesh.words == [words]

    def test_waits_until_all_replicas_are_ready(self, play, mesh):
        mesh.says("get", deployment())
        mesh.says("get", deployment(ready=1), once=True)
        mesh.says("get", rc=1, err="error: not found in namespace default: deployment/web\n", once=True)
        options = {"kind": "Deployment", "name": "web", "wait": True, "wait_sleep": 0}
        assert play(beemesh_workload_info, **options)["resources"] == [deployment()]
        mesh.says("get", deployment(ready=1))
        answer = play(beemesh_workload_info, fails=True, wait_timeout=0, **options)
        assert (answer["reason"], answer["resources"]) == ("timeout", [deployment(ready=1)])

    def test_other_failures_are_failures(self, play, mesh):
        mesh.says("get", rc=1, err="error: no machine of the mesh can be reached\n")
        assert "reached" in play(beemesh_workload_info, fails=True, name="web")["msg"]
        play(beemesh_workload_info, fails=True, kind="Event", wait=True)


class TestLog:
    def test_reads_what_was_asked_for(self, play, mesh):
        mesh.says("logs", "one\ntwo\n")
        options = {"container": "web", "tail_lines": 5, "since_seconds": 60, "previous": True, "timestamps": True}
        answer = play(beemesh_workload_log, kind="Deployment", name="web", namespace="shop", **options)
        assert (answer["log"], answer["log_lines"], answer["changed"]) == ("one\ntwo\n", ["one", "two"], False)
        assert mesh.words == [
            "-n shop logs deployment/web --container web --tail 5 --since 60s --previous --timestamps"
        ]

    def test_who_has_no_pod_is_named(self, play, mesh):
        mesh.says("logs", rc=1, err="error: pod/web has no pod in namespace default\n")
        assert "has no pod" in play(beemesh_workload_log, fails=True, name="web")["msg"]


RAN = {"rc": 0, "stdout": "a\nb\n", "stderr": "", "pod": "web-x", "container": "web", "machine": "oak"}


class TestExec:
    def test_runs_words_and_hands_in(self, play, mesh):
        mesh.says("exec", RAN)
        answer = play(
            beemesh_workload_exec, name="web", command="sh -c 'echo a b'", stdin="token-4711", container="web"
        )
        assert (answer["stdout"], answer["rc"], answer["changed"]) == ("a\nb\n", 0, True)
        (call,) = mesh.calls
        assert call["words"] == [
            *("exec", "-o", "json", "--container", "web", "--stdin", "pod/web", "--", "sh", "-c", "echo a b")
        ]
        assert call["stdin"] == "token-4711"
        assert "token-4711" not in json.dumps(answer)

    def test_the_code_of_the_command_is_not_that_of_beectl(self, play, mesh):
        mesh.says("exec", {**RAN, "rc": 3})
        answer = play(beemesh_workload_exec, fails=True, kind="Deployment", pod="web", argv=["false"])
        assert (answer["rc"], answer["msg"]) == (3, "false ended with 3 in pod/web-x")
        assert "reason" not in answer
        mesh.says("exec", rc=3, err="error: you may not\n")
        assert play(beemesh_workload_exec, fails=True, name="web", argv=["x"])["reason"] == "not_allowed"

    def test_what_cannot_be_a_command(self, play, mesh):
        for options in ({}, {"command": " "}, {"command": "'"}, {"command": "a", "argv": ["b"]}):
            play(beemesh_workload_exec, fails=True, name="web", **options)
        assert mesh.calls == []

    def test_check_mode_runs_nothing(self, play, mesh):
        assert play(beemesh_workload_exec, check=True, name="web", command="rm -r /")["skipped"]
        assert mesh.calls == []


class TestScale:
    def answer(self, mesh, **more):
        result = {"action": "patched", "changed": True, "object": deployment(3), "diff": "+3", **more}
        mesh.says("patch", {"changed": True, "results": [result], "warnings": []})

    def test_patches_the_number(self, play, mesh):
        self.answer(mesh, readyReplicas=3, placement=[])
        options = {"name": "web", "replicas": 3, "namespace": "shop", "resource_version": "7"}
        answer = play(beemesh_workload_scale, wait=True, wait_timeout=4, **options)
        assert (answer["changed"], answer["replicas_ready"], answer["diff"]) == (True, 3, {"prepared": "+3"})
        (call,) = mesh.calls
        assert json.loads(call["stdin"]) == {"spec": {"replicas": 3}, "metadata": {"resourceVersion": "7"}}
        assert mesh.words == ["-n shop patch deployment/web --type merge --patch-file - --wait --timeout 4s -o json"]

    def test_check_mode_foretells(self, play, mesh):
        places = [{"slot": 0, "machine": "oak", "predicted": False}, {"slot": 1, "machine": "elm", "predicted": True}]
        self.answer(mesh, placement=places)
        answer = play(beemesh_workload_scale, check=True, name="web", replicas=2)
        assert (answer["placement"], answer["replicas_ready"]) == (places, 1)
        assert "--dry-run=server" in mesh.words[0]

    def test_what_stands_as_failed_is_not_ok(self, play, mesh):
        named = {"kind": "Deployment", "namespace": "default", "name": "web", "failure": "web-1: ErrImagePull"}
        self.answer(mesh, **named, changed=False)
        answer = play(beemesh_workload_scale, fails=True, name="web", replicas=3)
        assert "Deployment default/web is as declared and stands as failed: web-1: ErrImagePull" in answer["msg"]
        self.answer(mesh, **named, changed=True)
        assert play(beemesh_workload_scale, name="web", replicas=3)["changed"]

    def test_only_from_the_number_that_was_meant(self, play, mesh):
        mesh.says("get", deployment(5))
        answer = play(beemesh_workload_scale, name="web", replicas=3, current_replicas=4)
        assert (answer["changed"], answer["result"]["spec"]["replicas"]) == (False, 5)
        self.answer(mesh)
        assert play(beemesh_workload_scale, name="web", replicas=3, current_replicas=5)["changed"]

    def test_who_waits_in_vain_fails(self, play, mesh):
        result = {"action": "patched", "changed": True, "object": deployment(3), "readyReplicas": 2}
        mesh.says("patch", {"changed": True, "results": [result]}, rc=4, err="error: after 4 s 2 of 3\n")
        answer = play(beemesh_workload_scale, fails=True, name="web", replicas=3, wait=True)
        assert (answer["changed"], answer["replicas_ready"], answer["reason"]) == (True, 2, "timeout")
        play(beemesh_workload_scale, fails=True, name="web", replicas=-1)
