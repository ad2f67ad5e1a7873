"""A file system of half a MiB, to be filled."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from beemesh_node.daemon.store import Store

ROOM = 512 << 10


class Disk:
    """A file system of its own for the state."""

    def __init__(self, path: Path) -> None:
        self._filler = path / "filler"
        self.store = Store(path / "state.db", secrets.token_bytes(32))

    def fill(self) -> None:
        with self._filler.open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))

    def empty(self) -> None:
        self._filler.unlink()


@contextmanager
def small_disk(place: Path) -> Iterator[Disk]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "bmit-state", str(place)], check=True)
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
