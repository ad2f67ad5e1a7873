"""What a crashed program leaves running in the namespace that it shared.

In a namespace of its own the kernel ends everything with a container's first process. In a guard's it does not, and
Podman tidies up at some time of its own: the next life could run beside what is left of the last.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from beemesh_node.runtime.privileges import PROCESSES, SIGNALS, held

END_SECONDS = 5.0
"""How long processes may take to vanish after SIGKILL."""
_LOOK_AGAIN = 0.005


@held(*PROCESSES, *SIGNALS)
def end_orphans(container_id: str, namespace: int) -> bool:
    """End every process of a container (by its control group) in a PID namespace, an open descriptor of it. Blocks.

    False if something is left after `END_SECONDS`.
    """
    deadline = time.monotonic() + END_SECONDS
    while True:
        found = False
        for process in _processes(container_id, os.fstat(namespace).st_ino):
            found = True
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGKILL)
        if not found or time.monotonic() > deadline:
            return not found
        time.sleep(_LOOK_AGAIN)


def _processes(container_id: str, namespace: int) -> Iterator[int]:
    """A pidfd of each process, open until the next one is asked for."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            process = os.pidfd_open(int(entry.name))
        except OSError:
            continue
        try:
            # Looked at after the descriptor is open: a number that is used again would show another process.
            # conmon's control group has the container's id as well, but it lives in the machine's namespace.
            belongs = container_id in (entry / "cgroup").read_text()
            if belongs and (entry / "ns" / "pid").stat().st_ino == namespace and not _zombie(entry):
                yield process
        except OSError:
            continue
        finally:
            os.close(process)


def _zombie(entry: Path) -> bool:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
