"""Which provider this process uses, and its operations as plain functions."""

from collections.abc import Callable

from beemesh_node.crypto.errors import ProviderUnavailableError
from beemesh_node.crypto.provider import KemKey, Provider, SigningKey
from beemesh_node.crypto.pyca import PycaProvider


def _make_liboqs() -> Provider:
    # It loads ctypes, of which those who do not choose it need nothing.
    from beemesh_node.crypto.liboqs import LiboqsProvider

    return LiboqsProvider()


_PROVIDERS: dict[str, Callable[[], Provider]] = {"cryptography": PycaProvider, "liboqs": _make_liboqs}
_active: Provider = PycaProvider()


def provider() -> Provider:
    """Return the provider in use."""
    return _active


def use_provider(name: str) -> None:
    """Choose the provider of this process by its name.

    Raises:
        ProviderUnavailableError: unknown name, or not usable on this machine. The former choice stays.
    """
    global _active
    make = _PROVIDERS.get(name)
    if make is None:
        raise ProviderUnavailableError(f"crypto provider {name!r} is unknown: choose one of {', '.join(_PROVIDERS)}")
    _active = make()


def generate_signing_key() -> SigningKey:
    """See `Provider.generate_signing_key`."""
    return _active.generate_signing_key()


def signing_key(seed: bytes) -> SigningKey:
    """See `Provider.signing_key`."""
    return _active.signing_key(seed)


def verify(public: bytes, signature: bytes, message: bytes, context: bytes) -> bool:
    """See `Provider.verify`."""
    return _active.verify(public, signature, message, context)


def generate_kem_key() -> KemKey:
    """See `Provider.generate_kem_key`."""
    return _active.generate_kem_key()


def kem_key(seed: bytes) -> KemKey:
    """See `Provider.kem_key`."""
    return _active.kem_key(seed)


def seal(public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """See `Provider.seal`."""
    return _active.seal(public, plaintext, info)
