"""HPKE with MLKEM768-X25519: published answers from key to ciphertext, and refusal of everything altered."""

import hashlib
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.crypto import (
    KEM_PUBLIC_SIZE,
    SEAL_OVERHEAD,
    DecryptionError,
    InvalidKeyError,
    KemKey,
    Provider,
    aead,
)
from beemesh_node.crypto.pyca import PycaProvider
from tests.node.crypto.support import flip, vectors

SEED = bytes(range(32))
HPKE = vectors("hpke-mlkem768-x25519")[0]
KEM_ID, HKDF_SHA256, AES_256_GCM, CHACHA20_POLY1305 = 0x647A, 1, 2, 3


@pytest.fixture(scope="module")
def key(provider: Provider) -> KemKey:
    return provider.kem_key(SEED)


def key_schedule(shared_secret: bytes, info: bytes, aead_id: int) -> tuple[bytes, bytes]:
    """RFC 9180, 5.1, base mode with HKDF-SHA256 and a 32-byte key: written from the text, to check against."""
    suite = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (KEM_ID, HKDF_SHA256, aead_id))

    def extract(salt: bytes, label: bytes, material: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + material, "sha256")

    def expand(secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
        return hmac.digest(secret, labelled + b"\1", "sha256")[:length]

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared_secret, b"secret", b"")
    return expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)


@pytest.mark.parametrize("case", vectors("ml-kem-768"), ids=lambda case: str(case["count"]))
def test_published_answers_of_ml_kem(case: dict[str, Any]) -> None:
    key = MLKEM768PrivateKey.from_seed_bytes(case["seed"])
    assert key.public_key().public_bytes_raw() == case["public"]
    assert key.decapsulate(case["ciphertext"]) == case["secret"]
    assert key.decapsulate(case["invalid_ciphertext"]) == case["invalid_secret"]


def test_published_answers_of_the_hybrid_kem(provider: Provider) -> None:
    key = provider.kem_key(HPKE["seed"])
    assert key.public_key == HPKE["public"]
    # The vector is for ChaCha20-Poly1305; with its own suite the key schedule above must give its key ...
    published = key_schedule(HPKE["shared_secret"], HPKE["info"], CHACHA20_POLY1305)
    assert published == (HPKE["key"], HPKE["base_nonce"])
    # ... and with our suite, a message that the provider opens from the published encapsulation.
    sealing_key, nonce = key_schedule(HPKE["shared_secret"], HPKE["info"], AES_256_GCM)
    sealed = HPKE["encapsulated"] + aead.encrypt(sealing_key, nonce, b"a bid", b"")
    assert key.open(sealed, HPKE["info"]) == b"a bid"


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_round_trip_with_the_stated_sizes(provider: Provider, key: KemKey, size: int) -> None:
    sealed = provider.seal(key.public_key, bytes(size), b"info")
    assert len(sealed) == size + SEAL_OVERHEAD
    assert len(key.public_key) == KEM_PUBLIC_SIZE
    assert key.open(sealed, b"info") == bytes(size)
    assert provider.kem_key(key.export_seed()).open(sealed, b"info") == bytes(size)
    assert provider.generate_kem_key().public_key != provider.generate_kem_key().public_key


@settings(max_examples=60, deadline=None)
@given(bit=st.integers(0, 8 * 2000))
def test_one_flipped_bit_anywhere_does_not_open(bit: int) -> None:
    provider = PycaProvider()
    key = provider.kem_key(SEED)
    with pytest.raises(DecryptionError):
        key.open(flip(provider.seal(key.public_key, b"content", b"info"), bit), b"info")


@settings(max_examples=40, deadline=None)
@given(keep=st.integers(0, SEAL_OVERHEAD + 6), more=st.binary(min_size=1, max_size=20))
def test_cut_short_or_continued_does_not_open(keep: int, more: bytes) -> None:
    provider = PycaProvider()
    key = provider.kem_key(SEED)
    sealed = provider.seal(key.public_key, b"content", b"info")
    for spoiled in (sealed[:keep], sealed + more):
        with pytest.raises(DecryptionError):
            key.open(spoiled, b"info")


def test_another_key_or_info_does_not_open(provider: Provider, key: KemKey) -> None:
    sealed = provider.seal(key.public_key, b"content", b"info")
    with pytest.raises(DecryptionError):
        provider.generate_kem_key().open(sealed, b"info")
    with pytest.raises(DecryptionError):
        key.open(sealed, b"inf")


@pytest.mark.parametrize(
    "public", [b"", bytes(KEM_PUBLIC_SIZE - 1), b"\xff" * KEM_PUBLIC_SIZE, bytes(KEM_PUBLIC_SIZE)],
    ids=["empty", "short", "not reduced", "low order"],
)  # fmt: skip
def test_what_is_no_public_key_is_refused(provider: Provider, public: bytes) -> None:
    with pytest.raises(InvalidKeyError, match="KEM public key"):
        provider.seal(public, b"content", b"info")


@pytest.mark.parametrize("size", [0, 31, 33, 96])
def test_a_seed_of_another_size_is_refused(provider: Provider, size: int) -> None:
    with pytest.raises(InvalidKeyError, match=f"seed of {size} bytes"):
        provider.kem_key(bytes(size))


def test_nothing_shows_the_seed(provider: Provider, key: KemKey) -> None:
    sealed = provider.seal(key.public_key, b"content", b"info")
    with pytest.raises(DecryptionError) as failure:
        key.open(sealed, b"")
    shown = repr(key) + str(key) + repr(failure.value) + str(failure.value.__cause__)
    assert SEED.hex() not in shown
    assert hashlib.shake_256(SEED).hexdigest(96)[:32] not in shown
    assert hashlib.sha256(key.public_key).hexdigest()[:16] in shown
