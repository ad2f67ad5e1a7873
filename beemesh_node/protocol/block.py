"""Blocks: a manifest encrypted under a key of its own, named by the hash of its ciphertext.

    plaintext = length of content (4 bytes, big-endian) ‖ content ‖ zeros
    block     = AES-256-GCM of the plaintext under a key that is used for nothing else

Zeros fill a block up to a power of two, from 1 KiB to `MAX_BLOCK`: its size tells no more than an order of magnitude.
GCM does not commit to its key (two keys can be found that open one ciphertext to different contents), so a record
carries a commitment to the key, which is checked before the block is opened.
"""

import hashlib
import hmac
import secrets
from base64 import b32decode, b32encode
from binascii import Error as Base32Error
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from beemesh_node.crypto import aead
from beemesh_node.protocol.errors import MalformedError, OversizeError, ProtocolError
from beemesh_node.protocol.ids import Cid

MIN_BLOCK: Final = 1024
MAX_BLOCK: Final = 1024 * 1024
"""Bytes of a block at most."""

_LENGTH: Final = Struct(">I")
MAX_CONTENT: Final = MAX_BLOCK - aead.TAG_SIZE - _LENGTH.size
"""Bytes of content that fit into the largest block."""

_SIZES: Final = frozenset(1 << power for power in range(10, 21))
_KEY_CONTEXT: Final = b"beemesh/1/block-key"
_BLOCK_CONTEXT: Final = b"beemesh/1/block"
# A content key encrypts one block only, so that the nonce need not differ.
_NONCE: Final = bytes(aead.NONCE_SIZE)

_CID_PREFIX: Final = bytes((1, 0x55, 0x12, 32))
"""CIDv1, codec raw, multihash sha2-256 of 32 bytes. Ours have this one form, so that no CID library is needed, which
`beectl` would have to load at every start; the tests compare with one."""


class WrongBlockError(ProtocolError):
    """The bytes are not those that the CID names."""


class WrongContentKeyError(ProtocolError):
    """The key is not the one that the record commits to."""


@dataclass(frozen=True, slots=True)
class SealedBlock:
    """A block with its name, the key that opens it and the commitment for its record."""

    cid: Cid
    block: bytes
    content_key: bytes = field(repr=False)
    key_commitment: bytes


def cid_of(block: bytes) -> Cid:
    """Return the CID of `block`."""
    name = _CID_PREFIX + hashlib.sha256(block).digest()
    return Cid("b" + b32encode(name).decode().rstrip("=").lower())


def parse_cid(text: str) -> Cid:
    """Return `text` as the CID that it is.

    Raises:
        MalformedError: not a CIDv1 in lower-case base32 with codec raw and hash sha2-256: the only form used here.
    """
    try:
        name = b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8)) if len(text) == 59 else b""
    except (Base32Error, ValueError):
        name = b""
    # Encoding again refuses upper case and stray bits: one block, one name.
    if len(name) != 36 or name[:4] != _CID_PREFIX or "b" + b32encode(name).decode().rstrip("=").lower() != text:
        raise MalformedError(f"{text[:64]!r} is not the CID of a block")
    return Cid(text)


def commit_to_key(content_key: bytes) -> bytes:
    """Return the commitment to a content key: a hash from which the key cannot be found, nor another for it."""
    return hashlib.sha256(_KEY_CONTEXT + content_key).digest()


def seal_block(content: bytes) -> SealedBlock:
    """Encrypt `content` under a fresh key.

    Raises:
        OversizeError: more than `MAX_CONTENT` bytes.
    """
    if len(content) > MAX_CONTENT:
        raise OversizeError(f"{len(content)} bytes do not fit into a block: at most {MAX_CONTENT} do")
    needed = _LENGTH.size + len(content) + aead.TAG_SIZE
    size = max(MIN_BLOCK, 1 << (needed - 1).bit_length())
    plaintext = (_LENGTH.pack(len(content)) + content).ljust(size - aead.TAG_SIZE, b"\x00")
    key = secrets.token_bytes(aead.KEY_SIZE)
    block = aead.encrypt(key, _NONCE, plaintext, _BLOCK_CONTEXT)
    return SealedBlock(cid_of(block), block, key, commit_to_key(key))


def check_block(cid: Cid, block: bytes) -> None:
    """Check that `block` is what `cid` names: all that a holder without the key can and must know.

    Raises:
        OversizeError: more than `MAX_BLOCK` bytes.
        MalformedError: of a size that no block has.
        WrongBlockError: another block, or altered.
    """
    if len(block) > MAX_BLOCK:
        raise OversizeError(f"a block of {len(block)} bytes: at most {MAX_BLOCK} are allowed")
    if len(block) not in _SIZES:
        raise MalformedError(f"a block of {len(block)} bytes: blocks are powers of two from {MIN_BLOCK} on")
    if cid_of(block) != cid:
        raise WrongBlockError(f"these bytes are not block {cid[:64]}: fetch it from another holder")


def open_block(cid: Cid, block: bytes, content_key: bytes, key_commitment: bytes) -> bytes:
    """Return the content of `block`, all of whose parts come from others.

    Raises:
        OversizeError, WrongBlockError: see `check_block`.
        WrongContentKeyError: `content_key` is not what `key_commitment` commits to.
        DecryptionError: the key does not open the block: its record pairs what does not belong together.
        MalformedError: no block, or the padding is not as it must be.
    """
    check_block(cid, block)
    if len(content_key) != aead.KEY_SIZE or not hmac.compare_digest(commit_to_key(content_key), key_commitment):
        raise WrongContentKeyError(f"block {cid}: the key is not the one that its record commits to")
    plaintext = aead.decrypt(content_key, _NONCE, block, _BLOCK_CONTEXT)
    size = int(_LENGTH.unpack_from(plaintext)[0])
    content, padding = plaintext[_LENGTH.size : _LENGTH.size + size], plaintext[_LENGTH.size + size :]
    if len(content) != size or padding.strip(b"\x00"):
        raise MalformedError(f"block {cid}: its length or padding is wrong")
    return content
