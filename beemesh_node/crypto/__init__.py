"""Post-quantum primitives, keys and their storage.

The functions here use the provider that `use_provider` chose (`cryptography` until then). Providers differ in speed
alone, never in bytes, which is why the choice may be one for the process.
"""

from beemesh_node.crypto.active import (
    generate_kem_key,
    generate_signing_key,
    kem_key,
    provider,
    seal,
    signing_key,
    use_provider,
    verify,
)
from beemesh_node.crypto.errors import (
    CryptoError,
    DecryptionError,
    InvalidContextError,
    InvalidKeyError,
    ProviderUnavailableError,
)
from beemesh_node.crypto.provider import (
    KEM_PUBLIC_SIZE,
    SEAL_OVERHEAD,
    SIGNATURE_SIZE,
    SIGNING_PUBLIC_SIZE,
    SUITE,
    KemKey,
    Provider,
    SigningKey,
)

__all__ = [
    "KEM_PUBLIC_SIZE",
    "SEAL_OVERHEAD",
    "SIGNATURE_SIZE",
    "SIGNING_PUBLIC_SIZE",
    "SUITE",
    "CryptoError",
    "DecryptionError",
    "InvalidContextError",
    "InvalidKeyError",
    "KemKey",
    "Provider",
    "ProviderUnavailableError",
    "SigningKey",
    "generate_kem_key",
    "generate_signing_key",
    "kem_key",
    "provider",
    "seal",
    "signing_key",
    "use_provider",
    "verify",
]
