"""ML-DSA-65: published answers, contexts, and refusal of everything altered."""

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.crypto import (
    SIGNATURE_SIZE,
    SIGNING_PUBLIC_SIZE,
    InvalidContextError,
    InvalidKeyError,
    Provider,
    SigningKey,
)
from beemesh_node.crypto.pyca import PycaProvider
from tests.node.crypto.support import flip, vectors

CASES = vectors("ml-dsa-65")
SEED = bytes(range(32))
CONTEXT = b"beemesh/1/test"


@pytest.fixture(scope="module")
def key(provider: Provider) -> SigningKey:
    return provider.signing_key(SEED)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["count"]))
def test_published_answers(provider: Provider, case: dict[str, Any]) -> None:
    key = provider.signing_key(case["seed"])
    assert key.public_key == case["public"]
    assert provider.verify(case["public"], case["signature"], case["message"], case["context"])
    assert not provider.verify(case["public"], case["signature"], case["message"], case["context"] + b"\0")
    # Our own signatures are hedged, so they are known by verifying only.
    own = key.sign(case["message"], case["context"])
    assert provider.verify(case["public"], own, case["message"], case["context"])


def test_providers_agree_in_both_directions(provider: Provider) -> None:
    reference = PycaProvider()
    ours, theirs = provider.signing_key(SEED), reference.signing_key(SEED)
    assert ours.public_key == theirs.public_key
    assert ours.export_seed() == theirs.export_seed() == SEED
    assert reference.verify(theirs.public_key, ours.sign(b"m", CONTEXT), b"m", CONTEXT)
    assert provider.verify(ours.public_key, theirs.sign(b"m", CONTEXT), b"m", CONTEXT)


def test_signatures_are_hedged_and_have_the_stated_sizes(provider: Provider, key: SigningKey) -> None:
    first, second = key.sign(b"m", CONTEXT), key.sign(b"m", CONTEXT)
    assert first != second
    assert len(first) == len(second) == SIGNATURE_SIZE
    assert len(key.public_key) == SIGNING_PUBLIC_SIZE
    assert provider.generate_signing_key().public_key != provider.generate_signing_key().public_key


@pytest.mark.parametrize("message", [b"", b"\0", bytes(100_000)], ids=["empty", "zero", "long"])
@pytest.mark.parametrize("context", [b"", b"\0", bytes(255)], ids=["none", "zero", "longest"])
def test_any_message_under_any_context(provider: Provider, key: SigningKey, message: bytes, context: bytes) -> None:
    signature = key.sign(message, context)
    assert provider.verify(key.public_key, signature, message, context)
    assert not provider.verify(key.public_key, signature, message + b"x", context)


@settings(max_examples=60, deadline=None)
@given(part=st.sampled_from(["public", "signature", "message", "context"]), bit=st.integers(0, 8 * 4000))
def test_one_flipped_bit_anywhere_is_refused(part: str, bit: int) -> None:
    case = CASES[0]
    spoiled = case | {part: flip(case[part], bit)}
    provider = PycaProvider()
    assert not provider.verify(spoiled["public"], spoiled["signature"], spoiled["message"], spoiled["context"])


@pytest.mark.parametrize("change", [b"", b"x", bytes(5000)], ids=["empty", "short", "long"])
@pytest.mark.parametrize("part", ["public", "signature"])
def test_malformed_key_or_signature_is_false_not_an_error(provider: Provider, part: str, change: bytes) -> None:
    case = CASES[0] | {part: change}
    assert provider.verify(case["public"], case["signature"], case["message"], case["context"]) is False


def test_context_over_255_bytes_is_refused_alike(provider: Provider, key: SigningKey) -> None:
    with pytest.raises(InvalidContextError, match="256 bytes"):
        key.sign(b"m", bytes(256))
    with pytest.raises(InvalidContextError, match="256 bytes"):
        provider.verify(key.public_key, bytes(SIGNATURE_SIZE), b"m", bytes(256))


def test_keys_are_made_and_used_in_many_threads_at_once(provider: Provider, key: SigningKey) -> None:
    def work(number: int) -> bool:
        own = provider.signing_key(bytes([number]) * 32)
        expected = PycaProvider().signing_key(bytes([number]) * 32).public_key
        return own.public_key == expected and provider.verify(key.public_key, key.sign(b"m", b""), b"m", b"")

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(40)))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_of_another_size_is_refused(provider: Provider, size: int) -> None:
    with pytest.raises(InvalidKeyError, match=f"seed of {size} bytes"):
        provider.signing_key(bytes(size))


def test_nothing_shows_or_copies_the_seed(key: SigningKey) -> None:
    shown = repr(key) + str(key) + f"{key}"
    assert SEED.hex() not in shown
    assert repr(SEED) not in shown
    assert hashlib.sha256(key.public_key).hexdigest()[:16] in shown
    with pytest.raises((TypeError, ValueError)):
        pickle.dumps(key)
