"""The key under which state rests on disk: kept by systemd-creds (TPM2, else the host's key), else in a 0600 file.

Without a TPM it protects copied backups, not a stolen device.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

KEY_BYTES = 32
_CREDENTIAL = "state.cred"
_FILE = "state.key"
_NAME = "beemesh-state"
_TIMEOUT = 20.0


class StateKeyError(Exception):
    """The state key cannot be had; the message says what to do. State is never opened with another key."""


def state_key(directory: Path) -> tuple[bytes, str]:
    """The machine's state key, made at the first call, and where it is kept ("systemd-creds" or "file").

    Blocking (runs systemd-creds(1)). Raises `StateKeyError`.
    """
    credential, file = directory / _CREDENTIAL, directory / _FILE
    if credential.exists():
        return _decrypt(credential), "systemd-creds"
    if file.exists():
        return _read(file), "file"
    key = secrets.token_bytes(KEY_BYTES)
    if _encrypt(key, credential):
        return key, "systemd-creds"
    _write(file, key)
    return key, "file"


def _encrypt(key: bytes, path: Path) -> bool:
    """Whether systemd-creds keeps the key now. It does not on machines without systemd or without a usable key."""
    tool = shutil.which("systemd-creds")
    if tool is None:
        return False
    try:
        sealed = subprocess.run(  # noqa: S603 - fixed arguments
            [tool, f"--name={_NAME}", "encrypt", "-", "-"], input=key, capture_output=True, timeout=_TIMEOUT, check=True
        ).stdout
        _write(path, sealed)
        if _decrypt(path) == key:
            return True
    except (OSError, subprocess.SubprocessError, StateKeyError):
        pass
    path.unlink(missing_ok=True)
    return False


def _decrypt(path: Path) -> bytes:
    tool = shutil.which("systemd-creds")
    if tool is None:
        raise StateKeyError(f"{path} was sealed by systemd-creds, which is not installed any more: install systemd")
    try:
        key = subprocess.run(  # noqa: S603 - fixed arguments
            [tool, f"--name={_NAME}", "decrypt", str(path), "-"], capture_output=True, timeout=_TIMEOUT, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise StateKeyError(
            f"{path}: systemd-creds cannot open it ({error}). Was the disk moved to other hardware or the TPM cleared? "
            "Then join this machine anew: a lost state is another machine."
        ) from None
    if len(key) != KEY_BYTES:
        raise StateKeyError(f"{path}: holds {len(key)} bytes, expected {KEY_BYTES}")
    return key


def _read(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        raise StateKeyError(f"{path} can be read by others: chmod 600 {path}")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise StateKeyError(f"{path}: holds {len(key)} bytes, expected {KEY_BYTES}")
    return key


def _write(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
