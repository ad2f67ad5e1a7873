"""What can go wrong with keys and sealed bytes. No message ever carries key material."""


class CryptoError(Exception):
    """Base of every error of this package."""


class ProviderUnavailableError(CryptoError):
    """The chosen post-quantum provider is not usable on this machine."""


class InvalidKeyError(CryptoError):
    """Bytes given as a key or seed are not one."""


class InvalidContextError(CryptoError):
    """A signature context is longer than FIPS 204 allows (255 bytes)."""


class DecryptionError(CryptoError):
    """Sealed bytes do not open: another key, another context, or altered on the way."""
