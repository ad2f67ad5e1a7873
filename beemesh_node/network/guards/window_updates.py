"""Every read of a stream, be it of one byte, sends a window update: a frame to encrypt, send, receive and decrypt.

Choosing a stream's protocol reads its name byte by byte, so that a short question costs more updates than anything
else. Guarded by holding the credit back until it is half of a window, as Yamux's other implementations do.
"""

from typing import Any

from beemesh_node.network.library import yamux

_WORTH_SENDING = yamux.DEFAULT_WINDOW_SIZE // 2


class RareWindowUpdates:
    """Overrides `YamuxStream`."""

    _held_back = 0

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
        self._held_back += bytes_read
        if self._held_back < _WORTH_SENDING:
            return
        released, self._held_back = self._held_back, 0
        parent: Any = super()
        await parent._auto_tune_and_send_window_update(bytes_read=released)
