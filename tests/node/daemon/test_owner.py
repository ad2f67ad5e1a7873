"""A daemon that is a system user: whose files are whose, and how it comes by a key that only root can open."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from beemesh_node.daemon.state_key import KEY_BYTES, StateKeyError, seal_state_key, state_key

BEEMESHD = str(Path(sys.executable).with_name("beemeshd"))
ROOT = Path(__file__).resolve().parents[3]
NOBODY = 65534


@pytest.fixture
def state() -> Iterator[Path]:
    """Reachable by others, unlike pytest's own directories."""
    with TemporaryDirectory(dir="/dev/shm") as name:
        Path(name).chmod(0o755)
        state = Path(name) / "state"
        state.mkdir(mode=0o700)
        yield state


def keys(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BEEMESHD, "keys", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_what_root_has_written_belongs_to_the_owner_of_the_state(state: Path) -> None:
    os.chown(state, NOBODY, NOBODY)
    mesh = ("--mesh", "00" * 32, "--nonce", "11" * 32)
    assert keys("generate", "--state", state).returncode == 0
    assert keys("request", "--state", state, *mesh, "--out", state / "request").returncode == 0
    found = {path.name: path.stat() for path in state.iterdir()}
    assert {"machine.key", "pending.request", "pending.kem", "request"} == set(found)
    assert {(each.st_uid, each.st_gid) for each in found.values()} == {(NOBODY, NOBODY)}
    private = {stat.S_IMODE(each.st_mode) for name, each in found.items() if name != "request"}
    assert private == {0o600}


def test_roots_own_state_stays_roots(state: Path) -> None:
    assert keys("generate", "--state", state).returncode == 0
    assert (state / "machine.key").stat().st_uid == 0


def test_a_key_that_root_opened_is_read_once(state: Path) -> None:
    (state / "state.cred").write_bytes(b"sealed")
    opened = state.parent / "opened"
    opened.touch(mode=0o600)
    opened.write_bytes(b"k" * KEY_BYTES)
    assert state_key(state, opened) == (b"k" * KEY_BYTES, "systemd-creds")
    assert not opened.exists()
    opened.touch(mode=0o600)
    with pytest.raises(StateKeyError, match="holds 0 bytes"):
        state_key(state, opened)


def test_a_key_in_a_file_is_no_matter_of_root(state: Path) -> None:
    (state / "state.key").touch(mode=0o600)
    (state / "state.key").write_bytes(b"f" * KEY_BYTES)
    opened = state.parent / "opened"
    opened.touch(mode=0o600)
    assert seal_state_key(state) == b""
    assert state_key(state, opened) == (b"f" * KEY_BYTES, "file")


def test_a_sealed_key_that_nobody_opened_is_not_replaced(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: NOBODY)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/systemd-creds")
    (state / "state.cred").write_bytes(b"sealed")
    with pytest.raises(StateKeyError, match="was not opened"):
        state_key(state, state.parent / "opened")
    assert [path.name for path in state.iterdir()] == ["state.cred"]


def test_a_system_user_without_a_sealed_key_keeps_one_in_a_file(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: NOBODY)
    key, kept_by = state_key(state, state.parent / "opened")
    assert (len(key), kept_by) == (KEY_BYTES, "file")
    assert state_key(state) == (key, "file")
