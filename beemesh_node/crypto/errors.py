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


class AuthenticationError(CryptoError):
    """A key file needs a passphrase and got none, or a wrong one. Commands end with exit code 3."""


class KeyStoreError(CryptoError):
    """A key file cannot be read or written; the message names the file."""


class KeyNotFoundError(KeyStoreError):
    """There is no such key file."""


class KeyExistsError(KeyStoreError):
    """A key file of this name exists, and replacing it was not asked for."""


class InsecureKeyFileError(KeyStoreError):
    """Others than the owner can reach a key file or its directory; the message says which chmod mends it."""


class MalformedKeyFileError(KeyStoreError):
    """A key file is damaged, of another kind or version, or asks for more work than a key file may."""
