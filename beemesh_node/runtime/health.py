"""Whether Podman answers. A hung one keeps its connections open, so nothing but a question shows it."""

from __future__ import annotations

from collections.abc import Callable

import trio

from beemesh_node.runtime.errors import PodmanRefusedError, RuntimeUnavailableError
from beemesh_node.runtime.podman_api import PodmanApi

ASK_EVERY = 1.0
"""Seconds between two questions."""
ANSWER_WITHIN = 3.0
"""Seconds. Podman answers within milliseconds; on a machine with ten times the work it can do, within one."""


async def watch_health(api: PodmanApi, tell: Callable[[bool], None]) -> None:
    """Tell after each question whether Podman answered. Never returns."""
    while True:
        answered = False
        with trio.move_on_after(ANSWER_WITHIN):
            try:
                await api.ping()
                answered = True
            except (RuntimeUnavailableError, PodmanRefusedError):
                pass  # As good as no answer.
        tell(answered)
        await trio.sleep(ASK_EVERY)
