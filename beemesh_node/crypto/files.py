"""Files that only their owner may read: 0600 in a directory of 0700, written whole or not at all."""

import contextlib
import glob
import os
import secrets
import shlex
import stat
import time
from pathlib import Path

from beemesh_node.crypto.errors import InsecureKeyFileError, KeyExistsError, KeyNotFoundError, KeyStoreError

LEFT_BEHIND_SECONDS = 3600.0
"""So old is a half-written file only if its writer was killed."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def _refuse_others(path: Path, mode: int, wanted: int, otherwise: str = "") -> None:
    if stat.S_IMODE(mode) & _OTHERS:
        raise InsecureKeyFileError(
            f"{path}: mode {stat.S_IMODE(mode):04o} gives others access to private keys: "
            f"run chmod {wanted:o} {shlex.quote(str(path))}{otherwise}"
        )


def read_private(path: Path, limit: int) -> bytes:
    """Read a regular file that only its owner may read, of at most `limit` bytes.

    Raises:
        KeyNotFoundError: there is no such file.
        InsecureKeyFileError: group or others have any access to it.
        KeyStoreError: it is no regular file, too long, or unreadable.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyStoreError(f"{path}: not a regular file; name the file that holds the key")
            _refuse_others(path, status.st_mode, 0o600)
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise KeyNotFoundError(f"{path}: no such file; create the key first or correct the path") from None
    except OSError as error:
        raise KeyStoreError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise KeyStoreError(f"{path}: longer than {limit} bytes; this is not such a file")
    return data


def write_private(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a file that survives power loss either whole or not at all, readable by its owner alone.

    A missing directory is made with mode 0700. What a killed writer left is removed an hour later at the earliest.

    Raises:
        KeyExistsError: the file exists and `replace` is false.
        InsecureKeyFileError: others have access to the directory.
        KeyStoreError: it cannot be written; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    _make_private_directory(path.parent)
    try:
        _sweep(path)
        try:
            _write_synced(temporary, data)
            if replace:
                temporary.rename(path)
            else:
                # Unlike rename, link fails when the name exists: no race can overwrite a key.
                path.hardlink_to(temporary)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        _sync_directory(path.parent)
    except FileExistsError:
        raise KeyExistsError(f"{path}: exists already; ask for replacement, or choose another path") from None
    except OSError as error:
        raise KeyStoreError(f"{path}: cannot be written: {error.strerror}") from error


def remove_private(path: Path) -> None:
    """Remove a file for good as far as the file system allows; a missing one is no error.

    Raises:
        KeyStoreError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise KeyStoreError(f"{path}: cannot be removed: {error.strerror}") from error


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting, so that a named pipe is refused instead of waited for."""
    return os.open(path, flags | os.O_NONBLOCK)


def _create_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _make_private_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = path.stat().st_mode
    except OSError as error:
        raise KeyStoreError(f"{path}: this directory cannot be made: {error.strerror}") from error
    _refuse_others(path, mode, 0o700, ", or keep keys in a directory of their own")


def _sweep(path: Path) -> None:
    """Remove what killed writers of a file have left; one that still writes has only just begun."""
    begun_before = time.time() - LEFT_BEHIND_SECONDS
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 16}"):
        with contextlib.suppress(FileNotFoundError):
            if left.stat().st_mtime < begun_before:
                left.unlink()


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "xb", opener=_create_private) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
