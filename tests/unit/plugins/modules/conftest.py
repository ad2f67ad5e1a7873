# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules are run whole, with a small program in the place of beectl."""

from __future__ import annotations

import json
import pathlib
import stat
import sys

import pytest
from ansible.module_utils.testing import patch_module_args

FAKE = pathlib.Path(__file__).parent / "fake_beectl.py"


@pytest.fixture
def beectl(tmp_path, monkeypatch):
    """The path of a program that handles key files as beectl does, though they hold no keys."""
    program = tmp_path / "bin" / "beectl"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("FAKE_BEECTL_ASKED", str(tmp_path / "asked"))
    return str(program)


@pytest.fixture
def asked(tmp_path):
    """The command lines that the program got."""

    def read():
        notes = tmp_path / "asked"
        lines = notes.read_text().splitlines() if notes.exists() else []
        return [words for words in map(json.loads, lines) if words[0] != "version"]

    return read


@pytest.fixture
def run(beectl, capsys, tmp_path):
    """Run a module with parameters; return what it answered. `fails` is whether it must."""

    def invoke(module, fails=False, check=False, **params):
        params.setdefault("beectl", beectl)
        internal = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": str(tmp_path)}
        with patch_module_args({**params, **internal}), pytest.raises(SystemExit):
            module.main()
        text = capsys.readouterr().out
        answer = json.loads(text)
        assert answer.get("failed", False) == fails, answer
        return answer

    return invoke
