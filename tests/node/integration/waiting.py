"""Waiting for what happens in other processes, never longer than is sensible."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")

DEADLINE = 45.0
"""Seconds after which a test gives up."""
_LOOK_EVERY = 0.03


def until(
    condition: Callable[[], T | None], what: str, seconds: float = DEADLINE, why: Callable[[], object] = str
) -> T:
    """Return the first true value of `condition`; fail with `what` was awaited and `why` it did not come."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}; {why()}"
        select.select([], [], [], _LOOK_EVERY)
    return value


async def until_async(
    condition: Callable[[], T | None], what: str, seconds: float = DEADLINE, why: Callable[[], object] = str
) -> T:
    """The same, while the tasks of this process go on."""
    with trio.move_on_after(seconds):
        while not (value := condition()):  # noqa: ASYNC110 - what is waited for happens in another process
            await trio.sleep(_LOOK_EVERY)
        return value
    raise AssertionError(f"not within {seconds:g} s: {what}; {why()}")
