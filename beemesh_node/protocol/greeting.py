"""The frames of hello as they travel: one byte for the kind, then FlatBuffers; a proof has a fixed layout instead.

Greetings are hashed whole into what is signed. A proof is not, so no bit of it may be without meaning, which
FlatBuffers cannot promise. When which frame comes, says `hello`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from beemesh_node.crypto import SEAL_OVERHEAD, SIGNATURE_SIZE
from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.errors import MalformedError, ProtocolError
from beemesh_node.protocol.trust import MAX_RECENT

MAX_HELLO_FRAME: Final = 96 * 1024
"""Bytes of a frame at most. A greeting has about 10.6 KB, and 16 KB more at most for each recent trust bundle."""
CHALLENGE_SIZE: Final = 32
SECRET_SIZE: Final = 32
DIGEST_SIZE: Final = 32

_GREETING_BYTE, _PROOF_BYTE, _REFUSAL_BYTE = b"\1", b"\2", b"\3"
_PROOF: Final = struct.Struct(f">{SECRET_SIZE + SEAL_OVERHEAD}sQ{SIGNATURE_SIZE}s")

Frame = TypeVar("Frame")


class HelloRefusal(StrEnum):
    """Why a peer was not admitted; the values name counters."""

    MALFORMED = "malformed"
    OVERSIZE = "oversize"
    FOREIGN_MESH = "foreign-mesh"
    UNKNOWN_ROOT = "unknown-root"
    BAD_TRUST = "bad-trust"
    """A trust bundle that it shows is malformed or forged."""
    BAD_CERTIFICATE = "bad-certificate"
    """The signature of its certificate does not verify."""
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    REVOKED = "revoked"
    OTHER_PEER = "other-peer"
    """The certificate is for another peer id than the one that Noise proved."""
    OURSELVES = "ourselves"
    """The peer at the other end is this one."""
    BAD_SESSION = "bad-session"
    """The session statement is not the member's."""
    BAD_PROOF = "bad-proof"
    """The signature does not answer our challenge: possession of the signing key is not proved."""
    BAD_SECRET = "bad-secret"  # noqa: S105
    """The sealed secret does not open with our KEM key."""
    BY_PEER = "by-peer"
    """The other side refused us."""


class HelloRefused(ProtocolError):
    """The peer must not be admitted. The hello is over, and the connection is to be closed."""

    def __init__(self, reason: HelloRefusal, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason: Final = reason

    @property
    def frame(self) -> bytes | None:
        """What may be sent to tell the other side why; None when it was the other side that refused."""
        return None if self.reason is HelloRefusal.BY_PEER else pack(GreetingRefusal(self.reason.value))


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first frame of each side: what it claims."""

    certificate: bytes
    statement: bytes
    challenge: bytes
    trust_sequence: int
    trust: tuple[bytes, ...]
    """`TrustStore.recent`: a member that was away while a root was replaced can follow."""
    trust_digest: bytes = b""
    """`TrustStore.digest`: two that differ hand each other what is missing, once they are admitted."""

    def __post_init__(self) -> None:
        if len(self.trust_digest) not in (0, DIGEST_SIZE):
            raise ValueError(f"a digest has {DIGEST_SIZE} bytes")
        if len(self.challenge) != CHALLENGE_SIZE:
            raise ValueError(f"a challenge has {CHALLENGE_SIZE} bytes")
        if len(self.trust) > MAX_RECENT:
            raise ValueError(f"at most {MAX_RECENT} trust bundles are allowed")


@dataclass(frozen=True, slots=True)
class GreetingProof:
    """The second frame of each side: the proof of it. `sealed ‖ mesh time (8 bytes, big-endian) ‖ signature`."""

    sealed: bytes
    """32 random bytes, sealed to the other's KEM key."""
    mesh_time: int
    """Milliseconds of mesh time; 0 if the member does not know it."""
    signature: bytes

    def __post_init__(self) -> None:
        if len(self.sealed) != SECRET_SIZE + SEAL_OVERHEAD or len(self.signature) != SIGNATURE_SIZE:
            raise ValueError("a sealed secret or signature has another size")

    def pack(self) -> bytes:
        """Return the fixed layout."""
        return _PROOF.pack(self.sealed, self.mesh_time, self.signature)

    @classmethod
    def unpack(cls, data: bytes) -> GreetingProof:
        """Read the fixed layout.

        Raises:
            MalformedError: it has another length.
        """
        if len(data) != _PROOF.size:
            raise MalformedError(f"a proof of {len(data)} bytes, {_PROOF.size} expected")
        return cls(*_PROOF.unpack(data))


@dataclass(frozen=True, slots=True)
class GreetingRefusal:
    """Instead of either frame: this side refuses, for a reason of `HelloRefusal`."""

    reason: str


def pack(frame: Greeting | GreetingProof | GreetingRefusal) -> bytes:
    """Return the bytes of a frame."""
    if isinstance(frame, GreetingProof):
        return _PROOF_BYTE + frame.pack()
    return (_GREETING_BYTE if isinstance(frame, Greeting) else _REFUSAL_BYTE) + encode(frame)


def parse_greeting(data: bytes) -> Greeting:
    """Read a frame that must be a greeting.

    Raises:
        HelloRefused: oversize, malformed, another frame, or the other side's refusal.
    """
    return _parse(data, _GREETING_BYTE, lambda content: decode(Greeting, content))


def parse_proof(data: bytes) -> GreetingProof:
    """Read a frame that must be a proof.

    Raises:
        HelloRefused: oversize, malformed, another frame, or the other side's refusal.
    """
    return _parse(data, _PROOF_BYTE, GreetingProof.unpack)


def _parse(data: bytes, due: bytes, read: Callable[[bytes], Frame]) -> Frame:
    if len(data) > MAX_HELLO_FRAME:
        raise HelloRefused(HelloRefusal.OVERSIZE, f"a frame of {len(data)} bytes, at most {MAX_HELLO_FRAME} fit")
    kind, content = data[:1], data[1:]
    try:
        if kind == _REFUSAL_BYTE:
            raise HelloRefused(HelloRefusal.BY_PEER, _told_reason(decode(GreetingRefusal, content)))
        if kind != due:
            raise MalformedError(f"a frame of kind {kind.hex() or 'none'} came where {due.hex()} was due")
        return read(content)
    except MalformedError as error:
        raise HelloRefused(HelloRefusal.MALFORMED, str(error)) from None


def _told_reason(refusal: GreetingRefusal) -> str:
    """Return what the other side told, but only words of ours: it is shown to people."""
    known = refusal.reason in HelloRefusal.__members__.values()
    return f"the other side refused us: {refusal.reason if known else 'for a reason unknown here'}"
