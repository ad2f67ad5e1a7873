"""A reader that pauses for 5 s breaks the stream: writing gives up on a window that stays closed for so long.

`logs -f` into a paused terminal is such a reader. Guarded by writing only as much as the window holds, and waiting
longer for it to open; that the peer lives at all is for keepalive to find out.
"""

from typing import Any

import trio

from beemesh_node.network.guards import Substitution
from beemesh_node.network.guards.window_updates import RareWindowUpdates
from beemesh_node.network.library import MuxedStreamError, yamux

PATIENCE = 60.0
"""Seconds that a reader may pause with its window closed."""
_POLL = 0.01
_FRAME = yamux.MAX_MESSAGE_SIZE - yamux.HEADER_SIZE


class PatientStream(RareWindowUpdates, yamux.YamuxStream):  # type: ignore[misc]
    """A stream whose writer waits for a reader that pauses; with the guard of `window_updates`."""

    async def write(self, data: bytes) -> None:
        """Write all of `data`; raises MuxedStreamError if the stream is closed, or its reader paused for too long."""
        view = memoryview(data)
        while view:
            await self._wait_for_window()
            piece = bytes(view[: min(self.send_window, _FRAME)])
            await super().write(piece)
            view = view[len(piece) :]

    async def _wait_for_window(self) -> None:
        if self.send_window > 0:
            return
        with trio.move_on_after(PATIENCE):
            while self.send_window <= 0 and not (self.closed or self.send_closed):  # noqa: ASYNC110
                await trio.sleep(_POLL)
        if self.closed or self.send_closed:
            raise MuxedStreamError("the stream is closed")
        if self.send_window <= 0:
            raise MuxedStreamError(f"the peer has read nothing for {PATIENCE:.0f} s")


SUBSTITUTION: Any = Substitution(
    "paused-reader",
    yamux,
    "YamuxStream",
    PatientStream,
    (
        "libp2p.stream_muxer.yamux.yamux.YamuxStream.write",
        "libp2p.stream_muxer.yamux.yamux.YamuxStream._auto_tune_and_send_window_update",
        "libp2p.stream_muxer.yamux.yamux.Yamux.open_stream",
    ),
)
