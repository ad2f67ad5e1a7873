"""Whoever writes a frame writes to the connection itself, so that a task's end or wait becomes everybody's.

A task that is cancelled between the encryption of its frame and the socket leaves a hole in the key stream: the other
side cannot read anything after it, mostly waits for bytes that never come, and both ends are silent until a keepalive
finds out. And the reader, which answers a SYN with an ACK and a ping with a pong, does not read on before the answer is
written: two peers whose send buffers are full wait for each other for ever.

Guarded by one task of the connection that writes all frames, each whole, in order. Whoever has data to send waits until
it is on its way, and may be cancelled; the frame is sent all the same. Frames without data are left to it.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import trio

from beemesh_node.network.guards import Guard
from beemesh_node.network.library import BaseLibp2pError, RawConnError, yamux

_QUEUED = 4096
"""Frames that may wait; a peer that takes none of them while asking for more is cut off."""
_GO_AWAY = bytes((0, yamux.TYPE_GO_AWAY))
"""How the farewell begins, after which the socket is closed."""


@dataclass(slots=True)
class _Frame:
    data: bytes
    done: trio.Event = field(default_factory=trio.Event)
    sent: bool = False


class SingleWriter:
    """Overrides `Yamux`."""

    _nursery: trio.Nursery

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._to_write, self._written = trio.open_memory_channel[_Frame](_QUEUED)

    async def _write_frame(self, data: bytes) -> None:
        frame = _Frame(data)
        try:
            self._to_write.send_nowait(frame)
        except trio.WouldBlock:
            raise RawConnError("the peer does not take the frames it is sent") from None  # ends the reader, if it asks
        except trio.BrokenResourceError:
            raise RawConnError("the connection is lost") from None
        if len(data) == yamux.HEADER_SIZE and not data.startswith(_GO_AWAY):
            return
        await frame.done.wait()
        if not frame.sent:
            raise RawConnError("the connection is lost")

    async def handle_incoming(self) -> None:
        """Read frames, with a task beside that writes."""
        self._nursery.start_soon(self._write_frames)
        await super().handle_incoming()  # type: ignore[misc]

    async def _write_frames(self) -> None:
        try:
            async for frame in self._written:
                try:
                    await super()._write_frame(frame.data)  # type: ignore[misc]
                    frame.sent = True
                finally:
                    frame.done.set()
        except (BaseLibp2pError, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the connection is lost; the reader will see it too
        finally:
            self._tell_who_waits()

    def _tell_who_waits(self) -> None:
        """Nobody waits any longer than there is somebody who writes."""
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                self._written.receive_nowait().done.set()
        self._written.close()


GUARD = Guard(
    "single-writer",
    SingleWriter,
    (
        "libp2p.stream_muxer.yamux.yamux.Yamux.__init__",
        "libp2p.stream_muxer.yamux.yamux.Yamux._write_frame",
        "libp2p.stream_muxer.yamux.yamux.Yamux.handle_incoming",
        "libp2p.stream_muxer.yamux.yamux.Yamux.start",
    ),
)
