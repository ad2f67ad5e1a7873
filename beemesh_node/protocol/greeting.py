"""The frames of hello as they travel: one byte for the kind, then FlatBuffers. When they come, says `hello`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, TypeVar

from beemesh_node.crypto import SEAL_OVERHEAD, SIGNATURE_SIZE
from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.errors import MalformedError, ProtocolError
from beemesh_node.protocol.trust import MAX_RECENT

MAX_HELLO_FRAME: Final = 96 * 1024
"""Bytes of a frame at most. A greeting has about 10.6 KB, and 16 KB more at most for each recent trust bundle."""
CHALLENGE_SIZE: Final = 32
SECRET_SIZE: Final = 32


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


class _Kind(IntEnum):
    """First byte of a frame."""

    GREETING = 1
    PROOF = 2
    REFUSAL = 3


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first frame of each side: what it claims."""

    certificate: bytes
    statement: bytes
    challenge: bytes
    trust_sequence: int
    trust: tuple[bytes, ...]
    """`TrustStore.recent`: a member that was away while a root was replaced can follow."""

    def __post_init__(self) -> None:
        if len(self.challenge) != CHALLENGE_SIZE:
            raise ValueError(f"a challenge has {CHALLENGE_SIZE} bytes")
        if len(self.trust) > MAX_RECENT:
            raise ValueError(f"at most {MAX_RECENT} trust bundles are allowed")


@dataclass(frozen=True, slots=True)
class GreetingProof:
    """The second frame of each side: the proof of it."""

    sealed: bytes
    """32 random bytes, sealed to the other's KEM key."""
    mesh_time: int
    """Milliseconds of mesh time; 0 if the member does not know it."""
    signature: bytes

    def __post_init__(self) -> None:
        if len(self.sealed) != SECRET_SIZE + SEAL_OVERHEAD or len(self.signature) != SIGNATURE_SIZE:
            raise ValueError("a sealed secret or signature has another size")


@dataclass(frozen=True, slots=True)
class GreetingRefusal:
    """Instead of either frame: this side refuses, for a reason of `HelloRefusal`."""

    reason: str


Frame = TypeVar("Frame", Greeting, GreetingProof)
_KINDS: Final[dict[type, _Kind]] = {
    Greeting: _Kind.GREETING,
    GreetingProof: _Kind.PROOF,
    GreetingRefusal: _Kind.REFUSAL,
}


def pack(frame: Greeting | GreetingProof | GreetingRefusal) -> bytes:
    """Return the bytes of a frame."""
    return bytes([_KINDS[type(frame)]]) + encode(frame)


def parse(cls: type[Frame], data: bytes) -> Frame:
    """Read the frame that must come next.

    Raises:
        HelloRefused: oversize, malformed, another frame, or the other side's refusal.
    """
    if len(data) > MAX_HELLO_FRAME:
        raise HelloRefused(HelloRefusal.OVERSIZE, f"a frame of {len(data)} bytes, at most {MAX_HELLO_FRAME} fit")
    try:
        if data[:1] == bytes([_Kind.REFUSAL]):
            raise HelloRefused(HelloRefusal.BY_PEER, _told_reason(decode(GreetingRefusal, data[1:])))
        if data[:1] != bytes([_KINDS[cls]]):
            raise MalformedError(f"kind {data[:1].hex() or 'none'} came where a {cls.__name__} was due")
        return decode(cls, data[1:])
    except MalformedError as error:
        raise HelloRefused(HelloRefusal.MALFORMED, str(error)) from None


def _told_reason(refusal: GreetingRefusal) -> str:
    """Return what the other side told, but only words of ours: it is shown to people."""
    known = refusal.reason in HelloRefusal.__members__.values()
    return f"the other side refused us: {refusal.reason if known else 'for a reason unknown here'}"
