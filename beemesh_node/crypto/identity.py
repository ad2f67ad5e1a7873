"""The two keys of a member: ML-DSA-65 for everything it says, Ed25519 for its libp2p peer id.

A peer id of an Ed25519 key carries the key itself (libp2p peer id specification): base58 of the identity multihash of
the protobuf `PublicKey{Type: Ed25519, Data: 32 bytes}`. Both encodings have a fixed prefix, so neither libp2p nor
protobuf is needed here.
"""

import secrets
from dataclasses import dataclass
from typing import Final, final

import base58
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from beemesh_node.crypto import active
from beemesh_node.crypto.errors import InvalidKeyError
from beemesh_node.crypto.provider import SigningKey

PEER_KEY_SIZE: Final = 32
PEER_SIGNATURE_SIZE: Final = 64
MAX_PEER_ID_LENGTH: Final = 52
"""Length in characters of every base58 peer id of an Ed25519 key."""

_PREFIX: Final = bytes.fromhex("002408011220")
"""Identity multihash of 36 bytes, then field 1 = Ed25519 (1) and field 2 of 32 bytes."""


def peer_id_of(public: bytes) -> str:
    """Return the libp2p peer id, base58, of an Ed25519 public key of 32 bytes.

    Raises:
        InvalidKeyError: `public` has another length.
    """
    if len(public) != PEER_KEY_SIZE:
        raise InvalidKeyError(f"peer key of {len(public)} bytes: an Ed25519 public key has {PEER_KEY_SIZE}")
    return base58.b58encode(_PREFIX + public).decode()


def public_of_peer_id(peer_id: str) -> bytes:
    """Return the Ed25519 public key that a peer id carries.

    Raises:
        InvalidKeyError: `peer_id` is no base58 peer id of an Ed25519 key.
    """
    problem = InvalidKeyError(f"peer id {peer_id[:MAX_PEER_ID_LENGTH]!r} is not the base58 id of an Ed25519 key")
    # Decoding base58 takes time quadratic in its length.
    if len(peer_id) > MAX_PEER_ID_LENGTH or not peer_id.isascii():
        raise problem
    try:
        decoded = base58.b58decode(peer_id)
    except ValueError:
        raise problem from None
    public = decoded[len(_PREFIX) :]
    if len(public) != PEER_KEY_SIZE or peer_id_of(public) != peer_id:
        raise problem
    return public


def verify_peer(peer_id: str, signature: bytes, message: bytes) -> bool:
    """Tell whether `signature` was made over `message` by the Ed25519 key of `peer_id`; malformed input is false."""
    try:
        Ed25519PublicKey.from_public_bytes(public_of_peer_id(peer_id)).verify(signature, message)
    except (InvalidKeyError, InvalidSignature, ValueError):
        return False
    return True


@final
class PeerKey:
    """The Ed25519 key behind a libp2p peer id. Its `repr` names the peer id only."""

    __slots__ = ("_key", "peer_id", "public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != PEER_KEY_SIZE:
            raise InvalidKeyError(f"peer key: seed of {len(seed)} bytes, {PEER_KEY_SIZE} expected")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key: Final = self._key.public_key().public_bytes_raw()
        self.peer_id: Final = peer_id_of(self.public_key)

    @classmethod
    def generate(cls) -> "PeerKey":
        """Make a new key from fresh randomness."""
        return cls(secrets.token_bytes(PEER_KEY_SIZE))

    def sign(self, message: bytes) -> bytes:
        """Sign `message`; the caller separates purposes by a prefix of its own, since Noise signs with this key too."""
        return self._key.sign(message)

    def export_seed(self) -> bytes:
        """Return the seed of 32 bytes. For the key store and for libp2p's key pair alone."""
        return self._key.private_bytes_raw()

    def __repr__(self) -> str:
        return f"<Ed25519 key of peer {self.peer_id}>"


@final
@dataclass(frozen=True, slots=True)
class Identity:
    """The key pairs of one machine or operator, made where they are used and never moved."""

    signing: SigningKey
    peer: PeerKey

    @classmethod
    def generate(cls) -> "Identity":
        """Make both keys from fresh randomness."""
        return cls(active.generate_signing_key(), PeerKey.generate())
