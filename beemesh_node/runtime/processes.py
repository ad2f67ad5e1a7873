"""Whether processes of this machine live, told by pidfds: a process id alone may mean another one a moment later.

So may one that Podman wrote down before; that it was given to another process since goes unnoticed.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

import trio


async def process_end(pid: int) -> bool:
    """Wait for the end of a process of this machine; False at once if it cannot be watched from here."""
    with _watched(pid) as (descriptor, gone):
        if descriptor is None:
            return gone
        await trio.lowlevel.wait_readable(descriptor)
        return True


def is_gone(pid: int) -> bool:
    """Whether a process of this machine has ended; False if it cannot be known."""
    with _watched(pid) as (descriptor, gone):
        if descriptor is None:
            return gone
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))


@contextmanager
def _watched(pid: int) -> Iterator[tuple[int | None, bool]]:
    """A descriptor that can be read once the process has ended; without one, whether it has."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError as error:
        yield None, isinstance(error, ProcessLookupError)
        return
    try:
        yield descriptor, False
    finally:
        os.close(descriptor)
