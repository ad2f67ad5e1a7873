"""When an ended container is started again. No clock of its own: callers say how long the container ran."""

from __future__ import annotations

from beemesh_node.workloads.pod import RestartPolicy

INITIAL_DELAY = 10.0
MAX_DELAY = 300.0
RESET_AFTER = 600.0
"""Seconds of running after which the past is forgotten. All three are the kubelet's (`MaxContainerBackOff`)."""


class CrashLoopBackOff:
    """The first restart is at once, then 10 s, 20 s, 40 s … 5 min, until the container has run for 10 min."""

    def __init__(self, restarts: int = 0) -> None:
        """Continue after `restarts` earlier ones, which a former daemon made."""
        self._next = 0.0
        for _ in range(min(restarts, 16)):
            self._advance()

    def next_delay(self, ran_for: float) -> float:
        """Seconds to wait before the restart of a container that ran for `ran_for` seconds."""
        if ran_for >= RESET_AFTER:
            self._next = 0.0
        delay = self._next
        self._advance()
        return delay

    def _advance(self) -> None:
        self._next = min(self._next * 2 or INITIAL_DELAY, MAX_DELAY)


def restarts(policy: RestartPolicy, exit_code: int) -> bool:
    """Whether a container that ended with `exit_code` is started again."""
    return policy is RestartPolicy.ALWAYS or (policy is RestartPolicy.ON_FAILURE and exit_code != 0)
