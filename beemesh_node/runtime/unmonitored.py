"""Containers whose monitor (conmon) died together with their process, as when somebody kills everything of a pod.

The monitor is who tells Podman of an end. Without it, Podman says for ever that the container runs (seen with Podman
4.3; after a reboot Podman begins anew). Who can see processes knows better.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from beemesh_node.runtime.inspection import Inspection
from beemesh_node.runtime.processes import is_gone

_CREDENTIALS = struct.Struct("3i")
"""`struct ucred`: process, user and group (unix(7), SO_PEERCRED)."""


def is_corpse(found: Inspection, podman: Path) -> bool:
    """Whether a container has neither process nor monitor, although the Podman at a socket says that it runs."""
    pids = (found.pid, found.monitor)
    return found.running and min(pids) > 0 and all(map(is_gone, pids)) and _shows_processes(podman)


def _shows_processes(podman: Path) -> bool:
    """Whether who listens there has a process id here: to a daemon in a container of its own, every process is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(str(podman))
            pid, _, _ = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        except OSError:
            return False
    return bool(pid > 0)
