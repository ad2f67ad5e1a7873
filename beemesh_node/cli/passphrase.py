"""Where a passphrase comes from: a file named by `BEEMESH_PASSPHRASE_FILE`, or the keyboard. Never an argument."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import click

from beemesh_node.cli.errors import NotAllowedError

VARIABLE = "BEEMESH_PASSPHRASE_FILE"
NEW_VARIABLE = "BEEMESH_NEW_PASSPHRASE_FILE"
"""For `beectl keys passphrase`, which needs the present one too."""
_MAX = 4096
_drained: dict[tuple[int, int], bytes] = {}
"""What came out of pipes, by device and inode: a command that opens several keys could not read it again."""


def from_file(variable: str = VARIABLE) -> str | None:
    """The first line of the file that the environment names; None when it names none. Raises `CliError`.

    It may be a pipe (`/dev/fd/3`, or `<(...)` of a shell), however often it is asked for.
    """
    name = os.environ.get(variable)
    if not name:
        return None
    try:
        text = _read(Path(name)).decode()
    except OSError as error:
        raise NotAllowedError(f"{name} (from {variable}): {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotAllowedError(f"{name} (from {variable}): not UTF-8 text") from None
    line = text.split("\n", 1)[0].removesuffix("\r")
    if not line:
        raise NotAllowedError(f"{name} (from {variable}): its first line is empty; write the passphrase there")
    return line


def _read(path: Path) -> bytes:
    status = path.stat()
    source = (status.st_dev, status.st_ino)
    if source in _drained:
        return _drained[source]
    with path.open("rb") as file:
        content = file.read(_MAX)
    if stat.S_ISFIFO(status.st_mode):
        _drained[source] = content
    return content


def existing(key: Path) -> str:
    """The passphrase of an encrypted key. Raises `CliError` when there is nobody to ask."""
    given = from_file()
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise NotAllowedError(f"{key} is encrypted: put its passphrase into a file and name that in {VARIABLE}")
    return str(click.prompt(f"Passphrase of {key}", hide_input=True, err=True))


def new(key: Path) -> str:
    """A passphrase for a key to be made: from the file, or typed. Raises `CliError` when there is nobody to ask."""
    given = from_file()
    if given is None and not sys.stdin.isatty():
        raise NotAllowedError(f"no passphrase for {key}: put it into a file and name that in {VARIABLE}")
    return given if given is not None else typed(key)


def typed(key: Path) -> str:
    """Another passphrase than the present one, typed twice. Raises `CliError` when there is nobody to ask."""
    given = from_file(NEW_VARIABLE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise NotAllowedError(f"no new passphrase for {key}: put it into a file and name that in {NEW_VARIABLE}")
    return str(click.prompt(f"New passphrase of {key}", hide_input=True, confirmation_prompt=True, err=True))
