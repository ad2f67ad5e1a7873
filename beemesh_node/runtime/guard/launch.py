"""Starting the guard's program where nothing that happens to the daemon reaches it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import trio

from beemesh_node.runtime.errors import GuardError
from beemesh_node.runtime.guard import program

DOOR = Path("/run/beemesh-guard/guard.sock")
"""Where a service manager starts guards: `beemesh-guard.socket` of the role `node`."""
LAUNCH_TIMEOUT = 10.0
"""Seconds; an interpreter on a slow SD card needs one or two."""
_SYSTEMD = Path("/run/systemd/system").is_dir()
"""Whether systemd manages this machine (sd_booted(3))."""
_UNIT, _SERVICES = "beemesh-guard.socket", "beemesh-guard@*"
_SHUTDOWN_SECONDS = 10
_MAX_WORDS = 500


async def launch(directory: Path, name: str, deadline: int, door: Path = DOOR) -> None:
    """Run the program; when this returns the guard is in force.

    A guard needs what is taken from the daemon (a PID namespace of its own), and must not end with the daemon's unit.
    So a daemon that is a system user asks at a `door`: a socket behind which the service manager starts each guard as
    a service of its own. One that runs as root has systemd do that (systemd-run); without systemd the guard is a child
    that leaves the daemon's session and control group by itself.

    Raises GuardError.
    """
    try:
        with trio.fail_after(LAUNCH_TIMEOUT):
            if os.geteuid() == 0:
                await _run(directory, name, deadline)
            else:
                await ask(door, directory, name, deadline)
    except trio.TooSlowError:
        raise GuardError(f"guard {name}: not started within {LAUNCH_TIMEOUT:.0f} s") from None


def launch_way() -> str:
    """Which of the ways of `launch` this daemon takes, in a word."""
    if os.geteuid() != 0:
        return "door"
    return "systemd" if _SYSTEMD else "child"


async def ask(door: Path, directory: Path, name: str, deadline: int) -> None:
    """Have a guard started by whoever listens at a door.

    Raises GuardError.
    """
    try:
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            await client.connect(str(door))
            await client.send(f"{directory}\n{name}\n{deadline}".encode())
            answer = await client.recv(1)
    except OSError as error:
        raise GuardError(
            f"guard {name}: nobody starts it at {door} ({error}); see: systemctl status {_UNIT}"
        ) from error
    if not answer:
        raise GuardError(f"guard {name}: not started; see: journalctl --unit '{_SERVICES}'")


async def _run(directory: Path, name: str, deadline: int) -> None:
    command = [sys.executable, "-I", "-S", program.__file__, str(directory), name, str(deadline)]
    if _SYSTEMD:
        command = [*_by_systemd(name), *command]
    try:
        # No environment: whatever runs in the pod may look at that of the first process.
        done = await trio.run_process(
            command,
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    except OSError as error:
        raise GuardError(f"guard {name}: cannot be started ({error})") from error
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()[-_MAX_WORDS:]
        raise GuardError(f"guard {name}: not started ({words or f'exit code {done.returncode}'})")


def _by_systemd(name: str) -> list[str]:
    found = shutil.which("systemd-run")
    if found is None:
        raise GuardError("this machine runs systemd but has no systemd-run: install systemd's own tools")
    properties = {
        "Type": "forking",
        # Told to end at a shutdown it goes on, so that its pod can end in its own time.
        "TimeoutStopSec": f"{_SHUTDOWN_SECONDS}",
        "OOMScoreAdjust": "-900",
        "Nice": "-10",
        "StandardOutput": "null",
        "StandardError": "journal",
    }
    settings = [f"--property={key}={value}" for key, value in properties.items()]
    return [found, "--quiet", "--collect", f"--unit=beemesh-guard-{name}", *settings, "--"]
