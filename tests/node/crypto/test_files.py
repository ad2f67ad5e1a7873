"""Private files: who may read them, and what is left when writing fails."""

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from beemesh_node.crypto.errors import InsecureKeyFileError, KeyExistsError, KeyNotFoundError, KeyStoreError
from beemesh_node.crypto.files import read_private, remove_private, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "keys"
    made.mkdir(mode=0o700)
    return made


def test_file_and_missing_directories_are_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "key"
    former = os.umask(0)
    try:
        write_private(path, b"secret", replace=False)
    finally:
        os.umask(former)
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert read_private(path, 6) == b"secret"
    assert names(path.parent) == ["key"]


def test_an_existing_file_is_replaced_only_when_asked(folder: Path) -> None:
    path = folder / "key"
    write_private(path, b"first", replace=False)
    with pytest.raises(KeyExistsError, match=str(path)):
        write_private(path, b"second", replace=False)
    assert read_private(path, 100) == b"first"
    write_private(path, b"second", replace=True)
    assert read_private(path, 100) == b"second"
    assert names(folder) == ["key"]


def test_of_many_writers_at_once_one_wins_and_none_overwrites(folder: Path) -> None:
    path = folder / "key"
    outcomes: list[bytes] = []
    start = threading.Barrier(8)

    def write(content: bytes) -> None:
        start.wait()
        try:
            write_private(path, content, replace=False)
        except KeyExistsError:
            return
        outcomes.append(content)

    threads = [threading.Thread(target=write, args=(bytes([number]) * 1000,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [read_private(path, 1000)]
    assert names(folder) == ["key"]


@pytest.mark.parametrize("bits", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_file_that_others_can_reach_is_refused_with_the_command_that_mends_it(folder: Path, bits: int) -> None:
    path = folder / "my key"
    write_private(path, b"secret", replace=False)
    path.chmod(bits)
    with pytest.raises(InsecureKeyFileError) as refusal:
        read_private(path, 100)
    assert f"mode {bits:04o}" in str(refusal.value)
    assert f"chmod 600 '{path}'" in str(refusal.value)
    path.chmod(0o600)
    assert read_private(path, 100) == b"secret"


def test_a_directory_that_others_can_reach_is_refused_before_anything_is_written(folder: Path) -> None:
    folder.chmod(0o755)
    with pytest.raises(InsecureKeyFileError, match=f"chmod 700 {folder}"):
        write_private(folder / "key", b"secret", replace=True)
    assert names(folder) == []


def test_missing_long_and_irregular_files_are_told_apart(folder: Path) -> None:
    with pytest.raises(KeyNotFoundError, match="no such file"):
        read_private(folder / "missing", 100)
    write_private(folder / "long", bytes(101), replace=False)
    with pytest.raises(KeyStoreError, match="longer than 100 bytes"):
        read_private(folder / "long", 100)
    with pytest.raises(KeyStoreError, match="Is a directory"):
        read_private(folder, 100)
    os.mkfifo(folder / "pipe", 0o600)
    with pytest.raises(KeyStoreError, match="not a regular file"):
        read_private(folder / "pipe", 100)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "key"
    write_private(path, b"old", replace=False)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(KeyStoreError, match=f"{path}: cannot be written: No space left"):
            write_private(path, b"new", replace=True)
    assert read_private(path, 100) == b"old"
    assert names(folder) == ["key"]


def test_a_parent_that_is_a_file_is_an_error_of_the_key_store(folder: Path) -> None:
    (folder / "file").write_bytes(b"")
    with pytest.raises(KeyStoreError, match=f"{folder}/file: this directory cannot be made"):
        write_private(folder / "file" / "key", b"secret", replace=True)
    with pytest.raises(KeyStoreError, match="cannot be read"):
        read_private(folder / "file" / "key", 100)


def test_removing_is_idempotent(folder: Path) -> None:
    path = folder / "key"
    write_private(path, b"secret", replace=False)
    remove_private(path)
    remove_private(path)
    remove_private(folder / "nowhere" / "key")
    assert names(folder) == []
    with pytest.raises(KeyStoreError, match="cannot be removed"):
        remove_private(folder)
