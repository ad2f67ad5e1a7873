"""What release.py says when it cannot make a release: one sentence that names the variable."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
RELEASE = ROOT / "roles" / "node" / "files" / "release.py"


@pytest.fixture(scope="module")
def release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", RELEASE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(source: object, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, RELEASE, f"--source={source}", f"--out={out}", "--python=3.11", "--architecture=x86_64"]
    return subprocess.run([*command, "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_checkout_is_one(tmp_path: Path) -> None:
    assert make(ROOT, tmp_path).returncode == 0


def test_what_is_no_checkout_is_said_with_the_variable_that_names_one(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    (tmp_path / "LICENSES").mkdir()
    for source, why in (
        (tmp_path, f"{tmp_path} has no requirements.lock and no beemesh_node and no pyproject.toml"),
        ("", "it is empty"),
    ):
        done = make(source, tmp_path / "out")
        assert done.returncode == 1
        (sentence,) = done.stderr.splitlines()
        assert "set beemesh_source (for the role by itself node_source) to a checkout of the project" in sentence
        assert sentence.endswith(why)


@pytest.mark.parametrize(
    ("name", "version", "says"),
    [
        ("pip", None, "has no pip, and pip 23 or newer is needed"),
        ("pip", "22.3.1", "has pip 22.3.1, and pip 23"),
        ("setuptools", None, "has no setuptools, and setuptools 77"),
        ("setuptools", "66.1.1", "has setuptools 66.1.1, and setuptools 77"),
    ],
)
def test_a_python_that_cannot_make_wheels_is_named(
    name: str, version: str | None, says: str, release: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    release.check_tools()

    def found(asked: str) -> str:
        if asked == name and version is None:
            raise importlib.metadata.PackageNotFoundError(asked)
        return version if asked == name and version is not None else "999.0"

    monkeypatch.setattr(importlib.metadata, "version", found)
    with pytest.raises(SystemExit) as ended:
        release.check_tools()
    assert f"{sys.executable} {says}" in str(ended.value)
    assert "node_builder_python" in str(ended.value)


def test_an_execution_environment_has_what_makes_wheels(release: ModuleType) -> None:
    named = (ROOT / "meta" / "ee-requirements.txt").read_text().splitlines()
    assert {f"{name}>={oldest}" for name, oldest in release.TOOLS.items()} <= set(named)
