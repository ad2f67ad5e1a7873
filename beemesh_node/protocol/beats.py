"""What a machine and its watcher say to each other on a long-lived stream, in session frames (see `frames`).

    opener:    16 random bytes           (plain)
    answerer:  16 random bytes           (plain)
    then both: frames whose plaintext is kind (1 byte) ‖ data

Beats travel as datagrams where these get through, each the stream's id (8 bytes) and a frame under a key of its own,
and on the stream otherwise. All keys come from the secrets that hello agreed on this very connection, bound to its
transcript and to the random bytes of both, so that no two streams share a key. Nothing here does I/O.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct, error
from typing import Final, TypeAlias, final

from beemesh_node.crypto import DecryptionError, kdf
from beemesh_node.protocol.counters import Refusal, RefusalCounters
from beemesh_node.protocol.errors import MalformedError, OversizeError, ProtocolError, ReplayedError
from beemesh_node.protocol.frames import FRAME_OVERHEAD, FrameOpener, FrameSealer, frame_key
from beemesh_node.protocol.hello import SessionKeys
from beemesh_node.protocol.ids import MachineId

NONCE_SIZE: Final = 16
ID_SIZE: Final = 8
MAX_BEAT_FRAME: Final = FRAME_OVERHEAD + 128
"""Bytes of any frame at most."""

_WATCH: Final = Struct(">H?")
_QUESTION: Final = Struct(">I")
_ANSWER: Final = Struct(">II")
_NEVER: Final = 0xFFFFFFFF
_MAX_ID: Final = 64
"""Bytes of a machine id at most."""


class _Kind(IntEnum):
    WATCH = 1
    BEAT = 2
    ASK = 3
    TELL = 4


_BEAT_BYTES: Final = bytes((_Kind.BEAT,))


@dataclass(frozen=True, slots=True)
class Watching:
    """From opener: beat from now on, to this UDP port of mine (0: to none), and here too if `on_stream`."""

    port: int
    on_stream: bool


@dataclass(frozen=True, slots=True)
class Beat:
    """From answerer: I live."""


@dataclass(frozen=True, slots=True)
class WhenHeard:
    """From opener: when did you last hear this machine yourself? `number` joins question and answer (32 bits)."""

    number: int
    machine: MachineId


@dataclass(frozen=True, slots=True)
class LastHeard:
    """From answerer: so many milliseconds ago, or None: not watched, or never heard."""

    number: int
    age_ms: int | None


Said: TypeAlias = Watching | Beat | WhenHeard | LastHeard


def new_nonce() -> bytes:
    """Draw what one side contributes to the keys of a stream."""
    return secrets.token_bytes(NONCE_SIZE)


@final
class BeatSession:
    """One end of such a stream, once both random numbers are known."""

    def __init__(
        self, keys: SessionKeys, opener_nonce: bytes, answerer_nonce: bytes, counters: RefusalCounters, *, opener: bool
    ) -> None:
        """`counters` count what is refused. Raises MalformedError when a random number has the wrong size."""
        if len(opener_nonce) != NONCE_SIZE or len(answerer_nonce) != NONCE_SIZE:
            raise MalformedError(f"a stream of beats begins with {NONCE_SIZE} random bytes of each side")
        onward, back = (b"beats/ask", b"beats/answer") if opener else (b"beats/answer", b"beats/ask")
        binding = keys.binding + opener_nonce + answerer_nonce
        self._sealer = FrameSealer(frame_key(keys.send, onward, binding))
        self._opener = FrameOpener(frame_key(keys.receive, back, binding))
        self._counters = counters
        shared = keys.receive if opener else keys.send
        self.id = kdf.expand(shared, b"beemesh/1/beats/id" + binding, ID_SIZE)
        """With which the datagrams of this stream begin."""
        beat_key = frame_key(shared, b"beats/datagram", binding)
        self._beat_sealer, self._beat_opener = FrameSealer(beat_key), FrameOpener(beat_key)

    def datagram(self) -> bytes:
        """Return the next beat as a datagram, as answerer."""
        return self.id + self._beat_sealer.seal(_BEAT_BYTES)

    def is_beat(self, datagram: bytes) -> bool:
        """Whether a datagram that begins with this stream's id is a beat that is new, as opener; others are counted."""
        try:
            return self._beat_opener.open(datagram[ID_SIZE:]) == _BEAT_BYTES
        except ReplayedError:
            self._counters.count(Refusal.FRAME_REPLAYED)
        except (ProtocolError, DecryptionError):
            self._counters.count(Refusal.FRAME_UNDECRYPTABLE)
        return False

    def seal(self, said: Said) -> bytes:
        """Return the frame to send. Raises ValueError for a machine id that is too long."""
        match said:
            case Beat():
                plaintext = _BEAT_BYTES
            case Watching(port, on_stream):
                plaintext = bytes((_Kind.WATCH,)) + _WATCH.pack(port, on_stream)
            case WhenHeard(number, machine):
                name = machine.encode()
                if len(name) > _MAX_ID:
                    raise ValueError(f"a machine id of {len(name)} bytes: at most {_MAX_ID} are allowed")
                plaintext = bytes((_Kind.ASK,)) + _QUESTION.pack(number) + name
            case LastHeard(number, age_ms):
                age = _NEVER if age_ms is None else min(max(age_ms, 0), _NEVER - 1)
                plaintext = bytes((_Kind.TELL,)) + _ANSWER.pack(number, age)
        return self._sealer.seal(plaintext)

    def open(self, frame: bytes) -> Said:
        """Return what the other end says.

        Raises:
            ProtocolError, DecryptionError: replayed, altered, of another stream, or nothing that is known here. It has
                been counted, and the stream is to be closed.
        """
        try:
            return _parse(self._opener.open(frame))
        except ReplayedError:
            self._counters.count(Refusal.FRAME_REPLAYED)
            raise
        except DecryptionError:
            self._counters.count(Refusal.FRAME_UNDECRYPTABLE)
            raise
        except (MalformedError, OversizeError):
            self._counters.count(Refusal.FRAME_MALFORMED)
            raise


REFUSALS: Final = (ProtocolError, DecryptionError)
"""What `BeatSession.open` raises."""


def _parse(plaintext: bytes) -> Said:
    kind, data = plaintext[:1], plaintext[1:]
    if plaintext == _BEAT_BYTES:
        return Beat()
    try:
        if kind == b"\x01":
            return Watching(*_WATCH.unpack(data))
        if kind == b"\x03" and _QUESTION.size < len(data) <= _QUESTION.size + _MAX_ID:
            return WhenHeard(_QUESTION.unpack_from(data)[0], MachineId(data[_QUESTION.size :].decode()))
        if kind == b"\x04":
            number, age = _ANSWER.unpack(data)
            return LastHeard(number, None if age == _NEVER else age)
    except (error, UnicodeDecodeError):
        pass
    raise MalformedError(f"a frame of {len(plaintext)} bytes that is neither beat nor question")
