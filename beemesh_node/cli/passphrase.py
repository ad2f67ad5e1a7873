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
_drained: dict[tuple[int, int], str] = {}
"""First lines of pipes by device and inode, since a pipe can be read once and a command may open several keys."""


def from_file(variable: str = VARIABLE) -> str | None:
    """The first line of the file that the environment names; None when it names none. Raises `CliError`.

    The file may be a pipe, such as /dev/stdin or /dev/fd/3.
    """
    name = os.environ.get(variable)
    if not name:
        return None
    try:
        with Path(name).open("rb") as file:
            about = os.fstat(file.fileno())
            pipe = (about.st_dev, about.st_ino) if stat.S_ISFIFO(about.st_mode) else None
            if pipe in _drained:
                return _drained[pipe]
            text = file.read(_MAX).decode()
    except OSError as error:
        raise NotAllowedError(f"{name} (from {variable}): {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotAllowedError(f"{name} (from {variable}): not UTF-8 text") from None
    line = text.split("\n", 1)[0].removesuffix("\r")
    if not line:
        raise NotAllowedError(f"{name} (from {variable}): its first line is empty; write the passphrase there")
    if pipe is not None:
        _drained[pipe] = line
    return line


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
