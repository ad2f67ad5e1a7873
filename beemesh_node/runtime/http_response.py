"""HTTP/1.1 answers read from a trio stream: enough for Podman's endless answers and for httpGet probes (RFC 9112).

podman-py reads streams in a blocked thread that cannot be cancelled; these can.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

MAX_HEAD = 64 * 1024
_CHUNK = 64 * 1024


class HttpError(Exception):
    """What came is not HTTP/1.1, is too large, or broke off."""


class HttpResponse:
    """One answer: its head is read by `receive`, its body by one of the other methods."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self.status = 0
        self.headers: dict[str, str] = {}

    async def receive(self) -> None:
        """Read the head.

        Raises HttpError.
        """
        head = await self._until(b"\r\n\r\n", MAX_HEAD)
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise HttpError(f"not an HTTP/1.1 answer: {first[:80]!r}")
        self.status = int(rest[:3])
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()

    async def body(self) -> AsyncIterator[bytes]:
        """Pieces of the body as they come.

        Raises HttpError if it breaks off.
        """
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            async for piece in self._chunked():
                yield piece
            return
        length = self.headers.get("content-length")
        if length is None:
            while piece := await self.raw():
                yield piece
            return
        left = _number(length, 10)
        while left:
            piece = await self.raw(left)
            if not piece:
                raise HttpError("the body broke off")
            left -= len(piece)
            yield piece

    async def lines(self, limit: int) -> AsyncIterator[bytes]:
        """Lines of the body, each of at most `limit` bytes.

        Raises HttpError.
        """
        line = bytearray()
        async for piece in self.body():
            line += piece
            while (end := line.find(b"\n")) >= 0:
                yield bytes(line[:end])
                del line[: end + 1]
            if len(line) > limit:
                raise HttpError(f"a line of more than {limit} bytes")
        if line:
            yield bytes(line)

    async def read(self, limit: int) -> bytes:
        """The body, or its first `limit` bytes.

        Raises HttpError.
        """
        found = bytearray()
        async for piece in self.body():
            found += piece
            if len(found) >= limit:
                break
        return bytes(found[:limit])

    async def raw(self, limit: int = _CHUNK) -> bytes:
        """What comes next on the connection, undecoded (after an upgrade); empty at its end.

        Raises HttpError.
        """
        if not self._buffer:
            await self._fill()
        piece = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        return piece

    async def _chunked(self) -> AsyncIterator[bytes]:
        while True:
            size = _number((await self._until(b"\r\n", MAX_HEAD)).partition(b";")[0].decode("latin-1"), 16)
            if size == 0:
                return
            while size:
                piece = await self.raw(min(size, _CHUNK))
                if not piece:
                    raise HttpError("the body broke off")
                size -= len(piece)
                yield piece
            await self._until(b"\r\n", 2)

    async def _until(self, mark: bytes, limit: int) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > limit:
                raise HttpError(f"no end of line within {limit} bytes")
            if not await self._fill():
                raise HttpError("the connection ended early")
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return found

    async def _fill(self) -> bool:
        try:
            piece = await self._stream.receive_some(_CHUNK)
        except trio.BrokenResourceError as error:
            raise HttpError("the connection broke") from error
        self._buffer += piece
        return bool(piece)


def _number(text: str, base: int) -> int:
    try:
        value = int(text.strip(), base)
    except ValueError:
        value = -1
    if value < 0:
        raise HttpError(f"not a length: {text[:40]!r}")
    return value
