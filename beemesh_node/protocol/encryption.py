"""How the content of a message is encrypted: to one member, or to all that hold the secret of an epoch.

Either way the ciphertext opens under its own header alone. Whoever steals one and signs it anew has nothing that opens.
"""

import hashlib
from collections.abc import Sequence

from beemesh_node.crypto import DecryptionError, KemKey, aead, kdf, seal


def epoch_id(secret: bytes) -> bytes:
    """Return the name by which headers call an epoch: a hash of its secret that tells nothing of it."""
    return hashlib.sha256(b"beemesh/1/epoch-id" + secret).digest()


def seal_to_member(kem_public: bytes, plaintext: bytes, header: bytes) -> bytes:
    """Encrypt for one member: `SEAL_OVERHEAD` bytes longer than `plaintext`.

    Raises:
        InvalidKeyError: `kem_public` is not a KEM public key.
    """
    return seal(kem_public, plaintext, _hpke_info(header))


def open_from_member(keys: Sequence[KemKey], ciphertext: bytes, header: bytes) -> bytes:
    """Decrypt what was sealed to one of `keys`, which are tried in their order.

    Raises:
        DecryptionError: sealed to none of them, under another header, or altered.
    """
    info = _hpke_info(header)
    for key in keys:
        try:
            return key.open(ciphertext, info)
        except DecryptionError:
            continue
    raise DecryptionError("sealed to none of our KEM keys, or altered")


def seal_to_epoch(secret: bytes, plaintext: bytes, header: bytes) -> bytes:
    """Encrypt for all that hold `secret`, at least 32 bytes: `aead.TAG_SIZE` bytes longer than `plaintext`."""
    key, nonce = _epoch_key(secret, header)
    return aead.encrypt(key, nonce, plaintext, header)


def open_from_epoch(secret: bytes, ciphertext: bytes, header: bytes) -> bytes:
    """Decrypt what was sealed under `secret`.

    Raises:
        DecryptionError: another secret, another header, or altered.
    """
    key, nonce = _epoch_key(secret, header)
    return aead.decrypt(key, nonce, ciphertext, header)


def _hpke_info(header: bytes) -> bytes:
    return b"beemesh/1/hpke" + header


def _epoch_key(secret: bytes, header: bytes) -> tuple[bytes, bytes]:
    """Derive key and nonce of one message: headers differ in their message ids, so that no counter is needed."""
    info = b"beemesh/1/epoch" + hashlib.sha256(header).digest()
    expanded = kdf.expand(secret, info, aead.KEY_SIZE + aead.NONCE_SIZE)
    return expanded[: aead.KEY_SIZE], expanded[aead.KEY_SIZE :]
