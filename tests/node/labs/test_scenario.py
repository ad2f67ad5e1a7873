"""What a scenario of Molecule finds on a computer on which only the packages of requirements.lock are installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from labs import scenario
from labs.paths import BIN, ROOT

SCENARIOS = sorted((ROOT / "molecule").glob("*/molecule.yml"))


def test_beectl_need_not_be_installed(tmp_path: Path) -> None:
    bare = {"PATH": f"{scenario.write_beectl(tmp_path / 'bin').parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    said = subprocess.run(
        ["/usr/bin/env", "beectl", "--help"], env=bare, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout.split()[:2]) == (0, ["Usage:", "beectl"]), said.stderr


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.parent.name)
def test_every_scenario_and_its_tests_have_it_in_their_path(file: Path) -> None:
    settings = yaml.safe_load(file.read_text())
    place = str(BIN).replace(str(ROOT), "${MOLECULE_PROJECT_DIRECTORY}")
    for environment in (settings["ansible"]["env"], settings["verifier"]["env"]):
        assert environment["PATH"] == f"{place}:${{PATH}}"
