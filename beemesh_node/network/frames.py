"""Frames on a libp2p stream: a 4-byte big-endian length, then that many bytes. Imports libp2p; see `library`."""

from contextlib import suppress
from typing import Any

import trio

from beemesh_node.network.api import (
    ConnectionLost,
    FrameTooLarge,
    NetworkError,
    ProtocolRefused,
    StreamBroken,
    StreamEnded,
)
from beemesh_node.network.library import MULTISTREAM, BaseLibp2pError, MultiselectCommunicator, StreamEOF, encode_delim
from beemesh_node.protocol.ids import PeerId

STREAM_ERRORS: tuple[type[Exception], ...] = (
    BaseLibp2pError,
    OSError,
    ValueError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
)
"""What reading or writing a libp2p stream raises when the stream or its connection is gone."""
FAILURES: tuple[type[Exception], ...] = (NetworkError, trio.TooSlowError, *STREAM_ERRORS)
"""The same, as our own streams put it, and lateness."""
_CHUNK = 64 << 10
_LINGER = 5.0
"""Seconds that a peer gets to close its side of a stream that we closed."""
_GOODBYE = 2.0
"""Seconds for the frame that closes or resets a stream; a peer that takes none of it is dealt with by keepalive."""


class Libp2pFrameStream:
    """`FrameStream` over one libp2p stream."""

    def __init__(self, stream: Any, peer: PeerId, admission: object = None, *, proposed: str = "") -> None:
        """`admission`: of the connection; `proposed`: a protocol that is still to be agreed on.

        It travels with the first bytes written, and the other side's word on it is read with the first bytes it sends,
        so that agreeing costs no round trip.
        """
        self._stream = stream
        self._peer = peer
        self._admission = admission
        self._proposed = proposed
        self._unsent = b"".join(encode_delim(each.encode()) for each in (MULTISTREAM, proposed)) if proposed else b""

    @property
    def peer(self) -> PeerId:
        """The peer at the other end."""
        return self._peer

    @property
    def admission(self) -> object:
        """See `FrameStream.admission`."""
        return self._admission

    async def read_frame(self, limit: int) -> bytes:
        """See `FrameStream.read_frame`."""
        if self._proposed:
            await self._agree()
        length = int.from_bytes(await self._read_exactly(4, between_frames=True), "big")
        if length > limit:
            await self.reset()
            raise FrameTooLarge(f"{self._peer} announced a frame of {length} bytes, the limit here is {limit}")
        return await self._read_exactly(length, between_frames=False)

    async def write_frame(self, data: bytes) -> None:
        """See `FrameStream.write_frame`."""
        if len(data) > 0xFFFFFFFF:
            raise FrameTooLarge(f"a frame of {len(data)} bytes cannot be announced in four bytes")
        await self._write(len(data).to_bytes(4, "big") + data)

    async def _write(self, data: bytes) -> None:
        first, self._unsent = self._unsent, b""
        try:
            await self._stream.write(first + data)
        except STREAM_ERRORS as error:
            raise self._broken("writing to", error) from error

    async def close(self) -> None:
        """See `FrameStream.close`."""
        with trio.move_on_after(_GOODBYE), suppress(*STREAM_ERRORS):
            await self._stream.close_write()

    async def reset(self) -> None:
        """See `FrameStream.reset`."""
        with trio.move_on_after(_GOODBYE) as scope:
            scope.shield = True
            with suppress(*STREAM_ERRORS):
                await self._stream.reset()

    async def dispose(self) -> None:
        """End the stream: say so, and wait a while for the peer to say so too, discarding what it sends; else reset."""
        await self.close()
        with trio.move_on_after(_LINGER), suppress(*STREAM_ERRORS):
            while await self._stream.read(_CHUNK):
                pass
        with trio.move_on_after(_GOODBYE), suppress(*STREAM_ERRORS):
            if self._stream.muxed_stream.recv_closed:
                await self._stream.close()
            else:
                await self._stream.reset()

    async def _agree(self) -> None:
        """Read what the other side says to the protocol that was proposed."""
        if self._unsent:
            await self._write(b"")
        communicator = MultiselectCommunicator(self._stream)
        try:
            said = (await communicator.read(), await communicator.read())
        except STREAM_ERRORS as error:
            raise self._broken(f"agreeing on {self._proposed} with", error) from error
        if said != (MULTISTREAM, self._proposed):
            await self.reset()
            raise ProtocolRefused(f"{self._peer} does not serve {self._proposed}")
        self._proposed = ""

    async def _read_exactly(self, length: int, *, between_frames: bool) -> bytes:
        buffer = bytearray()
        while len(buffer) < length:
            try:
                chunk = await self._stream.read(min(length - len(buffer), _CHUNK))
            except StreamEOF as error:
                if self._cut() or self._stream.muxed_stream.reset_received:
                    raise self._broken("reading from", error) from error
                chunk = b""
            except STREAM_ERRORS as error:
                raise self._broken("reading from", error) from error
            if not chunk:
                if between_frames and not buffer:
                    raise StreamEnded(f"{self._peer} closed its side of the stream")
                raise StreamBroken(f"{self._peer} ended the stream within a frame")
            buffer += chunk
        return bytes(buffer)

    def _broken(self, doing: str, error: Exception) -> StreamBroken:
        if self._cut():
            return ConnectionLost(f"the connection to {self._peer} was lost")
        return StreamBroken(f"{doing} {self._peer}: {error or type(error).__name__}")

    def _cut(self) -> bool:
        return bool(self._stream.muxed_conn.event_shutting_down.is_set())
