"""The bodies of `logs` and `exec`: a two-way stream that every machine between passes on and none can read or alter.

The request is a sealed, signed message and carries 32 fresh random bytes, the stream secret. Both ends derive a key for
each direction from it and from the request's message id, then send session frames (see `frames`) whose plaintext is

    kind (1 byte) ‖ data

Frames follow each other without a gap and the last one is `END`, so that a deleted, repeated or reordered frame and a
stream that was cut short are all noticed. Nothing here does I/O.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct, error
from typing import Final, final

from beemesh_node.protocol.errors import MalformedError, ReplayedError, TruncatedError
from beemesh_node.protocol.frames import FRAME_OVERHEAD, MAX_FRAME, FrameOpener, FrameSealer, frame_key

STREAM_SECRET_SIZE: Final = 32
MAX_STREAM_DATA: Final = MAX_FRAME - FRAME_OVERHEAD - 1
"""Bytes of data in one frame at most."""

_RESIZE: Final = Struct(">HH")
_EXIT: Final = Struct(">i")


class FrameKind(IntEnum):
    """What the data of a frame is."""

    DATA = 0
    """Lines of a log."""
    STDOUT = 1
    STDERR = 2
    STDIN = 3
    """Empty: the end of the input."""
    RESIZE = 4
    """Rows and columns of the terminal, two bytes each."""
    EXIT = 5
    """The exit code of the command, four bytes, signed."""
    ERROR = 6
    """Why the stream fails, UTF-8, for people."""
    END = 7
    """Nothing follows in this direction. No data."""


@dataclass(frozen=True, slots=True)
class StreamFrame:
    """One frame of a sealed stream."""

    kind: FrameKind
    data: bytes = b""

    @classmethod
    def resize(cls, rows: int, columns: int) -> "StreamFrame":
        """Make a `RESIZE` frame; both numbers are at most 65535."""
        return cls(FrameKind.RESIZE, _RESIZE.pack(rows, columns))

    @classmethod
    def exit(cls, code: int) -> "StreamFrame":
        """Make an `EXIT` frame."""
        return cls(FrameKind.EXIT, _EXIT.pack(code))

    def size(self) -> tuple[int, int]:
        """Return rows and columns of a `RESIZE` frame; raises MalformedError if it has not just these."""
        rows, columns = self._unpack(_RESIZE)
        return rows, columns

    def exit_code(self) -> int:
        """Return the code of an `EXIT` frame; raises MalformedError if it has not just this."""
        (code,) = self._unpack(_EXIT)
        return code

    def _unpack(self, layout: Struct) -> tuple[int, ...]:
        try:
            return layout.unpack(self.data)
        except error:
            raise MalformedError(f"a {self.kind.name} frame with {len(self.data)} bytes of data") from None


@final
class SealedStream:
    """One end of a sealed stream. What `open` refuses changes nothing, but the stream cannot be trusted to go on."""

    def __init__(self, secret: bytes, message_id: bytes, *, asker: bool) -> None:
        """`asker` is the end that sent the request with `secret` under `message_id`.

        Raises:
            MalformedError: `secret` is not `STREAM_SECRET_SIZE` bytes.
        """
        if len(secret) != STREAM_SECRET_SIZE:
            raise MalformedError(f"a stream secret of {len(secret)} bytes: {STREAM_SECRET_SIZE} are needed")
        keys = frame_key(secret, b"stream/ask", message_id), frame_key(secret, b"stream/answer", message_id)
        ours, theirs = keys if asker else reversed(keys)
        self._sealer, self._opener = FrameSealer(ours), FrameOpener(theirs, gapless=True)
        self._sent_end = self._got_end = False

    def seal(self, frame: StreamFrame) -> bytes:
        """Return the bytes to send.

        Raises:
            OversizeError: more than `MAX_STREAM_DATA` bytes of data.
            ValueError: `END` was sealed before.
        """
        if self._sent_end:
            raise ValueError("nothing can follow the END of a stream")
        sealed = self._sealer.seal(bytes([frame.kind]) + frame.data)
        self._sent_end = frame.kind is FrameKind.END
        return sealed

    def open(self, data: bytes) -> StreamFrame:
        """Return the next frame of the other end.

        Raises:
            ReplayedError: repeated, out of order, one before it is missing, or it comes after `END`.
            DecryptionError: altered on the way, or of another stream.
            OversizeError, MalformedError: no frame.
        """
        if self._got_end:
            raise ReplayedError("a frame came after the END of the stream")
        plaintext = self._opener.open(data)
        if not plaintext or plaintext[0] not in FrameKind.__members__.values():
            raise MalformedError("a frame of no known kind")
        frame = StreamFrame(FrameKind(plaintext[0]), plaintext[1:])
        self._got_end = frame.kind is FrameKind.END
        return frame

    def close(self) -> None:
        """Say that the transport brought all it will bring.

        Raises:
            TruncatedError: the other end had not sent `END`: something on the way cut the stream, or it died.
        """
        if not self._got_end:
            raise TruncatedError("the stream was cut off before its end: what was shown may be incomplete")
