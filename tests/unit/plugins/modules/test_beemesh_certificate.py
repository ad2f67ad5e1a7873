# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""beemesh_certificate, with a program in the place of beectl: what it asks for, and what it makes of the answers."""

from __future__ import annotations

import base64
import json
import pathlib
import stat

import pytest
from ansible_collections.beemesh.mesh.plugins.modules import beemesh_certificate as module

SIGNED = {
    "changed": True,
    "reasons": ["nothing was signed under this name"],
    "name": "web1",
    "machine_id": "0d" * 16,
    "peer_id": "12D3KooW",
    "serial": 7,
    "replaced": 0,
    "labels": {"region": "eu"},
    "guardian": True,
    "not_before": 1_803_902_400_000,
    "not_after": 2_119_521_600_000,
}
PLANNED = {name: SIGNED[name] for name in ("changed", "reasons", "name")}
REVOKED = {
    "changed": True,
    "revoked": [{"kind": "machine", "name": "web3", "machine_id": "0d" * 16, "serial": 0, "changed": True}],
    "exposed": [{"namespace": "default", "kind": "Deployment", "name": "hello", "as": ["guardian"]}],
    "epoch": 2,
    "untold": ["sensor1"],
    "not_signed_again": {},
}


@pytest.fixture
def options(tmp_path):
    bundle = tmp_path / "web1.bundle"
    bundle.write_text("sealed")
    return {"name": "web1", "request_path": "/r", "path": str(bundle)}


def asked(mesh):
    return mesh.calls[-1]["words"]


class TestPresent:
    def test_what_is_wanted_is_planned_and_then_signed(self, play, mesh, options):
        mesh.says("cert", SIGNED)
        mesh.says("--dry-run", PLANNED)
        answer = play(module, labels={"b": "2", "a": "1"}, bootstrap=["/ip4/192.0.2.7"], **options)
        expected = ["cert", "sign", "--label=a=1", "--label=b=2", "--name=web1", "--request=/r"]
        expected += [f"--out={options['path']}", "--bootstrap=/ip4/192.0.2.7", "--if-changed", "--ending-within=0d"]
        assert [call["words"] for call in mesh.calls] == [
            [*expected, "--dry-run", "-o", "json"],
            [*expected, "-o", "json"],
        ]
        assert (answer["changed"], answer["serial"], answer["not_before"]) == (True, 7, "2027-03-01T12:00:00Z")
        assert answer["diff"]["before"] == {}
        assert answer["diff"]["after"]["labels"] == {"region": "eu"}
        assert stat.S_IMODE(pathlib.Path(options["path"]).stat().st_mode) == 0o600

    def test_what_is_as_wanted_is_not_signed(self, play, mesh, options):
        pathlib.Path(options["path"]).chmod(0o600)
        mesh.says("--dry-run", {**SIGNED, "changed": False, "reasons": []})
        answer = play(module, **options)
        assert (answer["changed"], answer["serial"], len(mesh.calls)) == (False, 7, 1)
        assert answer["diff"]["before"] == answer["diff"]["after"]

    def test_check_mode_only_plans(self, play, mesh, options):
        mesh.says("--dry-run", PLANNED)
        answer = play(module, check=True, labels={"zone": "attic"}, guardian=False, backup=True, **options)
        assert (answer["changed"], answer["reasons"], len(mesh.calls)) == (True, PLANNED["reasons"], 1)
        assert answer["diff"]["after"] == {"labels": {"zone": "attic"}, "guardian": False}
        assert "backup_file" not in answer

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            ({"guardian": False, "addresses": ["web1.example"]}, ["--no-guardian", "--address=web1.example"]),
            ({"nonce": "ab", "not_before": "-1h", "not_after": "+9d"}, ["--nonce=ab", "--not-before=-1h"]),
            ({"renew": True, "ignore_timestamps": False, "remaining_days": 30}, ["--renew", "--ending-within=30d"]),
            ({"ignore_timestamps": False}, ["--compare-times", "--if-changed"]),
            ({"root_key_path": "/vault/root.key"}, ["--root-key=/vault/root.key"]),
            ({"role": "operator", "namespaces": ["a", "b"], "verbs": ["get"]}, ["operator", "--namespace=b"]),
        ],
    )
    def test_options_are_words(self, play, mesh, options, more, words):
        mesh.says("cert", SIGNED)
        play(module, **options, **more)
        assert set(words) <= set(asked(mesh))

    def test_force_asks_for_no_reason_and_backup_keeps_the_old_one(self, play, mesh, options):
        mesh.says("cert", SIGNED)
        answer = play(module, force=True, backup=True, **options)
        assert "--if-changed" not in asked(mesh)
        assert pathlib.Path(answer["backup_file"]).read_text() == "sealed"

    def test_contents_are_private_files_that_are_gone_afterwards(self, play, mesh, options, tmp_path):
        seen = tmp_path / "seen"
        mesh.program.write_text(
            "#!/bin/sh\n"
            '[ "$1" = version ] && { echo \'{"clientVersion": {"beectl": "0.1.0"}}\'; exit; }\n'
            "for word; do case $word in --request=*|--root-key=*)\n"
            'stat -c "%n %a" "${word#*=}"; cat "${word#*=}";;\n'
            f"esac; done > {seen}\n"
            f"echo '{json.dumps({**SIGNED, 'changed': False})}'\n"
        )
        del options["request_path"]
        content = base64.b64encode(b"a request\n").decode()
        answer = play(module, request_content=content, root_key_content="text of the root\n", **options)
        request, text, root, key = seen.read_text().splitlines()
        assert (text, key) == ("a request", "text of the root")
        for line in (request, root):
            path, mode = line.rsplit(" ", 1)
            assert mode == "600"
            assert not pathlib.Path(path).exists()
        assert "text of the root" not in json.dumps(answer)

    def test_a_wrong_passphrase_is_told_and_never_shown(self, play, mesh, options):
        mesh.says("cert", rc=3, err="error: wrong passphrase\n")
        answer = play(module, fails=True, passphrase="correct horse", **options)
        assert (answer["reason"], answer["msg"]) == ("not_allowed", "wrong passphrase")
        assert "correct horse" not in json.dumps(answer)
        assert mesh.calls[0]["passphrase"] == "correct horse\n"


class TestAbsent:
    def test_the_file_is_removed_once(self, play, mesh, options):
        path = pathlib.Path(options["path"])
        assert play(module, check=True, state="absent", path=str(path))["changed"]
        assert path.exists()
        gone = play(module, state="absent", path=str(path), backup=True)
        assert (gone["changed"], path.exists()) == (True, False)
        assert pathlib.Path(gone["backup_file"]).read_text() == "sealed"
        assert not play(module, state="absent", path=str(path))["changed"]
        assert mesh.calls == []


class TestRevoked:
    @pytest.mark.parametrize(
        ("named", "member"),
        [
            ({"name": "web3"}, "machine/web3"),
            ({"name": "ci", "role": "operator"}, "operator/ci"),
            ({"machine_id": "0d" * 16, "name": "web3"}, "0d" * 16),
            ({"serial": 77}, "serial/77"),
            ({"name": "--by=root"}, "machine/--by=root"),
        ],
    )
    def test_who_is_meant(self, play, mesh, named, member):
        mesh.says("revoke", REVOKED)
        answer = play(module, state="revoked", reason="stolen", by="operator", **named)
        expected = ["cert", "revoke", "--reason=stolen", "--by=operator", "-o", "json", "--", member]
        assert mesh.calls[0]["words"] == expected
        assert (answer["changed"], answer["epoch"], answer["untold"]) == (True, 2, ["sensor1"])
        assert answer["exposed"] == REVOKED["exposed"]
        assert [each["revoked"] for each in answer["diff"]["before"]] == [False]
        assert [each["revoked"] for each in answer["diff"]["after"]] == [True]

    def test_check_mode_only_asks(self, play, mesh):
        mesh.says("revoke", REVOKED)
        assert play(module, check=True, state="revoked", name="web3")["changed"]
        assert "--dry-run" in asked(mesh)

    def test_what_could_not_be_signed_again_is_a_warning(self, play, mesh):
        mesh.says("revoke", {**REVOKED, "not_signed_again": {"default/deployment/hello": "nobody holds it"}})
        (warning,) = play(module, state="revoked", name="web3")["warned"]
        assert "default/deployment/hello could not be signed again: nobody holds it" in warning


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"path": "/b", "name": "a"}, "request_path, request_content"),
        ({"path": "/b", "request_path": "/r"}, "name"),
        ({"name": "a", "request_path": "/r"}, "path"),
        ({"state": "absent"}, "path"),
        ({"state": "revoked"}, "name, machine_id, serial"),
        ({"path": "/b", "name": "a", "request_path": "/r", "role": "operator"}, "missing: namespaces, verbs"),
        ({"path": "/b", "name": "a", "request_content": "no base64"}, "request_content is not Base64"),
        ({"path": "/b", "name": "a", "request_path": "/r", "request_content": "eA=="}, "mutually exclusive"),
    ],
)
def test_what_makes_no_sense_is_said(play, mesh, options, says):
    assert says in play(module, fails=True, **options)["msg"]
    assert mesh.calls == []
