"""The signature of a message, alone or for a batch of messages that were queued at the same time.

Signing is what messages cost, so that those that wait together are signed together: the hashes of the messages are the
leaves of a Merkle tree and its root is signed once. Every message then carries its own path and stays a full message.

    alone:  signature (3309 bytes) over header ‖ ciphertext under the context beemesh/1/msg/<type>
    batch:  index (2) ‖ count (2) ‖ path (32 a node, from the leaf up) ‖ signature over count ‖ root, beemesh/1/batch

    leaf = SHA-256(0x00 ‖ header ‖ SHA-256(ciphertext))        node = SHA-256(0x01 ‖ left ‖ right)

A node without a sibling moves up as it is and is never paired with itself (two lists of messages could share a root
otherwise). The type is part of the header, hence of the leaf.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from beemesh_node.crypto import SIGNATURE_SIZE, SigningKey, verify
from beemesh_node.protocol.header import HEADER_SIZE, Header

MAX_BATCH: Final = 256
"""Messages under one signature at most; their paths have at most 8 nodes."""

_HASH_SIZE: Final = 32
_PLACE: Final = Struct(">HH")
_MAX_PATH: Final = (MAX_BATCH - 1).bit_length()
MAX_SIGNATURE_SIZE: Final = _PLACE.size + _MAX_PATH * _HASH_SIZE + SIGNATURE_SIZE
"""Bytes of the longest signature of a message."""

_COUNT: Final = Struct(">H")
_BATCH_CONTEXT: Final = b"beemesh/1/batch"


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A message without its signature."""

    header: Header
    content: bytes
    """The packed header ‖ ciphertext."""


def message_context(payload_type: int) -> bytes:
    """Return the context under which a message of this type is signed alone."""
    return b"beemesh/1/msg/%d" % payload_type


def sign(message: Unsigned, key: SigningKey) -> bytes:
    """Return the whole message, signed alone."""
    return message.content + key.sign(message.content, message_context(message.header.payload_type))


def sign_batch(messages: Sequence[Unsigned], key: SigningKey) -> list[bytes]:
    """Return the whole messages in the given order, signed together: a single one alone, none not at all.

    Raises:
        ValueError: more than `MAX_BATCH` messages.
    """
    count = len(messages)
    if count > MAX_BATCH:
        raise ValueError(f"a batch of {count} messages: at most {MAX_BATCH} are signed together")
    if count <= 1:
        return [sign(message, key) for message in messages]
    levels = [[_leaf(message.content) for message in messages]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        pairs = [_node(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        levels.append(pairs + below[len(pairs) * 2 :])
    signature = key.sign(_COUNT.pack(count) + levels[-1][0], _BATCH_CONTEXT)
    signed = []
    for index, message in enumerate(messages):
        path = b"".join(level[at] for level, at in zip(levels, _siblings(index, count), strict=False) if at is not None)
        signed.append(message.content + _PLACE.pack(index, count) + path + signature)
    return signed


def is_signature_size(size: int) -> bool:
    """Tell whether a signature, alone or of a batch, may have `size` bytes."""
    path = size - _PLACE.size - SIGNATURE_SIZE
    return size == SIGNATURE_SIZE or (path % _HASH_SIZE == 0 and 0 < path // _HASH_SIZE <= _MAX_PATH)


def verify_message(payload_type: int, content: bytes, signature: bytes, public_key: bytes) -> bool:
    """Tell whether `signature`, of a size that a signature may have, is that of `public_key` over the message."""
    if len(signature) == SIGNATURE_SIZE:
        return verify(public_key, signature, content, message_context(payload_type))
    index, count = _PLACE.unpack_from(signature)
    if index >= count:
        return False
    path, at = signature[_PLACE.size : -SIGNATURE_SIZE], 0
    digest = _leaf(content)
    for sibling in _siblings(index, count):
        if sibling is not None:
            other, at = path[at : at + _HASH_SIZE], at + _HASH_SIZE
            digest = _node(other, digest) if sibling < index else _node(digest, other)
        index //= 2
    if at != len(path):
        return False
    return verify(public_key, signature[-SIGNATURE_SIZE:], _COUNT.pack(count) + digest, _BATCH_CONTEXT)


def _siblings(index: int, count: int) -> list[int | None]:
    """Return, from the leaves up to below the root, the index of the sibling at each level, or None without one."""
    siblings: list[int | None] = []
    while count > 1:
        sibling = index ^ 1
        siblings.append(sibling if sibling < count else None)
        index, count = index // 2, (count + 1) // 2
    return siblings


def _leaf(content: bytes) -> bytes:
    header, ciphertext = content[:HEADER_SIZE], content[HEADER_SIZE:]
    return hashlib.sha256(b"\x00" + header + hashlib.sha256(ciphertext).digest()).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
