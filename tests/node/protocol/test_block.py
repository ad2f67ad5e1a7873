"""Blocks: named by their bytes, opened by the one key that their record commits to, and vague about their size."""

import hashlib
import struct

import pytest
from cid import make_cid
from hypothesis import given, settings
from hypothesis import strategies as st
from multihash import digest

from beemesh_node.crypto import DecryptionError, aead
from beemesh_node.protocol.block import (
    MAX_BLOCK,
    MAX_CONTENT,
    MIN_BLOCK,
    WrongBlockError,
    WrongContentKeyError,
    check_block,
    cid_of,
    commit_to_key,
    open_block,
    parse_cid,
    seal_block,
)
from beemesh_node.protocol.errors import MalformedError, OversizeError
from beemesh_node.protocol.ids import Cid


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=5000))
def test_a_block_comes_back(content: bytes) -> None:
    sealed = seal_block(content)
    assert open_block(sealed.cid, sealed.block, sealed.content_key, sealed.key_commitment) == content


@pytest.mark.parametrize(
    ("content", "block"), [(0, 1024), (1004, 1024), (1005, 2048), (2028, 2048), (2029, 4096), (MAX_CONTENT, MAX_BLOCK)]
)
def test_sizes_are_powers_of_two(content: int, block: int) -> None:
    sealed = seal_block(bytes(content))
    assert len(sealed.block) == block
    assert open_block(sealed.cid, sealed.block, sealed.content_key, sealed.key_commitment) == bytes(content)


def test_a_manifest_too_large() -> None:
    with pytest.raises(OversizeError, match=f"{MAX_CONTENT + 1} bytes do not fit"):
        seal_block(bytes(MAX_CONTENT + 1))


def test_the_cid_is_that_of_ipfs() -> None:
    sealed = seal_block(b"kind: Deployment")
    assert sealed.cid == make_cid(1, "raw", digest(sealed.block, "sha2-256").encode()).encode("base32").decode()
    assert sealed.cid.startswith("bafkrei")
    assert parse_cid(sealed.cid) == sealed.cid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPwLk",
        cid_of(b"x").upper(),
        cid_of(b"x")[:-1],
        cid_of(b"x") + "a",
        "B" + cid_of(b"x")[1:],
        "z" + cid_of(b"x")[1:],
        cid_of(b"x")[:-1] + "1",
        cid_of(b"x")[:-1] + "é",
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
        "a" * 1_000_000,
    ],
)
def test_what_is_no_cid_of_a_block(text: str) -> None:
    with pytest.raises(MalformedError, match="is not the CID of a block") as error:
        parse_cid(text)
    assert len(str(error.value)) < 200


def test_stray_bits_do_not_make_a_second_name() -> None:
    """The last of 58 base32 digits holds two bits that belong to no byte."""
    cid = cid_of(b"x")
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    stray = cid[:-1] + alphabet[alphabet.index(cid[-1]) ^ 1]
    with pytest.raises(MalformedError):
        parse_cid(stray)


def test_an_altered_or_another_block() -> None:
    sealed, other = seal_block(b"one"), seal_block(b"two")
    altered = bytes([sealed.block[0] ^ 1]) + sealed.block[1:]
    for block in (altered, other.block):
        with pytest.raises(WrongBlockError, match="fetch it from another holder"):
            open_block(sealed.cid, block, sealed.content_key, sealed.key_commitment)
        with pytest.raises(WrongBlockError):
            check_block(sealed.cid, block)
    check_block(sealed.cid, sealed.block)


@pytest.mark.parametrize("size", [0, 1, MIN_BLOCK - 1, MIN_BLOCK + 1, 3 * MIN_BLOCK, 512])
def test_a_block_of_a_size_that_none_has(size: int) -> None:
    with pytest.raises(MalformedError, match="powers of two"):
        check_block(cid_of(bytes(size)), bytes(size))


def test_a_block_too_large() -> None:
    with pytest.raises(OversizeError):
        check_block(cid_of(bytes(2 * MAX_BLOCK)), bytes(2 * MAX_BLOCK))


def test_another_key() -> None:
    sealed, other = seal_block(b"one"), seal_block(b"two")
    for key in (other.content_key, b"", sealed.content_key[:-1]):
        with pytest.raises(WrongContentKeyError):
            open_block(sealed.cid, sealed.block, key, sealed.key_commitment)


def test_another_commitment() -> None:
    sealed, other = seal_block(b"one"), seal_block(b"two")
    for commitment in (other.key_commitment, b"", hashlib.sha256(sealed.content_key).digest()):
        with pytest.raises(WrongContentKeyError):
            open_block(sealed.cid, sealed.block, sealed.content_key, commitment)


def test_a_record_that_pairs_a_block_with_another_blocks_key() -> None:
    sealed, other = seal_block(b"one"), seal_block(b"two")
    with pytest.raises(DecryptionError):
        open_block(sealed.cid, sealed.block, other.content_key, other.key_commitment)


@pytest.mark.parametrize(
    "plaintext",
    [
        pytest.param(struct.pack(">I", 2**32 - 1) + bytes(1004), id="length beyond the block"),
        pytest.param(struct.pack(">I", 1005) + bytes(1004), id="length one too many"),
        pytest.param(struct.pack(">I", 1) + b"ab" + bytes(1002), id="something in the padding"),
    ],
)
def test_a_writer_that_does_not_pad_as_agreed(plaintext: bytes) -> None:
    key = b"k" * 32
    block = aead.encrypt(key, bytes(12), plaintext, b"beemesh/1/block")
    with pytest.raises(MalformedError, match="length or padding"):
        open_block(cid_of(block), block, key, commit_to_key(key))


def test_a_hostile_cid_is_not_echoed_whole() -> None:
    with pytest.raises(WrongBlockError) as error:
        check_block(Cid("x" * 100_000), bytes(MIN_BLOCK))
    assert len(str(error.value)) < 200


def test_nothing_secret_is_shown() -> None:
    sealed = seal_block(b"password")
    assert sealed.content_key.hex() not in repr(sealed)
    assert repr(sealed.content_key) not in repr(sealed)
    assert b"password" not in sealed.block
    assert seal_block(b"password").cid != sealed.cid
