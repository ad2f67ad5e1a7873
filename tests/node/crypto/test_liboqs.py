"""The door to liboqs: its Python package is never imported unless the C library loads."""

import _ctypes
import ctypes.util
import sys
from pathlib import Path

import pytest

from beemesh_node import crypto
from beemesh_node.crypto import ProviderUnavailableError, liboqs
from beemesh_node.crypto.liboqs import LiboqsProvider
from tests.node.crypto.support import run


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without liboqs, on which importing `oqs` does what the real one does there: exit."""
    package = tmp_path / "site" / "oqs"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('Could not load liboqs shared library')\n")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "oqs", raising=False)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    root = tmp_path / "oqs"
    (root / "lib").mkdir(parents=True)
    monkeypatch.setenv("OQS_INSTALL_PATH", str(root))
    return root


def test_without_the_library_the_package_is_not_touched(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProviderUnavailableError, match="C library was not found"):
        LiboqsProvider()
    monkeypatch.delenv("OQS_INSTALL_PATH")
    with pytest.raises(ProviderUnavailableError, match="OQS_INSTALL_PATH"):
        LiboqsProvider()
    assert "oqs" not in sys.modules


def test_a_library_that_does_not_load_is_none(installation: Path) -> None:
    (installation / "lib" / "liboqs.so").write_bytes(b"not a library")
    with pytest.raises(ProviderUnavailableError, match="C library was not found"):
        LiboqsProvider()


def test_a_package_that_exits_or_is_another_does_not_end_the_process(
    installation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (installation / "lib" / "liboqs.so").symlink_to(_ctypes.__file__)
    with pytest.raises(ProviderUnavailableError, match="Could not load liboqs"):
        LiboqsProvider()
    (tmp_path / "site" / "oqs" / "__init__.py").write_text("loaded = True\n")
    monkeypatch.delitem(sys.modules, "oqs", raising=False)
    with pytest.raises(ProviderUnavailableError, match="liboqs-python cannot be used"):
        LiboqsProvider()


def test_a_service_that_may_not_make_executable_memory_is_told_so(
    installation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(function: object) -> object:
        raise MemoryError

    (installation / "lib" / "liboqs.so").symlink_to(_ctypes.__file__)
    (tmp_path / "site" / "oqs" / "__init__.py").write_text("def get_enabled_sig_mechanisms(): return ['ML-DSA-65']\n")
    monkeypatch.setattr(liboqs, "_RandomSource", forbidden)
    liboqs._seed_source.cache_clear()
    with pytest.raises(ProviderUnavailableError, match="executable memory"):
        LiboqsProvider()


def test_a_build_without_the_algorithm_is_told_so(installation: Path, tmp_path: Path) -> None:
    (installation / "lib" / "liboqs.so").symlink_to(_ctypes.__file__)
    (tmp_path / "site" / "oqs" / "__init__.py").write_text("def get_enabled_sig_mechanisms(): return ['Falcon-512']\n")
    with pytest.raises(ProviderUnavailableError, match="no ML-DSA-65"):
        LiboqsProvider()


def test_liboqs_is_not_loaded_by_those_who_do_not_choose_it() -> None:
    program = "import sys, beemesh_node.crypto; sys.exit('beemesh_node.crypto.liboqs' in sys.modules)"
    assert run(program).returncode == 0


def test_a_failed_choice_keeps_the_former_provider(installation: Path) -> None:
    before = crypto.provider()
    for name, hint in (("liboqs", "choose the provider 'cryptography'"), ("rot13", "choose one of cryptography")):
        with pytest.raises(ProviderUnavailableError, match=hint):
            crypto.use_provider(name)
    assert crypto.provider() is before
    crypto.use_provider("cryptography")
    assert crypto.provider().name == "cryptography"
