"""The record of a workload: the signed, mutable name of a declaration, as an IPNS record is for a key.

What travels is an *attested record*: the owner's certificate and the record, each a signed object, so that it can be
believed years later by machines that never met its owner. Expiry bars messages, never records: the chain of the
certificate is checked without its dates.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from beemesh_node.crypto.provider import SigningKey
from beemesh_node.protocol.certificate import Certificate
from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.errors import MalformedError
from beemesh_node.protocol.ids import Uid
from beemesh_node.protocol.objects import open_object, sign_object

RECORD_KIND = "record"
MAX_RECORD = 32 * 1024
"""Bytes of an attested record: a certificate of about 7 KB, and a record with its revisions."""

UID_NONCE_SIZE = 16
MAX_VOTERS = 5
"""First voters that a record may name: an odd number up to this."""

_LENGTH = struct.Struct(">I")
_UID_CONTEXT = b"beemesh/1/uid"


@dataclass(frozen=True, slots=True)
class RevisionRef:
    """An earlier or the present state of the template, for `rollout history` and `undo`."""

    number: int
    cid: str
    key_commitment: bytes
    template_hash: str
    created_at: int
    change_cause: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """What an operator declares under one name. Of one uid the greatest (deleted, sequence, digest) wins."""

    mesh_id: bytes
    namespace: str
    kind: str
    name: str
    uid: str
    """`uid_of` the name and `uid_nonce`: nobody can change what is declared under another name."""
    uid_nonce: bytes
    generation: int
    """Of several live uids under one name the greatest (generation, uid) runs."""
    sequence: int
    """Grows by one with every change of this declaration."""
    parent: bytes
    """Digest of the record this one changes; empty for the first."""
    deleted: bool
    """A tombstone: final for its uid."""
    cid: str
    key_commitment: bytes
    revisions: tuple[RevisionRef, ...]
    """The present one last."""
    created_at: int
    voters: tuple[str, ...] = ()
    """Machine ids of the first voters over the leases of its slots, an odd number; none if it needs no leases."""


@dataclass(frozen=True, slots=True)
class AttestedRecord:
    """A record whose signature and chain have been checked, with its exact bytes."""

    record: Record
    owner: Certificate
    raw: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the exact bytes."""
        return hashlib.sha256(self.raw).digest()

    @property
    def rank(self) -> tuple[bool, int, bytes]:
        """Of two records of one uid the one with the greater rank wins, whoever looks."""
        return (self.record.deleted, self.record.sequence, self.digest)


def uid_of(mesh_id: bytes, namespace: str, kind: str, name: str, nonce: bytes, voters: tuple[str, ...] = ()) -> Uid:
    """Return the uid of a declaration: a UUID that follows from its name, fresh randomness and its first voters.

    Bound so, a record cannot claim the uid of a declaration in a namespace where its owner may do nothing, and nobody
    can name other voters for it.
    """
    parts = (mesh_id, namespace.encode(), kind.encode(), name.encode(), nonce, *(voter.encode() for voter in voters))
    data = _UID_CONTEXT + b"".join(_LENGTH.pack(len(part)) + part for part in parts)
    return Uid(str(UUID(bytes=hashlib.sha256(data).digest()[:16], version=4)))


def attest(record: Record, certificate: bytes, key: SigningKey) -> bytes:
    """Sign `record` with the owner's `key` and put the owner's certificate in front of it."""
    return _LENGTH.pack(len(certificate)) + certificate + sign_object(RECORD_KIND, encode(record), key)


def open_record(raw: bytes, chain: Callable[[bytes], Certificate]) -> AttestedRecord:
    """Check and read an attested record.

    `chain` verifies a certificate's exact bytes against the trusted roots, without its dates, or raises a
    `ProtocolError`. Whether the owner may write this namespace is the caller's question. Raises `MalformedError` for
    anything that is no attested record, and what `chain` and `open_object` raise.
    """
    if not _LENGTH.size < len(raw) <= MAX_RECORD:
        raise MalformedError(f"a record of {len(raw)} bytes: expected at most {MAX_RECORD}")
    (size,) = _LENGTH.unpack_from(raw)
    if size > len(raw) - _LENGTH.size:
        raise MalformedError("a record that is cut short inside its certificate")
    owner = chain(raw[_LENGTH.size : _LENGTH.size + size])
    body = open_object(RECORD_KIND, raw[_LENGTH.size + size :], owner.public_key, MAX_RECORD)
    record = decode(Record, body)
    named = uid_of(record.mesh_id, record.namespace, record.kind, record.name, record.uid_nonce, record.voters)
    if len(record.uid_nonce) != UID_NONCE_SIZE or record.uid != named:
        raise MalformedError(f"the record of {record.kind} {record.namespace}/{record.name} has another name's uid")
    count = len(record.voters)
    if record.voters and (count % 2 == 0 or count > MAX_VOTERS or len(set(record.voters)) < count):
        raise MalformedError(f"{record.kind} {record.namespace}/{record.name}: its {count} voters are no odd few")
    return AttestedRecord(record, owner, raw)
