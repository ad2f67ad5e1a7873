"""A small program of its own: a PID namespace that the kernel ends at a deadline.

    python -I -S program.py DIRECTORY NAME DEADLINE
    python -I -S program.py                              the same words on the socket that is its standard input

Two processes stay. The *timer* owns a POSIX timer on CLOCK_BOOTTIME whose expiry is a SIGKILL to itself. The *first
process* is process 1 of a new PID namespace and asks the kernel to be killed when the timer process dies; with it dies
everything in the namespace (pid_namespaces(7)). None of that needs any of the two, or anybody else, to run: stopped
processes die as well. One process cannot do it, because the first process of a namespace ignores a SIGKILL of its own.

The program returns 0 once all of that is in force, after it has written DIRECTORY/NAME.json; otherwise it writes why
not into it and returns 1. Asked by a socket it answers "+" instead, and the timer process is the program itself.
DIRECTORY/NAME.sock (mode 0600) takes renewals: 8 bytes, the new deadline, answered by the deadline in force. A deadline
(nanoseconds of CLOCK_BOOTTIME, big-endian) only ever moves forward, and never further than `MAX_AHEAD` from now. Once
it has its namespace it lays down every capability. It imports nothing but the standard library, since it starts once
for every leased pod.
"""

import ctypes
import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress

MAX_AHEAD = 120 * 10**9
"""Nanoseconds that a deadline may lie ahead: twice the longest lease."""
DEADLINE_BYTES = 8
MAX_REQUEST = 4096
CLIENT_SECONDS = 1.0
CGROUP = "beemesh-guards"

_CLOCK_BOOTTIME = 7
_CLONE_NEWPID = 0x20000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_CAPABILITIES_VERSION_3 = 0x20080522
_SIGEV_SIGNAL = 0
_TIMER_ABSTIME = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _Event(ctypes.Structure):
    """`struct sigevent`, 64 bytes everywhere."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * (64 - ctypes.sizeof(ctypes.c_void_p) - 2 * ctypes.sizeof(ctypes.c_int))),
    )


class _Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    """`struct itimerspec`."""

    _fields_ = (("interval", _Moment), ("value", _Moment))


class _Header(ctypes.Structure):
    """`struct __user_cap_header_struct`."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class Timer:
    """The kernel's timer that ends this process."""

    def __init__(self, deadline: int) -> None:
        """Arm it. Raises OSError if the kernel has no such timer, ValueError for a deadline out of bounds."""
        self._id = ctypes.c_void_p()
        event = _Event(None, signal.SIGKILL, _SIGEV_SIGNAL, b"")
        _check(_libc.timer_create(_CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._id)), "timer_create")
        self.deadline = 0
        self.renew(deadline)

    def renew(self, deadline: int) -> None:
        """Move the end forward.

        Raises ValueError, and changes nothing, if that would be backward or too far.
        """
        if not self.deadline < deadline <= time.clock_gettime_ns(_CLOCK_BOOTTIME) + MAX_AHEAD:
            raise ValueError(f"deadline {deadline} is not between {self.deadline} and {MAX_AHEAD // 10**9} s from now")
        setting = _Setting(_Moment(0, 0), _Moment(deadline // 10**9, deadline % 10**9))
        _check(_libc.timer_settime(self._id, _TIMER_ABSTIME, ctypes.byref(setting), None), "timer_settime")
        self.deadline = deadline


def main(directory: str, name: str, deadline: int) -> int:
    """Start the two processes; the exit code."""
    receive, send = os.pipe()
    if os.fork() == 0:
        os.close(receive)
        _run(directory, name, deadline, send)
    os.close(send)
    # An empty answer: the deadline passed meanwhile, or something else ended it before it was ready.
    return 0 if os.read(receive, 1) else 1


def answer(asking: int) -> int:
    """Become the guard that a socket asks for; the exit code if that fails.

    Whoever may write to the socket is whom this process runs as, so nothing is to be had by a wrong request.
    """
    ready = os.dup(asking)
    directory, name, deadline = os.read(ready, MAX_REQUEST).decode().split("\n")
    _run(directory, name, int(deadline), ready)
    return 1


def _run(directory: str, name: str, deadline: int, ready: int) -> None:
    path = f"{directory}/{name}"
    try:
        _detach(ready)
        timer = Timer(deadline)
        _leave_cgroup()
        first = _first_process()
        _drop_capabilities()
        signal.signal(signal.SIGCHLD, lambda *_: os._exit(1))
        listener = _listen(path + ".sock")
        _write(path, {"pid": os.getpid(), "start": _start(os.getpid()), "first": first, "first_start": _start(first)})
        os.write(ready, b"+")
        os.close(ready)
        while True:
            _serve(listener, timer)
    except BaseException as error:
        _write(path, {"error": f"{type(error).__name__}: {error}"})
        raise
    finally:
        os._exit(1)


def _detach(ready: int) -> None:
    """Belong to no terminal, hold nobody's files, and end by nothing but SIGKILL."""
    with suppress(PermissionError):  # A service manager has done so already.
        os.setsid()
    os.umask(0o177)
    os.chdir("/")
    nothing = os.open("/dev/null", os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    os.closerange(3, ready)
    os.closerange(ready + 1, 1024)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        # At a shutdown everything is told to end at once; the pod has its grace as long as this goes on.
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        # Both processes must run for a moment to die, also on a busy machine.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def _first_process() -> int:
    ours, its = socket.socketpair()
    _check(_libc.unshare(_CLONE_NEWPID), "unshare(CLONE_NEWPID)")
    pid = os.fork()
    if pid == 0:
        ours.close()
        _be_first(its)
    its.close()
    if not ours.recv(1):
        raise OSError("the first process of the namespace ended at once")
    ours.send(b"+")
    ours.close()
    return pid


def _be_first(gate: socket.socket) -> None:
    try:
        # Whoever is orphaned in the namespace becomes its child; the kernel buries them unasked.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        _drop_capabilities()
        _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
        # What runs in the namespace sees this process, and shall see no more than that.
        _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")
        gate.send(b"+")
        # Had the timer process died before the kernel was asked, nothing would come here.
        if gate.recv(1):
            os.closerange(0, 1024)
            while True:
                signal.pause()
    finally:
        os._exit(1)


def _drop_capabilities() -> None:
    """What a guard needed once nobody shall have from it."""
    header, nothing = _Header(_CAPABILITIES_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(nothing)), "capset")


def _listen(path: str) -> socket.socket:
    with suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(16)
    return listener


def _serve(listener: socket.socket, timer: Timer) -> None:
    """Answer one client. Only the daemon's user and root reach the socket."""
    try:
        client, _ = listener.accept()
    except OSError:  # The machine is out of files or memory for the moment.
        time.sleep(0.1)
        return
    with client, suppress(OSError):
        client.settimeout(CLIENT_SECONDS)
        asked = client.recv(DEADLINE_BYTES + 1)
        if len(asked) == DEADLINE_BYTES:
            with suppress(ValueError):
                timer.renew(int.from_bytes(asked, "big"))
            client.send(timer.deadline.to_bytes(DEADLINE_BYTES, "big"))


def _leave_cgroup() -> None:
    """Where no service manager gave this process a control group, leave that of the daemon.

    It matters for those by which processes are killed or frozen: on version 1 a frozen process does not die by SIGKILL.

    Raises OSError if that cannot be done.
    """
    with open("/proc/self/cgroup") as file:
        groups = [line.rstrip("\n").split(":", 2) for line in file]
    for _, controllers, group in groups:
        if controllers not in ("", "freezer") or group == "/" or "beemesh-guard" in group:
            continue
        place = f"{_cgroup_root(controllers)}/{CGROUP}"
        os.makedirs(place, exist_ok=True)
        with open(f"{place}/cgroup.procs", "w") as procs:
            procs.write(str(os.getpid()))


def _cgroup_root(controllers: str) -> str:
    with open("/proc/self/mountinfo") as mounts:
        for line in mounts:
            before, _, after = line.partition(" - ")
            kind, _, options = after.split(maxsplit=2)
            if kind == "cgroup2" if not controllers else kind == "cgroup" and controllers in options.strip().split(","):
                return before.split()[4]
    raise FileNotFoundError(f"control groups ({controllers or 'version 2'}) are not mounted")


def _write(path: str, state: "dict[str, int | str]") -> None:
    """Write it aside and rename, so that nobody reads a half."""
    with open(f"{path}.new", "w") as file:
        json.dump(state, file)
    os.rename(f"{path}.new", f"{path}.json")


def _start(pid: int) -> int:
    """When a process began, in clock ticks since boot: with its id it names a process for good (proc_pid_stat(5))."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[19])


def _check(result: int, call: str) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])) if len(sys.argv) > 1 else answer(0))
