"""Joining two streams, so that who is at their far ends can talk through a machine that reads nothing of it."""

from __future__ import annotations

import trio

from beemesh_node.messaging.wire import MAX_DIRECT
from beemesh_node.network.api import FrameStream, NetworkError, StreamEnded


async def pipe(one: FrameStream, other: FrameStream) -> None:
    """Pass frames on, both ways, one at a time, until both ends are closed or either breaks. Raises nothing."""
    async with trio.open_nursery() as nursery:

        async def forward(source: FrameStream, sink: FrameStream) -> None:
            try:
                while True:
                    await sink.write_frame(await source.read_frame(MAX_DIRECT))
            except StreamEnded:
                await sink.close()
            except NetworkError:
                await one.reset()
                await other.reset()
                nursery.cancel_scope.cancel()

        nursery.start_soon(forward, one, other)
        nursery.start_soon(forward, other, one)
