"""What a post-quantum provider must offer. Every provider yields the same bytes for the same seed.

Suite 1, the only one so far:

- signatures: ML-DSA-65 (FIPS 204, pure, hedged), always with a context string;
- sealing: HPKE base mode, one shot (RFC 9180), with the KEM MLKEM768-X25519 (id 0x647a, draft-ietf-hpke-pq),
  HKDF-SHA256 and AES-256-GCM.
"""

from typing import Final, Protocol

from beemesh_node.crypto.errors import InvalidContextError

SUITE: Final = 1
"""Number of the suite above, as certificates and message headers carry it."""

SIGNING_SEED_SIZE: Final = 32
SIGNING_PUBLIC_SIZE: Final = 1952
SIGNATURE_SIZE: Final = 3309
MAX_CONTEXT_SIZE: Final = 255

KEM_SEED_SIZE: Final = 32
KEM_PUBLIC_SIZE: Final = 1216
SEAL_OVERHEAD: Final = 1136
"""By how many bytes sealed bytes are longer than their plaintext: encapsulated key 1120, tag 16."""


class SigningKey(Protocol):
    """An ML-DSA-65 private key. Its `repr` names the public key only."""

    @property
    def public_key(self) -> bytes:
        """The public key, `SIGNING_PUBLIC_SIZE` bytes."""
        ...

    def sign(self, message: bytes, context: bytes) -> bytes:
        """Sign `message`; two signatures of one message differ (hedged).

        Raises:
            InvalidContextError: `context` is longer than `MAX_CONTEXT_SIZE`.
        """
        ...

    def export_seed(self) -> bytes:
        """Return the seed of `SIGNING_SEED_SIZE` bytes from which the key is made. For the key store alone."""
        ...


class KemKey(Protocol):
    """An MLKEM768-X25519 private key. Its `repr` names the public key only."""

    @property
    def public_key(self) -> bytes:
        """The public key, `KEM_PUBLIC_SIZE` bytes: ML-KEM-768 ‖ X25519."""
        ...

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Open what `Provider.seal` sealed to this key under the same `info`.

        Raises:
            DecryptionError: another key, another `info`, or altered bytes; which of them cannot be told.
        """
        ...

    def export_seed(self) -> bytes:
        """Return the seed of `KEM_SEED_SIZE` bytes from which the key is made. For the key store alone."""
        ...


class Provider(Protocol):
    """One implementation of suite 1."""

    @property
    def name(self) -> str:
        """The name by which configuration chooses it."""
        ...

    def generate_signing_key(self) -> SigningKey:
        """Make a new signing key from fresh randomness."""
        ...

    def signing_key(self, seed: bytes) -> SigningKey:
        """Make the signing key of a stored seed.

        Raises:
            InvalidKeyError: `seed` is not `SIGNING_SEED_SIZE` bytes.
        """
        ...

    def verify(self, public: bytes, signature: bytes, message: bytes, context: bytes) -> bool:
        """Tell whether `signature` is `public`'s over `message`. A malformed key or signature is simply false.

        Raises:
            InvalidContextError: `context` is longer than `MAX_CONTEXT_SIZE`.
        """
        ...

    def generate_kem_key(self) -> KemKey:
        """Make a new KEM key from fresh randomness."""
        ...

    def kem_key(self, seed: bytes) -> KemKey:
        """Make the KEM key of a stored seed.

        Raises:
            InvalidKeyError: `seed` is not `KEM_SEED_SIZE` bytes.
        """
        ...

    def seal(self, public: bytes, plaintext: bytes, info: bytes) -> bytes:
        """Encrypt for the holder of `public`; the result is `SEAL_OVERHEAD` bytes longer than `plaintext`.

        Raises:
            InvalidKeyError: `public` is not a KEM public key.
        """
        ...


def check_context(context: bytes) -> None:
    """Refuse a context that FIPS 204 cannot carry, alike for every provider."""
    if len(context) > MAX_CONTEXT_SIZE:
        raise InvalidContextError(f"signature context of {len(context)} bytes: at most {MAX_CONTEXT_SIZE} are allowed")
