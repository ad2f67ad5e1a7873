"""Signed objects: what is kept and handed on exactly as its signer made it, and believed for its signature alone.

    object = length of body (4 bytes, big-endian) ‖ body (FlatBuffers) ‖ ML-DSA-65 signature (3309 bytes)

The signature is over the body under the context `beemesh/1/obj/<kind>`, so that no object passes for one of another
kind. The bytes are exact: nothing may follow. An object is never re-encoded; its identity is the hash of all its bytes.
"""

import struct
from typing import Final

from beemesh_node.crypto import SIGNATURE_SIZE, SigningKey, verify
from beemesh_node.protocol.errors import BadSignatureError, MalformedError, OversizeError

CONTEXT_PREFIX: Final = b"beemesh/1/obj/"
OVERHEAD: Final = 4 + SIGNATURE_SIZE
"""By how many bytes an object is longer than its body."""

_LENGTH: Final = struct.Struct(">I")


def _context(kind: str) -> bytes:
    return CONTEXT_PREFIX + kind.encode("ascii")


def sign_object(kind: str, body: bytes, key: SigningKey) -> bytes:
    """Return the object of `kind` (ASCII, at most 200 characters) with `body`, signed with `key`.

    Raises:
        InvalidContextError: `kind` is too long.
    """
    return _LENGTH.pack(len(body)) + body + key.sign(body, _context(kind))


def open_object(kind: str, data: bytes, public_key: bytes, max_size: int) -> bytes:
    """Return the body of an object of `kind` once the signature of `public_key` over it has been verified.

    `max_size` bounds the whole object, in bytes. Nothing of the body is looked at before.

    Raises:
        OversizeError: longer than `max_size`.
        MalformedError: cut short, or with bytes left over.
        BadSignatureError: altered, of another kind, or signed by another key.
    """
    body = peek_unverified(kind, data, max_size)
    if not verify(public_key, data[_LENGTH.size + len(body) :], body, _context(kind)):
        raise BadSignatureError(f"{kind}: the signature does not verify; it was altered or signed by another key")
    return body


def peek_unverified(kind: str, data: bytes, max_size: int) -> bytes:
    """Return the body of an object *without* verifying it, to learn which key `open_object` must be given.

    Only for objects that name or carry their own signer. Nothing else in the body may be believed or acted upon.

    Raises:
        OversizeError: longer than `max_size`.
        MalformedError: cut short, or with bytes left over.
    """
    if len(data) > max_size:
        raise OversizeError(f"{kind}: {len(data)} bytes, at most {max_size} are allowed")
    if len(data) < OVERHEAD:
        raise MalformedError(f"{kind}: {len(data)} bytes are too few for a signed object")
    size = int(_LENGTH.unpack_from(data)[0])
    if size + OVERHEAD != len(data):
        raise MalformedError(f"{kind}: says {size + OVERHEAD} bytes and has {len(data)}")
    return data[_LENGTH.size : _LENGTH.size + size]
