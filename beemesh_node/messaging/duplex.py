"""The sealed stream of `logs` and `exec` over a network stream: frames out and in, an end that is told from a cut."""

from __future__ import annotations

from types import TracebackType
from typing import final

import trio

from beemesh_node.crypto.errors import CryptoError
from beemesh_node.messaging.errors import PeerRefused
from beemesh_node.messaging.wire import MAX_STREAM_FRAME
from beemesh_node.network.api import FrameStream, NetworkError
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.sealed_stream import FrameKind, SealedStream, StreamFrame


@final
class SealedDuplex:
    """One end of a sealed stream. One task may send while another receives; the end of the block says `END`."""

    def __init__(self, stream: FrameStream, secret: bytes, message_id: bytes, *, asker: bool) -> None:
        self._stream = stream
        self._sealed = SealedStream(secret, message_id, asker=asker)
        self._sending = trio.Lock()
        self._ended = False

    async def __aenter__(self) -> SealedDuplex:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.end()

    async def send(self, kind: FrameKind, data: bytes) -> None:
        """Send one frame. Raises `PeerRefused` when the other end is gone."""
        async with self._sending:
            self._ended = self._ended or kind is FrameKind.END
            try:
                await self._stream.write_frame(self._sealed.seal(StreamFrame(kind, data)))
            except NetworkError as error:
                raise PeerRefused(f"the stream was cut: {error}") from error

    async def end(self) -> None:
        """Say that nothing follows; a second time does nothing, nor when the other end is gone."""
        if self._ended:
            return
        try:
            await self.send(FrameKind.END, b"")
        except PeerRefused:
            return

    async def receive(self) -> tuple[FrameKind, bytes]:
        """Wait for the next frame; `END` is the last. Raises `PeerRefused` when it is cut short or altered."""
        try:
            frame = self._sealed.open(await self._stream.read_frame(MAX_STREAM_FRAME))
        except NetworkError as error:
            raise PeerRefused("the stream was cut before its end: what was shown may be incomplete") from error
        except (ProtocolError, CryptoError) as error:
            raise PeerRefused(f"the stream was altered on the way: {error}") from error
        return frame.kind, frame.data
