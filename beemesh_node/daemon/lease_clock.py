"""The end of a lease on the clock of the kernel's timers.

The decision core counts on a clock that stands still while the machine sleeps (CLOCK_MONOTONIC, as trio does); guards
count on one that goes on (CLOCK_BOOTTIME). The difference between both is taken when a request for a lease leaves:
should the machine have slept before the answer came, the answer counts for nothing.
"""

from __future__ import annotations

import trio

from beemesh_node.runtime.guard import boottime

_NOISE = 0.05
"""Seconds by which the difference may seem to change although the machine was awake."""


class LeaseClock:
    """Turns moments of the core's clock into those of the guards'."""

    def __init__(self) -> None:
        self._ahead = self.mark()

    def mark(self) -> float:
        """Return by how many seconds the guards' clock is ahead, just now."""
        return boottime() - trio.current_time()

    def awake_since(self, mark: float) -> bool:
        """Whether the machine has not slept since `mark`; then deadlines are counted by it from now on."""
        if abs(self.mark() - mark) > _NOISE:
            return False
        self._ahead = mark
        return True

    def deadline(self, moment: float) -> float:
        """Return a moment of the core's clock as a guard takes it."""
        return moment + self._ahead
