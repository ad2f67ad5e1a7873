# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to beectl: how it is found, what it is given, and what becomes of its failures."""

from __future__ import annotations

import json
import os
import stat

import pytest
from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import split_stderr
from ansible_collections.beemesh.mesh.plugins.modules import beemesh_node_info as module


def test_options_come_from_the_task_and_else_from_the_environment(play, mesh, monkeypatch):
    mesh.says("get", {"kind": "List", "items": []})
    monkeypatch.setenv("BEEMESH_DIR", "/from/environment")
    play(module)
    play(module, dir="/from/task")
    monkeypatch.delenv("BEEMESH_DIR")
    monkeypatch.setenv("BEEMESH_CONTEXT", "home")
    play(module)
    assert [call["words"][:2] for call in mesh.calls] == [
        ["--dir", "/from/environment"],
        ["--dir", "/from/task"],
        ["--context", "home"],
    ]


def test_a_passphrase_goes_through_a_pipe(play, mesh, monkeypatch):
    mesh.says("get", {"kind": "List", "items": []})
    answer = play(module, passphrase="correct horse")
    (call,) = mesh.calls
    assert call["passphrase"] == "correct horse\n"
    assert "correct horse" not in json.dumps([answer, call["words"]])
    play(module, passphrase_file="/some/file")
    assert mesh.calls[-1]["passphrase"] == "/some/file"
    assert "mutually exclusive" in play(module, fails=True, passphrase="correct horse", passphrase_file="/b")["msg"]


def test_is_found_on_the_path(play, mesh, monkeypatch):
    mesh.says("get", {"kind": "List", "items": []})
    monkeypatch.setenv("PATH", f"/nowhere:{mesh.place}:{os.environ['PATH']}")
    for name in ("beectl", ""):
        assert play(module, beectl=name)["resources"] == []


@pytest.mark.parametrize("name", ["no-such-beectl", "/no/such/beectl"])
def test_is_missed_with_one_message_that_helps(play, mesh, name):
    answer = play(module, fails=True, beectl=name)
    assert answer["reason"] == "missing_beectl"
    for words in (name, "option beectl", "BEEMESH_BEECTL", "delegate_to: localhost"):
        assert words in answer["msg"]


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"out": {"clientVersion": {"beectl": "0.0.9"}}}, "is version 0.0.9, and this collection needs 0.1.0"),
        ({"rc": 2, "err": "Error: No such command 'version'.\n"}, "No such command"),
        ({"out": "what?"}, "does not tell its version"),
        ({"out": [1]}, "does not tell its version"),
    ],
)
def test_a_beectl_that_is_too_old_is_refused(play, mesh, said, says):
    mesh.says("version", **said)
    answer = play(module, fails=True)
    assert answer["reason"] == "missing_beectl"
    assert says in answer["msg"]
    assert mesh.calls == []


def test_a_newer_one_is_fine(play, mesh):
    mesh.says("version", {"clientVersion": {"beectl": "1.10.0.dev3"}})
    mesh.says("get", {"kind": "List", "items": []})
    play(module)


def test_one_that_cannot_be_run_is_named(play, mesh):
    mesh.program.write_text("#!/no/such/interpreter\n")
    mesh.program.chmod(stat.S_IRWXU)
    answer = play(module, fails=True)
    assert answer["reason"] == "missing_beectl"
    assert "cannot be run" in answer["msg"]


def test_one_that_hangs_is_ended(play, mesh):
    mesh.program.write_text(
        '#!/bin/sh\n[ "$1" = version ] && { echo \'{"clientVersion": {"beectl": "0.1.0"}}\'; exit; }\nexec sleep 60\n'
    )
    answer = play(module, fails=True, timeout=1)
    assert answer["reason"] == "timeout"
    assert "option timeout" in answer["msg"]


def test_an_answer_that_is_no_json_is_not_believed(play, mesh):
    mesh.says("get", "a table")
    assert "is it really beectl?" in play(module, fails=True)["msg"]
    mesh.says("get", rc=1)
    assert "ended with 1" in play(module, fails=True)["msg"]


def test_warnings_and_errors_are_told_apart():
    text = "Warning: one\nConnecting\nWarning: two\nerror: first line\n  second\n"
    assert split_stderr(text) == (["one", "two"], "first line\n  second")
    assert split_stderr("Usage: beectl\n") == ([], "Usage: beectl")
    assert split_stderr("") == ([], "")
