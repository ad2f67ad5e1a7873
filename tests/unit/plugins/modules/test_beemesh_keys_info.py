# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a key, with and without its passphrase."""

from __future__ import annotations

import json

import pytest
from ansible_collections.beemesh.mesh.plugins.modules import beemesh_keys, beemesh_keys_info


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "a.key"


def test_a_key_without_a_passphrase(run, path):
    made = run(beemesh_keys, path=str(path))
    told = run(beemesh_keys_info, path=str(path))
    assert not told["changed"]
    assert (told["encrypted"], told["unlocked"]) == (False, True)
    for name in ("type", "fingerprint", "public_key", "peer_id"):
        assert told[name] == made[name]


@pytest.mark.parametrize("given", ["wrong", None])
def test_a_key_whose_passphrase_is_wrong_or_missing(run, path, given):
    made = run(beemesh_keys, path=str(path), type="mesh-root", passphrase="right")
    told = run(beemesh_keys_info, path=str(path), passphrase=given)
    assert (told["encrypted"], told["unlocked"], told["type"]) == (True, False, "mesh-root")
    assert told["fingerprint"] == made["fingerprint"]


def test_a_key_out_of_a_vault(run, path, tmp_path):
    made = run(beemesh_keys, path=str(path), type="operator", passphrase="right")
    told = run(beemesh_keys_info, content=path.read_text(), passphrase="right")
    assert (told["unlocked"], told["fingerprint"]) == (True, made["fingerprint"])
    assert "never to be seen" not in json.dumps(told)
    assert not [each for each in tmp_path.rglob("beemesh-*") if each.is_file()]


def test_what_is_no_key_or_not_there(run, path):
    assert "content: not a Beemesh key file" in run(beemesh_keys_info, content="nothing", fails=True)["msg"]
    assert "no such file" in run(beemesh_keys_info, path=str(path), fails=True)["msg"]
    run(beemesh_keys_info, path=str(path), content="both", fails=True)
    run(beemesh_keys_info, fails=True)
