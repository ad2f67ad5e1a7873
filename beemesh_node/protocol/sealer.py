"""The way out: payloads become encrypted, signed messages."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from beemesh_node.crypto import SEAL_OVERHEAD, SigningKey, aead
from beemesh_node.protocol import batch
from beemesh_node.protocol.batch import Unsigned
from beemesh_node.protocol.codec import encode
from beemesh_node.protocol.encryption import epoch_id, seal_to_epoch, seal_to_member
from beemesh_node.protocol.errors import OversizeError
from beemesh_node.protocol.header import HEADER_SIZE, MESSAGE_ID_SIZE, NO_SESSION, AudienceKind, Header
from beemesh_node.protocol.ids import Fingerprint, MeshId, SessionId
from beemesh_node.protocol.messages import PAYLOADS
from beemesh_node.protocol.policy import BROADCAST_PAYLOADS, MAX_MESSAGE

_TYPES: Final = {cls: number for number, (cls, _) in PAYLOADS.items()}


@dataclass(frozen=True, slots=True)
class Recipient:
    """One member as a receiver: what its certificate and its newest session statement say."""

    fingerprint: Fingerprint
    session: SessionId
    kem_public: bytes


@final
class Sealer:
    """Makes the messages of one member. Has no state, so that threads may share it."""

    def __init__(self, mesh_id: MeshId, fingerprint: Fingerprint, key: SigningKey) -> None:
        """`fingerprint` is of the certificate whose key `key` is."""
        self._mesh_id, self._fingerprint, self._key = mesh_id, fingerprint, key

    def direct(self, payload: object, recipient: Recipient, now: int) -> Unsigned:
        """Encrypt `payload`, one of `PAYLOADS`, for one member. `now` is mesh time in ms.

        Raises:
            OversizeError: the message would be longer than `MAX_MESSAGE`.
            InvalidKeyError: the recipient's KEM key is none.
            TypeError, ValueError: `payload` is no message, or holds what does not fit its schema.
        """
        plaintext = encode(payload)
        size = len(plaintext) + SEAL_OVERHEAD
        header = self._header(payload, AudienceKind.MEMBER, recipient.fingerprint, recipient.session, now, size)
        packed = header.pack()
        return Unsigned(header, packed + seal_to_member(recipient.kem_public, plaintext, packed))

    def broadcast(self, payload: object, epoch_secret: bytes, now: int) -> Unsigned:
        """Encrypt `payload`, one of `BROADCAST_PAYLOADS`, for all that hold `epoch_secret`. `now` is mesh time in ms.

        Raises:
            OversizeError: the message would be longer than `MAX_MESSAGE`.
            TypeError, ValueError: `payload` is not for all, or holds what does not fit its schema.
        """
        if type(payload) not in BROADCAST_PAYLOADS:
            raise TypeError(f"{type(payload).__name__} is for one member, not for all")
        plaintext = encode(payload)
        size = len(plaintext) + aead.TAG_SIZE
        header = self._header(payload, AudienceKind.EPOCH, epoch_id(epoch_secret), NO_SESSION, now, size)
        packed = header.pack()
        return Unsigned(header, packed + seal_to_epoch(epoch_secret, plaintext, packed))

    def sign(self, message: Unsigned) -> bytes:
        """Return the whole message, signed alone."""
        return batch.sign(message, self._key)

    def sign_batch(self, messages: Sequence[Unsigned]) -> list[bytes]:
        """Return the whole messages, signed together; see `batch.sign_batch`."""
        return batch.sign_batch(messages, self._key)

    def _header(
        self, payload: object, kind: AudienceKind, audience: bytes, session: SessionId, now: int, size: int
    ) -> Header:
        number = _TYPES.get(type(payload))
        if number is None:
            raise TypeError(f"{type(payload).__name__} is not a payload")
        limit = MAX_MESSAGE[kind]
        if HEADER_SIZE + size + batch.MAX_SIGNATURE_SIZE > limit:
            raise OversizeError(f"{type(payload).__name__} of {size} bytes: a message has at most {limit} bytes")
        return Header(
            number,
            self._mesh_id,
            self._fingerprint,
            kind,
            audience,
            session,
            now,
            secrets.token_bytes(MESSAGE_ID_SIZE),
            size,
        )
