"""Yamux answers from its reading task, so two peers whose send buffers are full wait for each other for ever.

The reader answers a SYN with an ACK and a ping with a pong, and does not read on before the answer is written. Guarded
by a queue: the reader never writes, a task of the connection does.
"""

from typing import Any

import trio

from beemesh_node.network.guards import Guard
from beemesh_node.network.library import BaseLibp2pError

_QUEUED = 4096
"""Answers of 12 bytes that may wait; a peer that takes none of them while asking for more is cut off."""


class QueuedReplies:
    """Overrides `Yamux`."""

    secured_conn: Any
    _nursery: trio.Nursery
    _reader: trio.lowlevel.Task | None = None
    _replies: trio.MemorySendChannel[bytes]

    async def _write_frame(self, data: bytes) -> None:
        if trio.lowlevel.current_task() is not self._reader:
            await super()._write_frame(data)  # type: ignore[misc]
            return
        try:
            self._replies.send_nowait(data)
        except trio.WouldBlock:
            raise OSError("the peer does not read the answers it asks for") from None  # ends the reader

    async def handle_incoming(self) -> None:
        """Read frames, with a task beside that writes the answers."""
        self._reader = trio.lowlevel.current_task()
        self._replies, replies = trio.open_memory_channel[bytes](_QUEUED)
        self._nursery.start_soon(self._write_replies, replies)
        await super().handle_incoming()  # type: ignore[misc]

    async def _write_replies(self, replies: trio.MemoryReceiveChannel[bytes]) -> None:
        try:
            async for frame in replies:
                await super()._write_frame(frame)  # type: ignore[misc]
        except (BaseLibp2pError, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the connection is lost; the reader will see it too


GUARD = Guard(
    "inline-replies",
    QueuedReplies,
    (
        "libp2p.stream_muxer.yamux.yamux.Yamux._write_frame",
        "libp2p.stream_muxer.yamux.yamux.Yamux.handle_incoming",
        "libp2p.stream_muxer.yamux.yamux.Yamux.start",
    ),
)
