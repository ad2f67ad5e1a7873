"""Whether the path of a hostPath volume is what the manifest says it is (v1.HostPathVolumeSource.type)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from beemesh_node.runtime.errors import StartError
from beemesh_node.runtime.privileges import Capability, may
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
            _make_directory(path)
        elif source.type == "FileOrCreate" and not path.exists():
            path.touch(mode=0o644)
            _give_to_root(path, 0o644)
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


def _make_directory(path: Path) -> None:
    if not path.parent.exists():
        _make_directory(path.parent)
    path.mkdir(mode=0o755, exist_ok=True)
    _give_to_root(path, 0o755)


def _give_to_root(path: Path, mode: int) -> None:
    """What lies about on the machine for any pod must not belong to the daemon, nor be closed by its umask."""
    path.chmod(mode)
    if may(Capability.CHOWN):
        os.chown(path, 0, 0)
