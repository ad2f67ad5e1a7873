"""Making files and directories where a container may be making something else at the same time.

Nothing is done by path after the making: what a container puts in the place of a new name is neither followed, nor
given another owner or mode.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import final

from beemesh_node.runtime.privileges import Capability, may


@final
@dataclass(frozen=True, slots=True)
class Ownership:
    """Whose something becomes, as far as the daemon may give it away, and its mode."""

    user: int
    group: int
    mode: int

    def given_to(self, descriptor: int) -> None:
        """Raises OSError."""
        if may(Capability.CHOWN):
            os.fchown(descriptor, self.user, self.group)
        os.fchmod(descriptor, self.mode)


def make_directory(name: str, parent: int, ownership: Ownership) -> None:
    """Make a directory in the one that `parent` describes, entirely or not at all.

    Raises FileExistsError if there is something, or another OSError.
    """
    os.mkdir(name, 0o700, dir_fd=parent)
    try:
        made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            ownership.given_to(made)
        finally:
            os.close(made)
    except OSError:
        with suppress(OSError):
            os.rmdir(name, dir_fd=parent)
        raise


def make_file(name: str, parent: int, ownership: Ownership) -> None:
    """Make an empty file in the directory that `parent` describes.

    Raises FileExistsError if there is something, or another OSError.
    """
    made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
    try:
        ownership.given_to(made)
    finally:
        os.close(made)
