"""The header of every message: 149 bytes, fixed, big-endian. It is signed, and bound into the encryption.

| offset | size | field            | meaning                                                                    |
|-------:|-----:|------------------|----------------------------------------------------------------------------|
|      0 |    4 | magic            | `BEEM`                                                                     |
|      4 |    1 | version          | 1                                                                          |
|      5 |    1 | suite            | `beemesh_node.crypto.SUITE`                                                |
|      6 |    2 | payload type     | key of `messages.PAYLOADS`                                                 |
|      8 |   32 | mesh id          | of the mesh it belongs to                                                  |
|     40 |   32 | sender           | fingerprint of the sender's certificate                                    |
|     72 |    1 | audience kind    | 1 one member, 2 an epoch                                                   |
|     73 |   32 | audience id      | fingerprint of the receiver's certificate, or the epoch's id               |
|    105 |   16 | receiver session | the session that the receiver told in hello or presence; zero for an epoch |
|    121 |    8 | time             | of sending, ms of mesh time                                                |
|    129 |   16 | message id       | random                                                                     |
|    145 |    4 | ciphertext       | its exact length in bytes                                                  |
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

from beemesh_node.crypto import SUITE
from beemesh_node.protocol.errors import MalformedError
from beemesh_node.protocol.ids import Fingerprint, MeshId, SessionId

MAGIC: Final = b"BEEM"
VERSION: Final = 1
MESSAGE_ID_SIZE: Final = 16
NO_SESSION: Final = SessionId(bytes(16))

_LAYOUT: Final = Struct(">4sBBH32s32sB32s16sQ16sI")
HEADER_SIZE: Final = 149
assert _LAYOUT.size == HEADER_SIZE  # noqa: S101


class AudienceKind(IntEnum):
    """To whom a message is encrypted."""

    MEMBER = 1
    EPOCH = 2


@dataclass(frozen=True, slots=True)
class Header:
    """What everybody on the way may read of a message."""

    payload_type: int
    mesh_id: MeshId
    sender: Fingerprint
    audience: AudienceKind
    audience_id: bytes
    session: SessionId
    time: int
    message_id: bytes
    ciphertext_size: int

    def pack(self) -> bytes:
        """Return the 149 bytes."""
        return _LAYOUT.pack(
            MAGIC,
            VERSION,
            SUITE,
            self.payload_type,
            self.mesh_id,
            self.sender,
            self.audience,
            self.audience_id,
            self.session,
            self.time,
            self.message_id,
            self.ciphertext_size,
        )


def parse_header(data: bytes) -> Header:
    """Read the first `HEADER_SIZE` bytes of `data`.

    Raises:
        MalformedError: too short, of another version or suite, or of an unknown audience kind.
    """
    if len(data) < HEADER_SIZE:
        raise MalformedError(f"a message of {len(data)} bytes has no header")
    magic, version, suite, payload_type, mesh, sender, kind, audience, session, time, message_id, size = (
        _LAYOUT.unpack_from(data)
    )
    if (magic, version, suite) != (MAGIC, VERSION, SUITE):
        raise MalformedError(f"no message of version {VERSION} and suite {SUITE}")
    if kind not in (AudienceKind.MEMBER, AudienceKind.EPOCH) or (kind == AudienceKind.EPOCH and session != NO_SESSION):
        raise MalformedError(f"audience kind {kind} is unknown, or names a session and an epoch")
    return Header(payload_type, mesh, sender, AudienceKind(kind), audience, session, time, message_id, size)
