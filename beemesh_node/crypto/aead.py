"""AES-256-GCM. The caller owns the uniqueness of (key, nonce)."""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from beemesh_node.crypto.errors import DecryptionError, InvalidKeyError

KEY_SIZE: Final = 32
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16


def _cipher(key: bytes, nonce: bytes) -> AESGCM:
    if len(key) != KEY_SIZE or len(nonce) != NONCE_SIZE:
        raise InvalidKeyError(f"AES-256-GCM wants a key of {KEY_SIZE} and a nonce of {NONCE_SIZE} bytes")
    return AESGCM(key)


def encrypt(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """Return ciphertext ‖ tag, `TAG_SIZE` bytes longer than `plaintext`.

    Raises:
        InvalidKeyError: key or nonce has the wrong size.
    """
    return _cipher(key, nonce).encrypt(nonce, plaintext, aad)


def decrypt(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    """Return the plaintext of ciphertext ‖ tag.

    Raises:
        InvalidKeyError: key or nonce has the wrong size.
        DecryptionError: another key, nonce or `aad`, or altered bytes.
    """
    cipher = _cipher(key, nonce)
    try:
        return cipher.decrypt(nonce, ciphertext, aad)
    except InvalidTag:
        raise DecryptionError("ciphertext does not open with this key: encrypted with another, or altered") from None
