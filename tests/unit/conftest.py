# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules are run whole, with a program in the place of beectl that says what a test has it say.

`ansible-test units` runs these tests inside the collection; a plain `pytest tests/unit` of a checkout does too.
"""

from __future__ import annotations

import atexit
import json
import pathlib
import shutil
import stat
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _as_collection():
    """Have a checkout, which lies anywhere, be `ansible_collections.beemesh.mesh`, as Ansible itself finds it."""
    from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

    place = pathlib.Path(tempfile.mkdtemp(prefix="beemesh-units-"))
    atexit.register(shutil.rmtree, str(place), ignore_errors=True)
    (place / "ansible_collections" / "beemesh").mkdir(parents=True)
    (place / "ansible_collections" / "beemesh" / "mesh").symlink_to(ROOT)
    _AnsibleCollectionFinder(paths=[str(place)])._install()


if ROOT.parts[-3:] != ("ansible_collections", "beemesh", "mesh"):
    _as_collection()

FAKE = """\
import json, os, sys
from pathlib import Path

place = Path(__file__).parent
text = sys.stdin.read()
secret = os.environ.get("BEEMESH_PASSPHRASE_FILE", "")
with (place / "calls").open("a") as calls:
    passphrase = Path(secret).read_text() if secret.startswith("/dev/fd/") and "version" not in sys.argv else secret
    calls.write(json.dumps({"words": sys.argv[1:], "stdin": text, "passphrase": passphrase}) + "\\n")
answers = json.loads((place / "answers").read_text())
for number, answer in enumerate(answers):
    if answer["when"] in sys.argv:
        if answer["once"]:
            (place / "answers").write_text(json.dumps(answers[:number] + answers[number + 1 :]))
        sys.stderr.write(answer["err"])
        sys.stdout.write(answer["out"] if isinstance(answer["out"], str) else json.dumps(answer["out"]))
        sys.exit(answer["rc"])
sys.exit("nobody said what to answer to " + " ".join(sys.argv))
"""


class FakeBeectl:
    """A program that answers as it is told, and notes what it was asked."""

    def __init__(self, place):
        self.place = place
        self.program = place / "beectl"
        self.program.write_text(f"#!{sys.executable} -IS\n{FAKE}")
        self.program.chmod(stat.S_IRWXU)
        self.answers = []
        self.says("version", {"clientVersion": {"beectl": "0.1.0"}})

    def says(self, when, out="", rc=0, err="", once=False):
        """Answer so whenever this word is among those of the command line; what is said later comes first."""
        self.answers.insert(0, {"when": when, "out": out, "rc": rc, "err": err, "once": once})
        (self.place / "answers").write_text(json.dumps(self.answers))

    @property
    def calls(self):
        """What it was asked, but for its version."""
        notes = self.place / "calls"
        told = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
        return [call for call in told if "version" not in call["words"]]

    @property
    def words(self):
        """The command lines."""
        return [" ".join(call["words"]) for call in self.calls]


@pytest.fixture
def mesh(tmp_path, monkeypatch):
    """The program in the place of beectl."""
    for name in ("BEECTL", "DIR", "CONTEXT", "NAMESPACE", "PASSPHRASE_FILE", "TIMEOUT"):
        monkeypatch.delenv("BEEMESH_" + name, raising=False)
    place = tmp_path / "fake"
    place.mkdir()
    return FakeBeectl(place)


@pytest.fixture
def play(mesh, capsys, tmp_path, monkeypatch):
    """Run a module with parameters; return what it answered. `fails` is whether it must."""
    from ansible.module_utils.basic import AnsibleModule
    from ansible.module_utils.testing import patch_module_args

    warned = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda self, warning, **more: warned.append(warning))

    def invoke(module, fails=False, check=False, diff=False, **params):
        params.setdefault("beectl", str(mesh.program))
        internal = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": str(tmp_path)}
        with patch_module_args({**params, **internal}), pytest.raises(SystemExit):
            module.main()
        answer = json.loads(capsys.readouterr().out)
        assert answer.get("failed", False) == fails, answer
        return {**answer, "warned": list(warned)}

    return invoke
