"""Podman's framing of output without a terminal: stream number, three zero bytes, length (32 bit, big endian)."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable

from beemesh_node.runtime.http_response import HttpError

_HEADER = struct.Struct(">B3xI")
_PIECE = 64 * 1024


async def read_frames(receive: Callable[[], Awaitable[bytes]]) -> AsyncIterator[tuple[int, bytes]]:
    """Split what `receive` gives into pieces of stream 1 (stdout) or 2 (stderr), until it gives nothing.

    A frame may be of any length; it is given out as it comes. Raises HttpError if it breaks off or is no frame.
    """
    buffer = bytearray()
    number = left = 0
    while piece := await receive():
        buffer += piece
        while True:
            if left:
                part = bytes(buffer[: min(left, _PIECE)])
                if not part:
                    break
                del buffer[: len(part)]
                left -= len(part)
                yield number, part
            elif len(buffer) >= _HEADER.size:
                number, left = _HEADER.unpack_from(buffer)
                del buffer[: _HEADER.size]
                if number > 3:
                    raise HttpError(f"not a frame of output (stream {number})")
            else:
                break
    if left or buffer:
        raise HttpError("the output broke off")
