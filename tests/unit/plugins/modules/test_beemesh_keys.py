# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a key file, in every mode of regenerating it."""

from __future__ import annotations

import hashlib
import json
import pathlib
import stat

import pytest
from ansible_collections.beemesh.mesh.plugins.modules import beemesh_keys

MODES = ["never", "fail", "partial_idempotence", "full_idempotence", "always"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "machine.key"


def held(path):
    return json.loads(path.read_text())


def test_a_missing_key_is_made_for_its_owner_alone_and_then_kept(run, path):
    made = run(beemesh_keys, path=str(path))
    again = run(beemesh_keys, path=str(path))
    assert (made["changed"], again["changed"]) == (True, False)
    assert made["fingerprint"] == again["fingerprint"] == held(path)["fingerprint"]
    assert (made["type"], made["encrypted"], made["filename"]) == ("machine", False, str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("regenerate", MODES)
def test_a_key_as_wanted_stays_in_every_mode_but_always(run, path, regenerate):
    before = run(beemesh_keys, path=str(path))["fingerprint"]
    after = run(beemesh_keys, path=str(path), regenerate=regenerate)
    assert after["changed"] == (after["fingerprint"] != before) == (regenerate == "always")


@pytest.mark.parametrize(
    ("regenerate", "outcome"),
    [
        ("never", "kept"),
        ("fail", "failed"),
        ("partial_idempotence", "made"),
        ("full_idempotence", "made"),
        ("always", "made"),
    ],
)
def test_a_key_of_another_type(run, path, regenerate, outcome):
    before = run(beemesh_keys, path=str(path), type="machine")["fingerprint"]
    answer = run(beemesh_keys, path=str(path), type="operator", regenerate=regenerate, fails=outcome == "failed")
    assert (held(path)["fingerprint"] != before) == (outcome == "made")
    assert answer.get("changed", False) == (outcome == "made")
    if outcome == "failed":
        assert "its type is machine, but operator is wanted" in answer["msg"]


@pytest.mark.parametrize("given", ["wrong", None, "for a key without one"])
@pytest.mark.parametrize(
    ("regenerate", "outcome"),
    [
        ("never", "failed"),
        ("fail", "failed"),
        ("partial_idempotence", "failed"),
        ("full_idempotence", "made"),
        ("always", "made"),
    ],
)
def test_a_key_with_another_passphrase_or_none(run, path, regenerate, outcome, given):
    first = None if given == "for a key without one" else "right"
    before = run(beemesh_keys, path=str(path), type="operator", passphrase=first)["fingerprint"]
    wanted = {"path": str(path), "type": "operator", "passphrase": given, "regenerate": regenerate}
    answer = run(beemesh_keys, **wanted, fails=outcome == "failed")
    assert (held(path)["fingerprint"] != before) == (outcome == "made")
    if outcome == "failed":
        assert "passphrase" in answer["msg"]
        assert "regenerate=full_idempotence" in answer["msg"]
    else:
        assert held(path)["lock"] == (hashlib.sha256(given.encode()).hexdigest() if given else None)


@pytest.mark.parametrize("regenerate", MODES)
def test_what_is_no_key(run, path, regenerate):
    path.parent.mkdir()
    path.write_text("no key")
    path.chmod(0o600)
    replaced = regenerate in ("full_idempotence", "always")
    run(beemesh_keys, path=str(path), regenerate=regenerate, fails=not replaced)
    assert (path.read_text() != "no key") == replaced


def test_check_mode_tells_and_does_nothing(run, path):
    planned = run(beemesh_keys, path=str(path), check=True)
    assert planned["changed"]
    assert "fingerprint" not in planned
    assert not path.parent.exists()
    run(beemesh_keys, path=str(path))
    text = path.read_text()
    assert not run(beemesh_keys, path=str(path), check=True)["changed"]
    assert run(beemesh_keys, path=str(path), force=True, backup=True, check=True)["changed"]
    assert run(beemesh_keys, path=str(path), state="absent", check=True)["changed"]
    assert [path.read_text(), list(path.parent.iterdir())] == [text, [path]]


def test_a_replaced_or_removed_key_is_backed_up_if_asked_for(run, path):
    first = run(beemesh_keys, path=str(path))["fingerprint"]
    second = run(beemesh_keys, path=str(path), force=True, backup=True)
    assert held(pathlib.Path(second["backup_file"]))["fingerprint"] == first
    assert stat.S_IMODE(pathlib.Path(second["backup_file"]).stat().st_mode) == 0o600
    removed = run(beemesh_keys, path=str(path), state="absent", backup=True)
    assert held(pathlib.Path(removed["backup_file"]))["fingerprint"] == second["fingerprint"]
    assert not path.exists()
    assert not run(beemesh_keys, path=str(path), state="absent")["changed"]


def test_a_key_that_others_can_read_is_closed(run, path):
    run(beemesh_keys, path=str(path))
    path.chmod(0o644)
    answer = run(beemesh_keys, path=str(path))
    assert answer["changed"]
    assert "others had access" in json.dumps(answer["warnings"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_in_check_mode_a_key_that_others_can_read_is_looked_at_and_stays_open(run, path):
    made = run(beemesh_keys, path=str(path))
    path.chmod(0o644)
    planned = run(beemesh_keys, path=str(path), check=True)
    assert (planned["changed"], planned["fingerprint"]) == (True, made["fingerprint"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("mode", ["0640", "604", 0o644, 600, "u=rw,g=r", "a+r", "o+x", "0o644", "mine", "4600"])
def test_a_mode_that_lets_others_in_is_refused(run, path, mode):
    for _attempt in range(2):
        assert "use 0600" in run(beemesh_keys, path=str(path), mode=mode, fails=True)["msg"]
        assert not path.exists()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(0o600, 0o600), ("600", 0o600), (0o400, 0o400), ("u=r", 0o400), ("g-rwx,o=", 0o600), ("u-w", 0o400)],
)
def test_a_private_mode_is_set_once(run, path, mode, expected):
    for changed in (True, False):
        assert run(beemesh_keys, path=str(path), mode=mode)["changed"] == changed
        assert stat.S_IMODE(path.stat().st_mode) == expected


def test_neither_key_nor_passphrase_is_ever_told(run, path, asked):
    secret = "correct horse battery"
    wanted = {"path": str(path), "type": "mesh-root"}
    answers = [
        run(beemesh_keys, passphrase=secret, **wanted),
        run(beemesh_keys, passphrase=secret, force=True, backup=True, **wanted),
        run(beemesh_keys, passphrase="another one", fails=True, **wanted),
    ]
    for answer in answers:
        assert secret not in json.dumps(answer)
        assert "never to be seen" not in json.dumps(answer)
    assert not [word for words in asked() for word in words if secret in word]


def test_a_passphrase_out_of_a_file_on_the_host(run, path, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("out of a file\n")
    made = run(beemesh_keys, path=str(path), type="operator", passphrase_file=str(secret))
    assert made["encrypted"]
    assert not run(beemesh_keys, path=str(path), type="operator", passphrase="out of a file")["changed"]


def test_a_passphrase_in_the_environment_is_for_other_keys(run, path, tmp_path, monkeypatch):
    monkeypatch.setenv("BEEMESH_PASSPHRASE_FILE", str(tmp_path / "of the operator"))
    assert not run(beemesh_keys, path=str(path))["encrypted"]


def test_a_machine_has_no_passphrase(run, path):
    answer = run(beemesh_keys, path=str(path), passphrase="useless", fails=True)
    assert "the key of a machine has no passphrase" in answer["msg"]
    assert not path.exists()


def test_the_diff_shows_which_key_was_and_which_is(run, path):
    first = run(beemesh_keys, path=str(path))
    second = run(beemesh_keys, path=str(path), type="operator", regenerate="partial_idempotence")
    assert first["diff"]["before"] == {}
    assert second["diff"]["before"] == {"kind": "machine", "fingerprint": first["fingerprint"], "encrypted": False}
    assert second["diff"]["after"] == {"kind": "operator", "fingerprint": second["fingerprint"], "encrypted": False}


def test_a_missing_beectl_is_said_with_the_next_step(run, path):
    answer = run(beemesh_keys, path=str(path), beectl="no-such-beectl", fails=True)
    assert answer["reason"] == "missing_beectl"
    assert "Install the node package" in answer["msg"]
