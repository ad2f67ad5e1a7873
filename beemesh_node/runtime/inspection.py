"""What Podman says of one container, reduced to what the node needs. No I/O."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from beemesh_node.workloads.pod import ContainerStatus

UNKNOWN = "ContainerStatusUnknown"
"""Reason for an end of which nobody can say how it came, as the kubelet has it; its exit code is then 137."""
RUNNING_STATES = frozenset(("running", "paused", "stopping"))
"""Podman's words for a container whose main process lives."""
UNSTARTED_STATES = frozenset(("configured", "created", "initialized"))


_SIGKILLED = 128 + signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Inspection:
    """One container at one moment. Times are Unix milliseconds, 0 when they have not come yet."""

    container_id: str
    state: str
    pid: int
    monitor: int
    """The process of conmon, which tells Podman of the end."""
    exit_code: int
    oom_killed: bool
    started_at_ms: int
    finished_at_ms: int
    stop_signal: str
    image_id: str
    ip: str
    cgroup_path: str

    @property
    def running(self) -> bool:
        """Whether the main process lives."""
        return self.state in RUNNING_STATES


@dataclass(frozen=True, slots=True)
class Ended:
    """How one life of a container ended."""

    exit_code: int
    reason: str
    started_at_ms: int = 0
    finished_at_ms: int = 0
    message: str = ""
    removed: bool = False
    """Somebody else took the container away: how it ended is not known, and it need not have been its fault."""


def read_inspection(data: Mapping[str, Any], network: str) -> Inspection:
    """Read the answer to `GET /containers/{id}/json`.

    Raises ValueError if it is not such an answer.
    """
    try:
        state, settings = data["State"], data.get("NetworkSettings") or {}
        networks = settings.get("Networks") or {}
        return Inspection(
            container_id=str(data["Id"]),
            state=str(state["Status"]),
            pid=int(state.get("Pid") or 0),
            monitor=int(state.get("ConmonPid") or 0),
            exit_code=int(state.get("ExitCode") or 0),
            oom_killed=bool(state.get("OOMKilled")),
            started_at_ms=unix_ms(state.get("StartedAt")),
            finished_at_ms=unix_ms(state.get("FinishedAt")),
            stop_signal=_signal((data.get("Config") or {}).get("StopSignal")),
            image_id=str(data.get("Image") or ""),
            ip=str((networks.get(network) or {}).get("IPAddress") or settings.get("IPAddress") or ""),
            cgroup_path=str(state.get("CgroupPath") or ""),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an inspected container: {error!r}") from error


def ended(found: Inspection, out_of_memory: bool) -> Ended:
    """How an inspected container ended; `out_of_memory`: the kernel was seen ending something of it."""
    killed = found.oom_killed or (out_of_memory and found.exit_code == _SIGKILLED)
    reason = "OOMKilled" if killed else "Completed" if found.exit_code == 0 else "Error"
    return Ended(found.exit_code, reason, found.started_at_ms, found.finished_at_ms)


def ended_unheard(found: Inspection) -> Ended:
    """The end of a container of which nobody told."""
    return Ended(_SIGKILLED, UNKNOWN, found.started_at_ms, message="its monitor (conmon) died with it")


def listed_status(entry: Mapping[str, Any], name: str, restart: int) -> ContainerStatus:
    """The status of a container that nobody supervises, from one entry of `GET /containers/json`."""
    state = str(entry.get("State") or "")
    exit_code = int(entry.get("ExitCode") or 0)
    running = state in RUNNING_STATES
    over = not running and state not in UNSTARTED_STATES
    return ContainerStatus(
        name=name,
        image=str(entry.get("Image") or ""),
        state="running" if running else "terminated" if over else "waiting",
        restart_count=restart,
        reason=("Completed" if exit_code == 0 else "Error") if over else "",
        exit_code=exit_code,
        started_at_ms=_listed_seconds(entry.get("StartedAt")) * 1000,
        finished_at_ms=_listed_seconds(entry.get("ExitedAt")) * 1000,
        container_id=str(entry.get("Id") or ""),
        image_id=str(entry.get("ImageID") or ""),
    )


def ended_status(status: ContainerStatus) -> ContainerStatus:
    """The status of a container of whose end nobody told."""
    return replace(status, state="terminated", reason=UNKNOWN, exit_code=_SIGKILLED)


def unix_ms(text: object) -> int:
    """RFC 3339 with up to nanoseconds, as Go prints it; 0 for Go's zero time and for what is no time."""
    if not isinstance(text, str) or text.startswith("0001-"):
        return 0
    try:
        return int(datetime.fromisoformat(re.sub(r"\.(\d{1,6})\d*", r".\1", text)).timestamp() * 1000)
    except ValueError:
        return 0


def _listed_seconds(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _signal(value: object) -> str:
    """Podman 4 gives a number, Podman 5 a name."""
    try:
        if isinstance(value, int) and value:
            return signal.Signals(value).name
    except ValueError:
        return str(value)
    return value if isinstance(value, str) and value else "SIGTERM"
