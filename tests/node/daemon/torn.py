"""Runs a program and kills it by SIGKILL just before its n-th system call: between any two steps of a write.

By ptrace(2), whose numbers here are the same on all of Linux.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

_TRACEME, _SYSCALL, _CONT, _SETOPTIONS = 0, 24, 7, 0x4200
_TRACESYSGOOD, _EXITKILL = 0x1, 0x100000
_AT_SYSCALL = signal.SIGTRAP | 0x80
_ROOT = Path(__file__).parents[3]
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def _ptrace(request: int, pid: int, data: int = 0) -> None:
    if _libc.ptrace(request, pid, None, data) == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def killed_before(call: int, program: str, *arguments: str) -> bool:
    """Run a Python program; once it has stopped itself (SIGSTOP), kill it before its `call`-th system call.

    False if it has ended, with success, before that.
    """
    process = subprocess.Popen(
        (sys.executable, "-c", program, *arguments), cwd=_ROOT, preexec_fn=lambda: _ptrace(_TRACEME, 0)
    )
    _wait_for(process.pid, signal.SIGTRAP)  # exec
    _ptrace(_SETOPTIONS, process.pid, _TRACESYSGOOD | _EXITKILL)
    _ptrace(_CONT, process.pid)
    _wait_for(process.pid, signal.SIGSTOP)
    entered = False
    while True:
        _ptrace(_SYSCALL, process.pid)
        _, status = os.waitpid(process.pid, 0)
        if os.WIFEXITED(status):
            process.returncode = os.WEXITSTATUS(status)
            assert process.returncode == 0
            return False
        assert os.WSTOPSIG(status) == _AT_SYSCALL, f"it got signal {os.WSTOPSIG(status)}"
        entered = not entered
        call -= entered
        if entered and call == 0:
            process.kill()
            _, status = os.waitpid(process.pid, 0)
            process.returncode = -os.WTERMSIG(status)
            return True


def _wait_for(pid: int, number: signal.Signals) -> None:
    while True:
        _, status = os.waitpid(pid, 0)
        assert os.WIFSTOPPED(status), f"it ended: status {status}"
        if os.WSTOPSIG(status) == number:
            return
        _ptrace(_CONT, pid, os.WSTOPSIG(status))  # of a child that it had, say


def every_moment(
    program: str, arguments: Callable[[int], tuple[str, ...]], step: int = 1
) -> Iterator[tuple[int, bool]]:
    """Give (call, whether it was killed) for runs killed before each `step`-th of the program's calls, and one not."""
    call, killed = 0, True
    while killed:
        call += step
        killed = killed_before(call, program, *arguments(call))
        yield call, killed
