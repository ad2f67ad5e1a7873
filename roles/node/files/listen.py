"""What systemd's socket units do, for machines without systemd: have a socket, and a program behind it.

listen.py [--group GROUP] SOCKET COMMAND...     hand the socket to the command, as sd_listen_fds(3) says
listen.py --accept SOCKET COMMAND...            start the command for each connection, as its standard input
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import time
from typing import NoReturn

_FIRST = 3
_BUSY_SECONDS = 0.1


def listen(path: str, group: str, kind: int) -> socket.socket:
    """Open a socket for its owner, and for a group if one is named; what a former process left is removed."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, kind)
    before = os.umask(0o177)
    listener.bind(path)
    os.umask(before)
    if group:
        shutil.chown(path, group=group)
        os.chmod(path, 0o660)
    listener.listen(128)
    return listener


def hand_over(listener: socket.socket, command: "list[str]") -> NoReturn:
    """Become the command, which has the socket."""
    os.dup2(listener.fileno(), _FIRST)
    os.set_inheritable(_FIRST, True)  # dup2 leaves a descriptor as it is that has the number already
    os.execve(command[0], command, {**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())})  # noqa: S606 - as it was told


def accept(listener: socket.socket, command: "list[str]") -> NoReturn:
    """Start the command for each connection."""
    signal.signal(signal.SIGCHLD, _bury)
    while True:
        try:
            connection = listener.accept()[0]
        except OSError:  # out of files or memory for the moment
            time.sleep(_BUSY_SECONDS)
            continue
        with connection:
            if os.fork() == 0:
                os.dup2(connection.fileno(), 0)
                os.execv(command[0], command)  # noqa: S606


def _bury(*_signal: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """Read the arguments and listen, for ever."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", default="", help="who may connect besides the owner")
    parser.add_argument("--accept", action="store_true", help="start the command for each connection")
    parser.add_argument("socket")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.accept:
        accept(listen(given.socket, given.group, socket.SOCK_SEQPACKET), given.command)
    hand_over(listen(given.socket, given.group, socket.SOCK_STREAM), given.command)


if __name__ == "__main__":
    main()
