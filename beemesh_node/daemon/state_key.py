"""The key under which state rests on disk: kept by systemd-creds (TPM2, else the host's key), else in a 0600 file.

Only root seals and opens with systemd-creds: `beemeshd join`, run by root, seals a key, and before each start of a
daemon that is a system user root opens it into a file in memory, which the daemon reads and removes. (Credentials of
systemd's units would do the same, but stay empty where systemd itself runs in a container.)

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


def state_key(directory: Path, opened: Path | None = None) -> tuple[bytes, str]:
    """The machine's state key, made at the first call, and where it is kept ("systemd-creds" or "file").

    `opened`: a file in which root may have put the key that systemd-creds keeps; it is removed.

    Blocking (runs systemd-creds(1)). Raises `StateKeyError`.
    """
    credential, file = directory / _CREDENTIAL, directory / _FILE
    if credential.exists() and opened is not None and opened.exists():
        key = _read(opened)
        opened.unlink()
        return key, "systemd-creds"
    if credential.exists():
        return _decrypt(credential), "systemd-creds"
    if file.exists():
        return _read(file), "file"
    if sealed := seal_state_key(directory):
        keep_state_key(directory, sealed)
        return _decrypt(credential), "systemd-creds"
    key = secrets.token_bytes(KEY_BYTES)
    _write(file, key)
    return key, "file"


def seal_state_key(directory: Path) -> bytes:
    """A new key as systemd-creds seals it; empty where the machine has one, or systemd-creds or its key is missing.

    Blocking. Only root can do it.
    """
    tool = shutil.which("systemd-creds")
    if tool is None or os.geteuid() != 0 or (directory / _CREDENTIAL).exists() or (directory / _FILE).exists():
        return b""
    key = secrets.token_bytes(KEY_BYTES)
    try:
        # Bound to the TPM, not to what the machine boots: an update of its firmware must not cost its state.
        sealed = _systemd_creds(tool, ["--tpm2-pcrs=", "encrypt", "-", "-"], key)
        return sealed if _systemd_creds(tool, ["decrypt", "-", "-"], sealed) == key else b""
    except (OSError, subprocess.SubprocessError):
        return b""


def keep_state_key(directory: Path, sealed: bytes) -> None:
    """Keep what `seal_state_key` made. Raises `OSError`."""
    _write(directory / _CREDENTIAL, sealed)


def _decrypt(path: Path) -> bytes:
    tool = shutil.which("systemd-creds")
    if tool is None:
        raise StateKeyError(f"{path} was sealed by systemd-creds, which is not installed any more: install systemd")
    if os.geteuid() != 0:
        raise StateKeyError(
            f"{path} was not opened: start beemeshd as a service, which has root do it. If systemd-creds could not "
            "(journalctl --unit beemeshd), was the disk moved to other hardware or the TPM cleared? Then join this "
            "machine anew: a lost state is another machine."
        )
    try:
        key = _systemd_creds(tool, ["decrypt", str(path), "-"])
    except (OSError, subprocess.SubprocessError) as error:
        raise StateKeyError(
            f"{path}: systemd-creds cannot open it ({error}). Was the disk moved to other hardware or the TPM cleared? "
            "Then join this machine anew: a lost state is another machine."
        ) from None
    if len(key) != KEY_BYTES:
        raise StateKeyError(f"{path}: holds {len(key)} bytes, expected {KEY_BYTES}")
    return key


def _systemd_creds(tool: str, words: list[str], given: bytes = b"") -> bytes:
    return subprocess.run(  # noqa: S603 - fixed arguments
        [tool, f"--name={_NAME}", *words], input=given, capture_output=True, timeout=_TIMEOUT, check=True
    ).stdout


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
