"""The default provider: the `cryptography` wheel (OpenSSL), present on every platform Beemesh runs on."""

import hashlib
import secrets
from typing import final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from beemesh_node.crypto.errors import DecryptionError, InvalidKeyError
from beemesh_node.crypto.operations import performed
from beemesh_node.crypto.provider import (
    KEM_PUBLIC_SIZE,
    KEM_SEED_SIZE,
    SIGNING_SEED_SIZE,
    check_context,
)

_MLKEM_SEED_SIZE = 64
_MLKEM_PUBLIC_SIZE = 1184
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def describe_public(kind: str, public: bytes) -> str:
    """Name a key in a `repr`: its kind and the first eight bytes of the hash of its public half."""
    return f"<{kind} {hashlib.sha256(public).hexdigest()[:16]}>"


@final
class PycaSigningKey:
    """ML-DSA-65 private key held by OpenSSL."""

    __slots__ = ("_key", "_public")

    def __init__(self, key: MLDSA65PrivateKey) -> None:
        if not isinstance(key, MLDSA65PrivateKey):
            raise InvalidKeyError("signing key: not an ML-DSA-65 private key")
        self._key = key
        self._public = key.public_key().public_bytes_raw()

    @property
    def public_key(self) -> bytes:
        """The public key, 1952 bytes."""
        return self._public

    def sign(self, message: bytes, context: bytes) -> bytes:
        """See `SigningKey.sign`."""
        check_context(context)
        performed["sign"] += 1
        return self._key.sign(message, context)

    def export_seed(self) -> bytes:
        """See `SigningKey.export_seed`."""
        return self._key.private_bytes_raw()

    def __repr__(self) -> str:
        return describe_public("ML-DSA-65 signing key", self._public)


@final
class PycaKemKey:
    """MLKEM768-X25519 private key; seed expansion as in draft-ietf-hpke-pq (SHAKE256 to both halves)."""

    __slots__ = ("_key", "_public", "_seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEM_SEED_SIZE:
            raise InvalidKeyError(f"KEM key: seed of {len(seed)} bytes, {KEM_SEED_SIZE} expected")
        expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_SIZE + 32)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_SIZE])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_SIZE:])
        if not isinstance(mlkem, MLKEM768PrivateKey) or not isinstance(x25519, X25519PrivateKey):
            raise InvalidKeyError("KEM key: the seed gave keys of another type")
        self._seed = seed
        self._key = hpke.MLKEM768X25519PrivateKey(mlkem, x25519)
        self._public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    @property
    def public_key(self) -> bytes:
        """The public key, 1216 bytes: ML-KEM-768 ‖ X25519."""
        return self._public

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """See `KemKey.open`."""
        performed["open"] += 1
        try:
            return _SUITE.decrypt(sealed, self._key, info)
        except (InvalidTag, ValueError):
            raise DecryptionError("sealed bytes do not open with this key: sealed to another, or altered") from None

    def export_seed(self) -> bytes:
        """See `KemKey.export_seed`."""
        return self._seed

    def __repr__(self) -> str:
        return describe_public("MLKEM768-X25519 key", self._public)


@final
class PycaProvider:
    """Suite 1 on the `cryptography` wheel."""

    name = "cryptography"

    def generate_signing_key(self) -> PycaSigningKey:
        """See `Provider.generate_signing_key`."""
        return self.signing_key(secrets.token_bytes(SIGNING_SEED_SIZE))

    def signing_key(self, seed: bytes) -> PycaSigningKey:
        """See `Provider.signing_key`."""
        if len(seed) != SIGNING_SEED_SIZE:
            raise InvalidKeyError(f"signing key: seed of {len(seed)} bytes, {SIGNING_SEED_SIZE} expected")
        return PycaSigningKey(MLDSA65PrivateKey.from_seed_bytes(seed))

    def verify(self, public: bytes, signature: bytes, message: bytes, context: bytes) -> bool:
        """See `Provider.verify`."""
        check_context(context)
        performed["verify"] += 1
        try:
            key = MLDSA65PublicKey.from_public_bytes(public)
            key.verify(signature, message, context)
        except (InvalidSignature, ValueError):
            return False
        return isinstance(key, MLDSA65PublicKey)

    def generate_kem_key(self) -> PycaKemKey:
        """See `Provider.generate_kem_key`."""
        return self.kem_key(secrets.token_bytes(KEM_SEED_SIZE))

    def kem_key(self, seed: bytes) -> PycaKemKey:
        """See `Provider.kem_key`."""
        return PycaKemKey(seed)

    def seal(self, public: bytes, plaintext: bytes, info: bytes) -> bytes:
        """See `Provider.seal`."""
        performed["seal"] += 1
        if len(public) != KEM_PUBLIC_SIZE:
            raise InvalidKeyError(f"KEM public key of {len(public)} bytes, {KEM_PUBLIC_SIZE} expected")
        try:
            mlkem = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_SIZE])
            x25519 = X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_SIZE:])
            return _SUITE.encrypt(plaintext, hpke.MLKEM768X25519PublicKey(mlkem, x25519), info)
        except ValueError:
            raise InvalidKeyError("KEM public key: not a valid MLKEM768-X25519 key") from None
