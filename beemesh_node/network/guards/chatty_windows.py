"""Every read is announced to the sender: two of three frames on a quiet connection say that a few bytes were read.

Gossip reads its messages' lengths byte by byte, and each byte costs the other side a frame to decrypt. The library
knows go-yamux's rule, which waits until half of the window is read, but goes by it only where nothing was read.
Guarded by asking it only then.
"""

from typing import Any

from beemesh_node.network.guards import Substitution
from beemesh_node.network.library import yamux

_METHOD = "_auto_tune_and_send_window_update"
_announce: Any = vars(yamux.YamuxStream)[_METHOD]


async def announce_sparingly(stream: Any, *, bytes_read: int = 0) -> None:
    """Do as the library does, once what was read since the last time comes to half of the window."""
    read = vars(stream).get("_unannounced", 0) + bytes_read
    due = read >= stream._grow_threshold()
    stream._unannounced = 0 if due else read
    if due:
        await _announce(stream, bytes_read=read)


SUBSTITUTION: Any = Substitution(
    "chatty-windows",
    yamux.YamuxStream,
    _METHOD,
    announce_sparingly,
    (
        f"libp2p.stream_muxer.yamux.yamux.YamuxStream.{_METHOD}",
        "libp2p.stream_muxer.yamux.yamux.YamuxStream._grow_threshold",
    ),
)
