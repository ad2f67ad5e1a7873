"""One guard that runs, as the daemon sees it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from beemesh_node.runtime.errors import GuardError
from beemesh_node.runtime.guard.program import DEADLINE_BYTES, MAX_AHEAD
from beemesh_node.runtime.privileges import PROCESSES, SIGNALS, held

RENEW_TIMEOUT = 1.0
"""Seconds that a guard may take to answer; it has nothing else to do."""
END_TIMEOUT = 5.0
_NANO = 10**9


def boottime() -> float:
    """Seconds of CLOCK_BOOTTIME, the clock of deadlines: it goes on while the machine sleeps, and nobody sets it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) / _NANO


@dataclass(frozen=True, slots=True)
class Guard:
    """A PID namespace and the two processes that hold it (see `program`).

    `descriptor` keeps the namespace itself open: a process id may be used again by another process, and a container
    that is started by it would run unguarded. Call `close` when no container will be started any more.
    """

    name: str
    socket: Path
    timer: int
    first: int
    timer_exit: int
    """A pidfd."""
    first_exit: int
    """A pidfd. It tells the end when every process of the namespace is gone."""
    descriptor: int

    @property
    def namespace(self) -> str:
        """The path by which a container joins; it serves as long as this object is open in this process."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    @property
    def alive(self) -> bool:
        """Whether a container can still be started in it."""
        return not (_exited(self.timer_exit) or _exited(self.first_exit))

    async def renew(self, deadline: float) -> float:
        """Move the end to `deadline` (seconds of `boottime`), unless it is later already; the end now in force.

        A guard that gives no answer may follow the request later all the same.

        Raises GuardError, also if the guard did not follow.
        """
        asked = nanoseconds(deadline)
        try:
            with trio.fail_after(RENEW_TIMEOUT), trio.socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                await client.connect(str(self.socket))
                await client.send(asked.to_bytes(DEADLINE_BYTES, "big"))
                answer = await client.recv(DEADLINE_BYTES + 1)
        except trio.TooSlowError:
            raise GuardError(
                f"guard {self.name}: no answer within {RENEW_TIMEOUT:.0f} s; its deadline stands"
            ) from None
        except OSError as error:
            raise GuardError(f"guard {self.name}: not reached ({error}); its pod is ending or ended") from error
        in_force = int.from_bytes(answer, "big")
        if len(answer) != DEADLINE_BYTES or in_force < asked:
            ahead = MAX_AHEAD // _NANO
            raise GuardError(f"guard {self.name}: deadline not taken; it must lie ahead, by at most {ahead} s")
        return in_force / _NANO

    async def ended(self) -> None:
        """Wait until everything in the namespace is gone."""
        await trio.lowlevel.wait_readable(self.first_exit)

    async def end(self) -> None:
        """End everything in the namespace now, by SIGKILL.

        Raises GuardError if the kernel cannot: a process that waits for a disk ends only when it has it.
        """
        for process in (self.timer_exit, self.first_exit):
            with suppress(ProcessLookupError), held(*SIGNALS):
                signal.pidfd_send_signal(process, signal.SIGKILL)
        with trio.move_on_after(END_TIMEOUT):
            await trio.lowlevel.wait_readable(self.timer_exit)
            await trio.lowlevel.wait_readable(self.first_exit)
            return
        raise GuardError(
            f"guard {self.name}: not ended {END_TIMEOUT:.0f} s after SIGKILL; see: ps -o stat,wchan {self.first}"
        )

    def close(self) -> None:
        """Let go of the namespace; its processes go on."""
        for descriptor in (self.descriptor, self.first_exit, self.timer_exit):
            os.close(descriptor)


def nanoseconds(deadline: float) -> int:
    """A deadline as the guard takes it.

    Raises GuardError for what is no time.
    """
    if not 0 < deadline < 2**32:
        raise GuardError(f"a deadline of {deadline} s: use seconds of CLOCK_BOOTTIME")
    return round(deadline * _NANO)


def open_guard(directory: Path, name: str) -> Guard | None:
    """The guard of that name as its own file tells; None if it is gone, or never was ready."""
    try:
        state = json.loads((directory / f"{name}.json").read_bytes())
        timer, first = int(state["pid"]), int(state["first"])
        starts = int(state["start"]), int(state["first_start"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    opened: list[int] = []
    try:
        opened += [os.pidfd_open(timer), os.pidfd_open(first)]
        with held(*PROCESSES):
            opened.append(os.open(f"/proc/{first}/ns/pid", os.O_RDONLY))
        guard = Guard(name, directory / f"{name}.sock", timer, first, opened[0], opened[1], opened[2])
        if (_start(timer), _start(first)) == starts and guard.alive:
            return guard
    except (OSError, ValueError, IndexError):
        pass  # One of them is gone, and with it goes the other.
    for descriptor in opened:
        os.close(descriptor)
    return None


def _start(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def _exited(process: int) -> bool:
    watch = select.poll()
    watch.register(process, select.POLLIN)
    return bool(watch.poll(0))
