"""Splicing two streams, as a relay does that carries frames between members which it cannot read."""

import trio

from beemesh_node.network.api import FrameStream, NetworkError, StreamEnded


async def pipe(left: FrameStream, right: FrameStream, limit: int = 1 << 20) -> None:
    """Carry frames of at most `limit` bytes between two streams, both ways, until either ends or breaks.

    At most one frame each way is held, so a slow side slows the other. A side that closes cleanly is closed towards the
    other, which may still answer; once both have, or one breaks, both are ended.
    """

    async def carry(source: FrameStream, target: FrameStream) -> None:
        try:
            while True:
                await target.write_frame(await source.read_frame(limit))
        except StreamEnded:
            await target.close()
        except NetworkError:
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry, left, right)
        nursery.start_soon(carry, right, left)
    if nursery.cancel_scope.cancelled_caught:
        await left.reset()
        await right.reset()
