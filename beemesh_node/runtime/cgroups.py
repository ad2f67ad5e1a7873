"""Whether the kernel ended something of a container for want of memory.

Podman tells this too, by a note of conmon's; but conmon 2.1.6 with cgroup v1 leaves the note where Podman was started,
and Podman looks beside the container. The kernel's counter can be read as long as the control group is there: it
outlives the container's process by the tens of milliseconds that Podman takes to clean up.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

_ROOT = Path("/sys/fs/cgroup")
_PLACES = (("", "memory.events"), ("memory", "memory.oom_control"))
"""Below the root, for version 2 and version 1."""


def out_of_memory(cgroup_path: str) -> bool:
    """Whether the OOM killer has been at work in a control group, `cgroup_path` as Podman's inspection gives it."""
    inner = PurePosixPath(cgroup_path)
    if not inner.is_absolute() or len(inner.parts) < 2 or ".." in inner.parts:
        return False
    for controller, name in _PLACES:
        try:
            lines = (_ROOT / controller / inner.relative_to("/") / name).read_text().splitlines()
        except OSError:
            continue
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)
    return False
