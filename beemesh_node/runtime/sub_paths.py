"""subPath mounts, which a container may try to turn into a mount of anything on the machine.

A container that can write to a volume can plant a link where another's subPath is to be mounted (CVE-2017-1002101),
also between the check and the mount (CVE-2021-25741). So no component may be a link when the path is made, and what
was mounted in the end is compared with what was meant, once the mounts are made and before the program runs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from beemesh_node.runtime.container_spec import Mount
from beemesh_node.runtime.errors import StartError
from beemesh_node.runtime.making import Ownership, make_directory
from beemesh_node.runtime.privileges import PROCESSES, held


def inside_volume(base: Path, sub_path: str, volume: str) -> Path:
    """A path inside a volume, made if it is missing.

    Raises StartError (FailedMount) if it leads out of the volume or through a link.
    """
    try:
        os.close(_open(base, sub_path, make=True))
    except (OSError, ValueError) as error:
        raise StartError("FailedMount", f"volume {volume}: subPath {sub_path!r}: {error}") from error
    return base / sub_path


@held(*PROCESSES)
def check_mounted(pid: int, mounts: Sequence[Mount]) -> None:
    """Whether a container that is made but does not run yet (its process is `pid`) has mounted what was meant.

    Raises StartError (FailedMount) if anything else is there, or if that cannot be seen.
    """
    for mount in mounts:
        if not mount.sub_path:
            continue
        try:
            meant = _identity(Path(mount.source), mount.sub_path)
            there = os.stat(f"/proc/{pid}/root{mount.destination}", follow_symlinks=False)
            points = _mount_points(pid)
        except (OSError, ValueError) as error:
            raise StartError("FailedMount", f"subPath at {mount.destination} cannot be checked: {error}") from error
        # A destination that is a mount point has no links in it, so /proc/PID/root leads to the real place.
        if mount.destination not in points or meant != (there.st_dev, there.st_ino):
            raise StartError("FailedMount", f"subPath at {mount.destination}: its path, or the mountPath, has a link")


def _identity(base: Path, sub_path: str) -> tuple[int, int]:
    descriptor = _open(base, sub_path, make=False)
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return found.st_dev, found.st_ino


def _mount_points(pid: int) -> set[str]:
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return {line.split(" ")[4].encode().decode("unicode_escape") for line in lines}


def _open(base: Path, sub_path: str, *, make: bool) -> int:
    """Walk from a volume's root without following links, and return an O_PATH descriptor of the end.

    With `make` missing directories are made like the root, as the kubelet makes them: whoever may write there may write
    here.
    """
    here = os.open(base, os.O_PATH | os.O_DIRECTORY)
    root = os.fstat(here)
    ownership = Ownership(root.st_uid, root.st_gid, stat.S_IMODE(root.st_mode))
    try:
        for part in PurePosixPath(sub_path).parts:
            if part in ("..", "/"):
                raise ValueError("it leads out of the volume")
            if make:
                with suppress(FileExistsError):
                    make_directory(part, here, ownership)
            inner = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = inner
            if stat.S_ISLNK(os.fstat(here).st_mode):
                raise ValueError(f"{part!r} is a link")
    except (OSError, ValueError):
        os.close(here)
        raise
    return here
