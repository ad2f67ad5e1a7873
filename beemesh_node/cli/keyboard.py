"""The person's own terminal, as the other end of `exec` and `logs`: raw mode, its size, bytes in and out.

Standard streams are read and written in threads: making them non-blocking would do so for every process that shares
the terminal.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import trio

CHUNK = 32 * 1024
STDIN, STDOUT, STDERR = 0, 1, 2
_MOST = 0xFFFF


@contextmanager
def raw_mode() -> Iterator[None]:
    """Hand every key to the far end while the block runs; nothing happens when standard input is no terminal."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(STDIN)
    try:
        tty.setraw(STDIN)
        yield
    finally:
        termios.tcsetattr(STDIN, termios.TCSADRAIN, before)


async def typed() -> AsyncIterator[bytes]:
    """What comes in on standard input, until its end. Iterate in one task and nowhere else."""
    while True:
        # A read that nobody waits for any more dies with the process.
        data = await trio.to_thread.run_sync(_read, abandon_on_cancel=True)  # type: ignore[call-arg, unused-ignore]
        if not data:
            return
        yield data


def _read() -> bytes:
    return os.read(STDIN, CHUNK)


async def write(descriptor: int, data: bytes) -> None:
    """Write all of `data` to standard output or error. Raises `BrokenPipeError` when nobody reads it any more."""
    await trio.to_thread.run_sync(_write_all, descriptor, data)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


async def resized() -> AsyncIterator[tuple[int, int]]:
    """Rows and columns of the terminal, now and after every change. Iterate in one task and nowhere else."""
    with trio.open_signal_receiver(signal.SIGWINCH) as changes:
        yield _size()
        async for _ in changes:
            yield _size()


def _size() -> tuple[int, int]:
    columns, rows = shutil.get_terminal_size()
    return min(rows, _MOST), min(columns, _MOST)
