"""Session frames: AES-256-GCM with counters, for what two directly connected members say many times a second.

    frame = counter (8 bytes, big-endian) ‖ ciphertext ‖ tag (16)

Each direction has a key of its own. The counter is the nonce (four zero bytes in front of it) and strictly increases,
so that nothing opens twice or out of order. Nothing that a third must later believe travels in a frame: whoever can
open one could have made it.
"""

from struct import Struct
from typing import Final, final

from beemesh_node.crypto import aead, kdf
from beemesh_node.protocol.errors import MalformedError, OversizeError, ReplayedError

MAX_FRAME: Final = 64 * 1024
"""Bytes of a frame at most."""
FRAME_OVERHEAD: Final = 8 + aead.TAG_SIZE
"""By how many bytes a frame is longer than its plaintext."""

_COUNTER: Final = Struct(">Q")
_EXHAUSTED: Final = 2**64


def frame_key(secret: bytes, purpose: bytes, binding: bytes) -> bytes:
    """Derive the key of one direction from a secret of at least 32 uniform bytes.

    `purpose` names the use and the direction; `binding` is what both sides must agree on: the hash of the transcript of
    their handshake, or the id of the request that carried the secret.
    """
    return kdf.expand(secret, b"beemesh/1/frames/" + purpose + b"\x00" + binding, aead.KEY_SIZE)


def _nonce(counter: bytes) -> bytes:
    return bytes(aead.NONCE_SIZE - len(counter)) + counter


@final
class FrameSealer:
    """Seals the frames of one direction. Its key must never be given to another sealer: counters would repeat."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._next = 0

    def seal(self, plaintext: bytes) -> bytes:
        """Return the next frame.

        Raises:
            OversizeError: `plaintext` is longer than `MAX_FRAME` less `FRAME_OVERHEAD`.
            OverflowError: all counters are used up; the session must be renewed.
        """
        if len(plaintext) > MAX_FRAME - FRAME_OVERHEAD:
            raise OversizeError(f"a frame of {len(plaintext)} bytes: at most {MAX_FRAME - FRAME_OVERHEAD} fit")
        if self._next == _EXHAUSTED:
            raise OverflowError("the counters of this session are used up: connect anew")
        counter = _COUNTER.pack(self._next)
        self._next += 1
        return counter + aead.encrypt(self._key, _nonce(counter), plaintext, b"")


@final
class FrameOpener:
    """Opens the frames of one direction. A frame that is refused changes nothing."""

    def __init__(self, key: bytes, *, gapless: bool = False) -> None:
        """`gapless`: every frame must follow the one before it, so that a deleted frame is noticed with the next one.

        Without it gaps are allowed, for frames that their sender dropped instead of sending them late.
        """
        self._key = key
        self._next = 0
        self._gapless = gapless

    def open(self, frame: bytes) -> bytes:
        """Return the plaintext of the next frame.

        Raises:
            OversizeError: longer than `MAX_FRAME`.
            MalformedError: too short for a frame.
            ReplayedError: not after the last one, or not next when gapless.
            DecryptionError: altered, or of another session or direction.
        """
        if len(frame) > MAX_FRAME:
            raise OversizeError(f"a frame of {len(frame)} bytes: at most {MAX_FRAME} are allowed")
        if len(frame) < FRAME_OVERHEAD:
            raise MalformedError(f"{len(frame)} bytes are too few for a frame")
        counter = int(_COUNTER.unpack_from(frame)[0])
        if counter < self._next or (self._gapless and counter != self._next):
            raise ReplayedError(f"frame {counter} came where {self._next} was next")
        plaintext = aead.decrypt(self._key, _nonce(frame[: _COUNTER.size]), frame[_COUNTER.size :], b"")
        self._next = counter + 1
        return plaintext
