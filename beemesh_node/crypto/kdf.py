"""Key derivation: HKDF-SHA256 (RFC 5869)."""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand


def expand(secret: bytes, info: bytes, length: int) -> bytes:
    """Derive `length` bytes (at most 8160) from `secret`, which must itself be uniform and at least 32 bytes.

    Raises:
        ValueError: `secret` or `length` is outside those bounds.
    """
    if len(secret) < 32:
        raise ValueError(f"HKDF-Expand wants a secret of at least 32 bytes, not {len(secret)}")
    return HKDFExpand(SHA256(), length, info).derive(secret)


def derive(material: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """Extract and expand: derive `length` bytes (at most 8160) from `material` that need not be uniform.

    Raises:
        ValueError: `length` is outside those bounds.
    """
    return HKDF(SHA256(), length, salt, info).derive(material)
