"""AES-256-GCM and HKDF-SHA256 against published answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.crypto import DecryptionError, InvalidKeyError, aead, kdf
from tests.node.crypto.support import flip

# "The Galois/Counter Mode of Operation", McGrew and Viega, test case 16.
KEY = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
NONCE = bytes.fromhex("cafebabefacedbaddecaf888")
AAD = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
PLAINTEXT = bytes.fromhex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
CIPHERTEXT = bytes.fromhex(
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
    "76fc6ece0f4e1768cddf8853bb2d551b"
)


def test_published_answer_of_aes_256_gcm() -> None:
    assert aead.encrypt(KEY, NONCE, PLAINTEXT, AAD) == CIPHERTEXT
    assert aead.decrypt(KEY, NONCE, CIPHERTEXT, AAD) == PLAINTEXT


@given(bit=st.integers(0, 8 * len(CIPHERTEXT) - 1), keep=st.integers(0, len(CIPHERTEXT) - 1))
def test_altered_ciphertext_does_not_open(bit: int, keep: int) -> None:
    for spoiled in (flip(CIPHERTEXT, bit), CIPHERTEXT[:keep], CIPHERTEXT + b"\0"):
        with pytest.raises(DecryptionError):
            aead.decrypt(KEY, NONCE, spoiled, AAD)


def test_another_key_nonce_or_aad_does_not_open() -> None:
    for key, nonce, aad in ((bytes(32), NONCE, AAD), (KEY, bytes(12), AAD), (KEY, NONCE, b"")):
        with pytest.raises(DecryptionError):
            aead.decrypt(key, nonce, CIPHERTEXT, aad)


@pytest.mark.parametrize(("key", "nonce"), [(bytes(16), NONCE), (KEY, bytes(8)), (b"", b"")])
def test_keys_and_nonces_of_other_sizes_are_refused(key: bytes, nonce: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        aead.encrypt(key, nonce, b"", b"")
    with pytest.raises(InvalidKeyError):
        aead.decrypt(key, nonce, CIPHERTEXT, b"")


def test_published_answer_of_hkdf() -> None:
    # RFC 5869, test case 1.
    info, salt = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9"), bytes.fromhex("000102030405060708090a0b0c")
    extracted = bytes.fromhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
    answer = bytes.fromhex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
    assert kdf.expand(extracted, info, 42) == answer
    assert kdf.derive(b"\x0b" * 22, salt, info, 42) == answer


def test_bounds_of_hkdf() -> None:
    assert len(kdf.expand(bytes(32), b"", 8160)) == 8160
    with pytest.raises(ValueError, match="at least 32"):
        kdf.expand(bytes(31), b"", 32)
    for derive in (lambda: kdf.expand(bytes(32), b"", 8161), lambda: kdf.derive(b"", b"", b"", 8161)):
        with pytest.raises(ValueError):
            derive()
