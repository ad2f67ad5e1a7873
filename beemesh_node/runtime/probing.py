"""When a probe is asked and when its answers count (v1.Probe). Time is trio's clock; asking is the caller's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from beemesh_node.workloads.pod import Probe

Ask: TypeAlias = Callable[[Probe], Awaitable[bool | None]]
"""Asks once: healthy or not, or None if there was nobody to ask, which says nothing."""


class Threshold:
    """Turns single answers into a verdict: so many successes, or failures, in a row."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._last: bool | None = None
        self._in_a_row = 0

    def verdict(self, healthy: bool) -> bool | None:
        """The verdict after one more answer; None while it is not decided."""
        self._in_a_row = self._in_a_row + 1 if healthy == self._last else 1
        self._last = healthy
        needed = self._probe.success_threshold if healthy else self._probe.failure_threshold
        return healthy if self._in_a_row >= needed else None


async def run_probe(
    probe: Probe,
    ask: Ask,
    tell: Callable[[bool], None] | None = None,
    *,
    until_success: bool = False,
    until_failure: bool = False,
) -> bool:
    """Ask again and again, and `tell` each verdict; return the first one that was waited for.

    Answers later than the probe's timeout are failures. A slow answer delays the next question, as in Kubernetes.
    """
    threshold = Threshold(probe)
    await trio.sleep(probe.initial_delay_seconds)
    while True:
        asked_at = trio.current_time()
        healthy: bool | None = False
        with trio.move_on_after(probe.timeout_seconds):
            healthy = await ask(probe)
        verdict = None if healthy is None else threshold.verdict(healthy)
        if verdict is not None:
            if tell:
                tell(verdict)
            if (verdict and until_success) or (not verdict and (until_failure or until_success)):
                return verdict
        await trio.sleep_until(asked_at + probe.period_seconds)
