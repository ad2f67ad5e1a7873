"""Podman's events about this mesh's containers, for ever."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import trio

from beemesh_node.runtime.errors import PodmanRefusedError, RuntimeUnavailableError
from beemesh_node.runtime.labels import MESH
from beemesh_node.runtime.podman_api import PodmanApi
from beemesh_node.runtime.podman_stream import open_stream

FIRST_RETRY = 0.1
LAST_RETRY = 5.0
"""Seconds between tries to reach a Podman that is gone, doubling."""
_MAX_EVENT = 256 * 1024


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """Something that happened to a container: `died`, `start`, `remove`, `oom` … in Podman's words."""

    action: str
    container_id: str


async def watch_events(
    api: PodmanApi, mesh: str, connected: Callable[[bool], None], tell: Callable[[ContainerEvent], None]
) -> None:
    """Tell of each event, and of each time that Podman comes or goes. Never returns.

    What happened while Podman was gone is not told again: look at everything when `connected(True)` is called.
    """
    retry = FIRST_RETRY
    filters = {"type": ["container"], "label": [f"{MESH}={mesh}"]}
    while True:
        try:
            async with open_stream(
                api.socket, "GET", "/events", {"stream": "true", "filters": json.dumps(filters)}
            ) as response:
                connected(True)
                retry = FIRST_RETRY
                async for line in response.lines(_MAX_EVENT):
                    if event := _read_event(line):
                        tell(event)
        except (RuntimeUnavailableError, PodmanRefusedError):
            pass  # Told below, and tried again for ever.
        connected(False)
        await trio.sleep(retry)
        retry = min(retry * 2, LAST_RETRY)


def _read_event(line: bytes) -> ContainerEvent | None:
    try:
        data = json.loads(line)
        return ContainerEvent(str(data["Action"]), str(data["Actor"]["ID"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
