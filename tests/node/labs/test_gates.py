"""On which Pythons the collection is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from labs import gates


def test_pythons_of_pyenv_and_of_uv_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYENV_ROOT", "UV_PYTHON_INSTALL_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    places = [
        tmp_path / ".pyenv" / "versions" / "3.10.4" / "bin",
        tmp_path / ".local" / "share" / "uv" / "python" / "cpython-3.9.25-linux-x86_64-gnu" / "bin",
    ]
    for place in places:
        place.mkdir(parents=True)
    assert gates._pythons() == places
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "elsewhere"))
    assert gates._pythons() == places[:1]


def test_the_readme_tells_them() -> None:
    text = (gates.ROOT / "README.md").read_text()
    assert f"Python {gates._PYTHONS[0]} to {gates._PYTHONS[-1]}" in text
    assert f"uv python install {' '.join(gates._PYTHONS)}" in text
