"""Whether the path of a hostPath volume is what the manifest says it is (v1.HostPathVolumeSource.type)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from beemesh_node.runtime.errors import StartError
from beemesh_node.runtime.making import Ownership, make_directory, make_file
from beemesh_node.workloads.pod import HostPath

_CHECKS: dict[str, tuple[str, Callable[[int], bool]]] = {
    "Directory": ("a directory", stat.S_ISDIR),
    "DirectoryOrCreate": ("a directory", stat.S_ISDIR),
    "File": ("a file", stat.S_ISREG),
    "FileOrCreate": ("a file", stat.S_ISREG),
    "Socket": ("a socket", stat.S_ISSOCK),
    "CharDevice": ("a character device", stat.S_ISCHR),
    "BlockDevice": ("a block device", stat.S_ISBLK),
}


def check_host_path(volume: str, source: HostPath) -> None:
    """Make what may be made, then check the type.

    A missing path of no type becomes a directory, as container runtimes do under Kubernetes. The daemon must see the
    same file system as Podman: `ProtectHome=` and the like in its unit hide paths from this check.

    Raises StartError (FailedMount).
    """
    path = Path(source.path)
    if not path.is_absolute() or ".." in path.parts:
        raise StartError("FailedMount", f"volume {volume}: hostPath {source.path!r} must be absolute and without '..'")
    try:
        if source.type in ("", "DirectoryOrCreate") and not path.exists():
            _make(path, make_directory, 0o755)
        elif source.type == "FileOrCreate" and not path.exists():
            _make(path, make_file, 0o644)
        if not source.type:
            return
        wanted, holds = _CHECKS[source.type]
        if not holds(path.stat().st_mode):
            raise StartError("FailedMount", f"volume {volume}: hostPath {path} is not {wanted}")
    except KeyError:
        kinds = ", ".join(_CHECKS)
        raise StartError("FailedMount", f"volume {volume}: hostPath type {source.type!r}; use {kinds}") from None
    except OSError as error:
        raise StartError("FailedMount", f"volume {volume}: hostPath {path}: {error.strerror}") from error


def _make(path: Path, make: Callable[[str, int, Ownership], None], mode: int) -> None:
    """Make what is missing of a path, its last part by `make`.

    It becomes root's: what lies about on the machine for any pod must not belong to the daemon, nor be closed by its
    umask.
    """
    there = next(parent for parent in path.parents if parent.exists())
    parts = path.relative_to(there).parts
    here = os.open(there, os.O_PATH | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            make_directory(part, here, Ownership(0, 0, 0o755))
            inner = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = inner
        make(parts[-1], here, Ownership(0, 0, mode))
    finally:
        os.close(here)
