"""Ways in which a machine dies, and comes back; and how long others took to notice and to act."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beemesh_node.runtime.guard.guards import Guards
from tests.node.integration.machine import Machine
from tests.node.integration.segment import Segment

KILLED, CUT, STOPPED = "killed", "cut off", "stopped"
WAYS = (KILLED, CUT, STOPPED)
_PIDS = "{{.State.ConmonPid}} {{.State.Pid}}"


def processes(machine: Machine) -> list[int]:
    """Everything of a machine: its daemon, and the programs of its pods with what looks after them."""
    assert machine.podman is not None
    found = [machine.pid]
    for name in machine.containers():
        with suppress(AssertionError):  # it was removed since
            found += map(int, machine.podman.run("inspect", "--format", _PIDS, name).split())
    return found


def power_off(machine: Machine) -> None:
    """End everything of a machine at once."""
    for pid in processes(machine):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    machine.stop(signal.SIGKILL)


@contextmanager
def dead(machine: Machine, way: str, segment: Segment) -> Iterator[int]:
    """Let a machine be dead for the length of the block; gives the moment, in nanoseconds since the epoch.

    A killed one loses its daemon and its pods; one that is cut off loses its cable; one that is stopped does nothing
    any more, but its kernel goes on, as that of a machine whose programs hang.
    """
    every = processes(machine)
    moment = time_ns()
    if way == KILLED:
        power_off(machine)
        try:
            yield moment
        finally:
            machine.start()
    elif way == CUT:
        segment.plugged(machine.name, False)
        try:
            yield moment
        finally:
            segment.plugged(machine.name, True)
    else:
        _signal(every, signal.SIGSTOP)
        try:
            yield moment
        finally:
            _signal(every, signal.SIGCONT)


@contextmanager
def hung(machine: Machine, pods: Iterable[str]) -> Iterator[int]:
    """Let a machine's every process stand still for the length of the block, the guards of leased `pods` (uids) too.

    Only its kernel goes on. Gives the moment, in nanoseconds since the epoch.
    """
    assert machine.podman is not None
    every = {*processes(machine), *machine.podman.processes()}
    for pod in pods:
        guard = Guards(machine.local_socket.parent / "pods" / "guards").find(pod)
        assert guard is not None
        every |= {guard.timer, guard.first}
        guard.close()
    moment = time_ns()
    _signal(every, signal.SIGSTOP)
    try:
        yield moment
    finally:
        _signal(every, signal.SIGCONT)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def time_ns() -> int:
    """Nanoseconds since the epoch, as Podman and the daemons' logs count."""
    return int(datetime.now().timestamp() * 1e9)


@dataclass(frozen=True)
class Line:
    """A line of a daemon's log."""

    at_ns: int
    event: str
    facts: dict[str, Any]


def logged(machine: Machine, since_ns: int) -> list[Line]:
    """What a daemon has logged since a moment."""
    lines = []
    for text in machine.log.splitlines():
        with suppress(json.JSONDecodeError, KeyError, ValueError):
            facts = json.loads(text)
            at = int(datetime.fromisoformat(facts["timestamp"].replace("Z", "+00:00")).timestamp() * 1e9)
            if at >= since_ns:
                lines.append(Line(at, facts["event"], facts))
    return lines


def containers(machine: Machine, workload: str) -> dict[str, int]:
    """The running containers of a workload on a machine, and when Podman started each, in nanoseconds."""
    assert machine.podman is not None
    label = f"label=io.beemesh.workload={workload}"
    found = machine.podman.run("ps", "-q", "--no-trunc", "--filter", label).split()
    begun = {}
    for identity in found:
        with suppress(AssertionError):  # it was removed since
            begun[identity] = int(machine.podman.run("inspect", "--format", "{{.State.StartedAt.UnixNano}}", identity))
    return begun


def started_ns(machine: Machine, since_ns: int, workload: str) -> int | None:
    """When Podman started the first container of a workload on a machine since a moment; None if it did not."""
    return min((at for at in containers(machine, workload).values() if at >= since_ns), default=None)


def deaths(machine: Machine, since_ns: int) -> list[Line]:
    """Whom a daemon holds dead since a moment."""
    return [line for line in logged(machine, since_ns) if line.event == "machine is dead"]
