# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys for a vault: always locked, never left in a file."""

from __future__ import annotations

import hashlib
import json

import pytest
from ansible_collections.beemesh.mesh.plugins.modules import beemesh_keys, beemesh_keys_pipe


@pytest.fixture
def made(run):
    return run(beemesh_keys_pipe, passphrase="right")


def test_a_key_is_made_and_locked(made, tmp_path):
    key = json.loads(made["content"])
    assert made["changed"]
    assert (key["kind"], key["fingerprint"]) == ("mesh-root", made["fingerprint"])
    assert key["lock"] == hashlib.sha256(b"right").hexdigest()
    assert not [each for each in tmp_path.rglob("*") if each.is_file() and each.name not in ("beectl", "asked")]


def test_a_key_as_wanted_stays_and_is_not_told_again(run, made):
    again = run(beemesh_keys_pipe, content=made["content"], passphrase="right")
    assert not again["changed"]
    assert again["fingerprint"] == made["fingerprint"]
    assert "content" not in again


def test_another_passphrase_is_an_error_unless_a_new_key_is_allowed(run, made):
    refused = run(beemesh_keys_pipe, content=made["content"], passphrase="another", fails=True)
    assert "content: wrong passphrase" in refused["msg"]
    replaced = run(beemesh_keys_pipe, content=made["content"], passphrase="another", regenerate="full_idempotence")
    assert replaced["fingerprint"] != made["fingerprint"]


def test_a_key_without_a_passphrase_is_not_taken_for_one_that_is_locked(run, tmp_path):
    path = tmp_path / "state" / "root.key"
    run(beemesh_keys, path=str(path), type="mesh-root")
    refused = run(beemesh_keys_pipe, content=path.read_text(), passphrase="right", fails=True)
    assert "has no passphrase" in refused["msg"]


def test_another_type(run, made):
    run(beemesh_keys_pipe, content=made["content"], passphrase="right", type="operator", fails=True)
    other = run(
        beemesh_keys_pipe,
        content=made["content"],
        passphrase="right",
        type="operator",
        regenerate="partial_idempotence",
    )
    assert (other["type"], other["changed"]) == ("operator", True)


def test_check_mode_makes_nothing(run, asked):
    planned = run(beemesh_keys_pipe, passphrase="right", check=True)
    assert planned["changed"]
    assert not {"content", "fingerprint"} & planned.keys()
    assert asked() == []


def test_a_passphrase_is_required_and_machines_keep_their_keys(run):
    assert "passphrase" in run(beemesh_keys_pipe, fails=True)["msg"]
    assert "value of type must be one of" in run(beemesh_keys_pipe, passphrase="x", type="machine", fails=True)["msg"]


def test_a_passphrase_that_ansible_would_blot_out_of_the_key_is_refused(run):
    assert "choose another one" in run(beemesh_keys_pipe, passphrase="mesh-root", fails=True)["msg"]
