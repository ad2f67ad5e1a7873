"""The receive window is not enforced: a peer may send without end on one stream, and all of it is kept in memory.

The library logs the excess and goes on; its window also grows to 16 MiB a stream. Guarded by a bound on what is
buffered for all streams of a connection together, beyond which the connection is closed, and by smaller windows, so
that honest peers stay within it.
"""

from typing import Any

import trio

from beemesh_node.network.guards import Guard, Substitution
from beemesh_node.network.library import yamux


class BoundedBuffers:
    """Overrides `Yamux`."""

    buffered_per_connection = 8 << 20
    stream_buffers: dict[int, bytearray]
    contained: Any

    async def _read_data_body(self, length: int) -> bytes:
        if length + sum(map(len, self.stream_buffers.values())) > self.buffered_per_connection:
            self.contained("receive-window", OverflowError("more unread data than a connection may hold"))
            raise trio.TooSlowError(
                "too much unread data"
            )  # of its errors, the one at which the reader closes the connection
        body: bytes = await super()._read_data_body(length)  # type: ignore[misc]
        return body


GUARD = Guard(
    "receive-window",
    BoundedBuffers,
    (
        "libp2p.stream_muxer.yamux.yamux.Yamux._read_data_body",
        "libp2p.stream_muxer.yamux.yamux.Yamux.handle_incoming",
    ),
)


def window_limit(stream_window: int) -> Substitution:
    """Keep the library from letting a stream's window grow beyond `stream_window` bytes."""
    return Substitution(
        "receive-window",
        yamux,
        "MAX_WINDOW_SIZE",
        stream_window,
        ("libp2p.stream_muxer.yamux.yamux.YamuxStream._apply_autotune_epoch",),
    )
