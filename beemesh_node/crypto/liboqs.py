"""The second provider: signatures by liboqs, faster where its C library was built with AVX2 or NEON code.

Sealing stays with `cryptography`: liboqs has ML-KEM but no HPKE, so its key schedule and combiner would have to be
written here, by hand, for an operation that costs a fifth of a signature.

liboqs signs with expanded keys only, and offers no key generation from a seed. Its key generation draws the seed from
a replaceable source of randomness, so a key is expanded by answering that one draw with the stored seed; the public
key that results is compared with the one `cryptography` derives, so a change inside liboqs cannot pass unseen.
"""

import contextlib
import ctypes
import ctypes.util
import functools
import importlib
import io
import os
import platform
import secrets
import threading
from pathlib import Path
from typing import Any, Final, final

from beemesh_node.crypto.errors import InvalidKeyError, ProviderUnavailableError
from beemesh_node.crypto.operations import performed
from beemesh_node.crypto.provider import (
    SIGNATURE_SIZE,
    SIGNING_PUBLIC_SIZE,
    SIGNING_SEED_SIZE,
    KemKey,
    check_context,
)
from beemesh_node.crypto.pyca import PycaProvider, PycaSigningKey

_ALGORITHM: Final = "ML-DSA-65"
_INSTALL_PATH: Final = "OQS_INSTALL_PATH"

_RandomSource = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t)
_expanding = threading.Lock()
_pending = threading.local()


def _answer_with_seed(buffer: Any, size: int) -> None:
    """Give the thread that expands a key its seed; any other thread draws real randomness meanwhile."""
    seed: bytes | None = getattr(_pending, "seed", None)
    ctypes.memmove(buffer, seed if seed is not None and len(seed) == size else secrets.token_bytes(size), size)


@functools.cache
def _seed_source() -> Any:
    """Return the C function around `_answer_with_seed`. One for ever: a thread may be inside it when it is replaced."""
    try:
        return _RandomSource(_answer_with_seed)
    except (MemoryError, OSError) as error:
        # Some libffi make functions in memory that is writable and executable, which a hardened service may not have.
        raise ProviderUnavailableError(
            "crypto provider 'liboqs': this service may not make executable memory; choose the provider 'cryptography'"
        ) from error


def _library_loads() -> bool:
    """Tell whether the C library is there and loads, looking where liboqs-python will look."""
    candidates = [found] if (found := ctypes.util.find_library("oqs")) else []
    if root := os.environ.get(_INSTALL_PATH):
        name = "liboqs.dylib" if platform.system() == "Darwin" else "liboqs.so"
        candidates += [str(Path(root).absolute() / folder / name) for folder in ("lib", "lib64")]
    for candidate in candidates:
        with contextlib.suppress(OSError):
            ctypes.CDLL(candidate)
            return True
    return False


def _load_binding() -> Any:
    """Import liboqs-python, but never without its C library: it would try to download, build and then exit."""
    if not _library_loads():
        raise ProviderUnavailableError(
            f"crypto provider 'liboqs': its C library was not found; install liboqs or set {_INSTALL_PATH}, "
            "or choose the provider 'cryptography'"
        )
    try:
        # It announces itself on standard output, which belongs to the output of commands.
        with contextlib.redirect_stdout(io.StringIO()):
            oqs = importlib.import_module("oqs")
        oqs.get_enabled_sig_mechanisms()
        return oqs
    except (Exception, SystemExit) as error:
        raise ProviderUnavailableError(
            f"crypto provider 'liboqs': the Python package liboqs-python cannot be used ({error}); "
            "install it, or choose the provider 'cryptography'"
        ) from error


@final
class LiboqsSigningKey:
    """ML-DSA-65 private key expanded for liboqs; the seed stays with `cryptography`."""

    __slots__ = ("_reference", "_signer")

    def __init__(self, oqs: Any, reference: PycaSigningKey) -> None:
        self._reference = reference
        self._signer = oqs.Signature(_ALGORITHM)
        with _expanding:
            _pending.seed = reference.export_seed()
            oqs.native().OQS_randombytes_custom_algorithm(_seed_source())
            try:
                public: bytes = self._signer.generate_keypair()
            finally:
                oqs.native().OQS_randombytes_switch_algorithm(b"system")
                del _pending.seed
        if public != reference.public_key:
            raise InvalidKeyError(
                "signing key: liboqs expands the seed to another key; use the provider 'cryptography'"
            )

    @property
    def public_key(self) -> bytes:
        """The public key, 1952 bytes."""
        return self._reference.public_key

    def sign(self, message: bytes, context: bytes) -> bytes:
        """See `SigningKey.sign`."""
        check_context(context)
        performed["sign"] += 1
        signature: bytes = self._signer.sign_with_ctx_str(message, context)
        return signature

    def export_seed(self) -> bytes:
        """See `SigningKey.export_seed`."""
        return self._reference.export_seed()

    def __repr__(self) -> str:
        return repr(self._reference)


@final
class LiboqsProvider:
    """Suite 1 with signatures by liboqs.

    Raises:
        ProviderUnavailableError: the C library, its Python binding, or ML-DSA-65 in it is missing.
    """

    name = "liboqs"

    def __init__(self) -> None:
        self._oqs = _load_binding()
        _seed_source()
        self._pyca = PycaProvider()
        if _ALGORITHM not in self._oqs.get_enabled_sig_mechanisms():
            raise ProviderUnavailableError(f"crypto provider 'liboqs': this build of liboqs has no {_ALGORITHM}")
        self._verifier = self._oqs.Signature(_ALGORITHM)

    def generate_signing_key(self) -> LiboqsSigningKey:
        """See `Provider.generate_signing_key`."""
        return self.signing_key(secrets.token_bytes(SIGNING_SEED_SIZE))

    def signing_key(self, seed: bytes) -> LiboqsSigningKey:
        """See `Provider.signing_key`."""
        return LiboqsSigningKey(self._oqs, self._pyca.signing_key(seed))

    def verify(self, public: bytes, signature: bytes, message: bytes, context: bytes) -> bool:
        """See `Provider.verify`."""
        check_context(context)
        performed["verify"] += 1
        if len(public) != SIGNING_PUBLIC_SIZE or len(signature) != SIGNATURE_SIZE:
            return False
        return bool(self._verifier.verify_with_ctx_str(message, signature, context, public))

    def generate_kem_key(self) -> KemKey:
        """See `Provider.generate_kem_key`."""
        return self._pyca.generate_kem_key()

    def kem_key(self, seed: bytes) -> KemKey:
        """See `Provider.kem_key`."""
        return self._pyca.kem_key(seed)

    def seal(self, public: bytes, plaintext: bytes, info: bytes) -> bytes:
        """See `Provider.seal`."""
        return self._pyca.seal(public, plaintext, info)
