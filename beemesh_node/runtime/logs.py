"""What a container has written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from beemesh_node.runtime.frames import read_frames
from beemesh_node.runtime.podman_api import PodmanApi
from beemesh_node.runtime.podman_stream import open_stream


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which part of a log, and how. `tail` None is everything; `since_ms` is Unix milliseconds, 0 from the start."""

    follow: bool = False
    tail: int | None = None
    since_ms: int = 0
    timestamps: bool = False


WHOLE_LOG = LogOptions()


@asynccontextmanager
async def open_logs(
    api: PodmanApi, container_id: str, options: LogOptions
) -> AsyncIterator[AsyncIterator[tuple[int, bytes]]]:
    """Pairs of stream (1 stdout, 2 stderr) and bytes, until the log or, when following, the container ends.

    Raises PodmanRefusedError, RuntimeUnavailableError.
    """
    params = {
        "stdout": "true",
        "stderr": "true",
        "follow": str(options.follow).lower(),
        "timestamps": str(options.timestamps).lower(),
    }
    if options.tail is not None:
        params["tail"] = str(options.tail)
    if options.since_ms:
        params["since"] = f"{options.since_ms // 1000}.{options.since_ms % 1000:03d}"
    async with open_stream(api.socket, "GET", f"/containers/{container_id}/logs", params) as response:
        body = response.body()

        async def receive() -> bytes:
            return await anext(body, b"")

        yield read_frames(receive)
