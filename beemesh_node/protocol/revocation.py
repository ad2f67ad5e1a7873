"""Who does not belong to the mesh any more, and the secret of those who do: list n and epoch n are one thing.

    signed list = length of certificate (4 bytes, big-endian) ‖ certificate ‖ object of kind `revocations`

A root signs without a certificate in front (length 0); an operator with the verb `revoke` puts its own there, so that
the list is believed years later, as a record is. A list names the members that are revoked and, by its hash, the secret
under which everybody else broadcasts from then on. The secret itself travels beside it, sealed to one member at a time
by whoever has it: that it is the right one the list proves, so nothing else has to be signed.

Lists merge by union, whoever made them and in whichever order they arrive: a member keeps every list that no later one
covers, and all of them count. What an operator's list says is void once a root has revoked that operator: of two that
call each other thieves only a root can tell who is one. The greatest (number, hash of the secret) names the epoch.

So that lists do not grow for ever, a root's list leaves out single certificates of machines that have ended some time
before it was issued, and covers other lists all the same. When they ended the entries say and when it was issued the
list says: all members come to the same result, whatever their clocks.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, final

from beemesh_node.crypto import SUITE, SigningKey
from beemesh_node.protocol.certificate import HASH_SIZE, MAX_CERTIFICATE, Certificate, fingerprint_of
from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.errors import MalformedError, OversizeError, ProtocolError
from beemesh_node.protocol.ids import MachineId, MeshId
from beemesh_node.protocol.objects import open_object, sign_object

if TYPE_CHECKING:
    from beemesh_node.protocol.trust import TrustStore

REVOCATION_KIND: Final = "revocations"
REVOKE_VERB: Final = "revoke"
"""What an operator needs, in every namespace: it takes members away, also other operators."""
MAX_ENTRIES: Final = 2048
MAX_LIST: Final = 512 * 1024
"""Bytes of a signed list at most: 2048 entries with names and reasons of common length."""
KEPT_AFTER_END_MS: Final = 30 * 86_400_000
"""So long an entry stays after its certificate has ended: for machines whose clock is behind."""
MAX_NAME: Final = 253
MAX_REASON: Final = 200
MAX_OF_ONE_SIGNER: Final = 4
"""Lists of one signer that are kept beside each other: made at the same time in parts of the mesh that were cut off."""
MAX_LISTS: Final = 16
MAX_LISTS_SIZE: Final = 2 * 1024 * 1024
"""Bytes of all lists together at most: they travel in one message."""
MAX_BAD: Final = 3
"""Bad lists of one member that are looked at; the rest of what it shows is left."""
FIRST_EPOCH: Final = 1
"""The epoch of a mesh in which nobody was ever revoked; there is no list for it."""
MAX_NUMBER: Final = 1 << 48

_LENGTH: Final = struct.Struct(">I")


class RevocationError(ProtocolError):
    """A list that is genuine, but not to be taken: its signer may not, or too many lists are kept already."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """One member, or one certificate, that is believed no more. Raises ValueError for what no list may say."""

    machine_id: MachineId
    """Of a machine or operator; empty if only a serial is known."""
    serial: int
    """Of the one certificate that is revoked; 0: every certificate of the member, future ones too."""
    name: str
    """For people."""
    revoked_at: int
    """Milliseconds of mesh time, as the signer told it."""
    reason: str
    not_after: int = 0
    """When the certificate of a machine ends that `serial` names, ms; 0: not known, or the entry must stay for good.

    It must for members, and for operators' certificates: what these signed is believed also after their end.
    """

    def __post_init__(self) -> None:
        if not self.machine_id and not self.serial:
            raise ValueError("a revocation names a member or a serial")
        if self.not_after and not self.serial:
            raise ValueError("only the revocation of one certificate can come to an end")
        if len(self.machine_id) > HASH_SIZE or len(self.name) > MAX_NAME or len(self.reason) > MAX_REASON:
            raise ValueError(f"an id has 32 characters, a name at most {MAX_NAME}, a reason {MAX_REASON}")
        if not (self.name.isprintable() and self.reason.isprintable()):
            raise ValueError("name and reason must be printable")

    @property
    def key(self) -> tuple[MachineId, int]:
        """What is revoked: two entries with one key say the same."""
        return self.machine_id, self.serial

    @property
    def end(self) -> float:
        """`not_after`, infinite for an entry that stays."""
        return self.not_after or math.inf

    def over(self, issued_at: int) -> bool:
        """Whether a root's list that is issued then leaves it out."""
        return self.end + KEPT_AFTER_END_MS <= issued_at


@dataclass(frozen=True, slots=True)
class RevocationList:
    """The content of a list. Raises ValueError for what none may say."""

    suite: int
    mesh_id: MeshId
    issuer: bytes
    """The id of the root that signed it, or the fingerprint of the operator's certificate."""
    number: int
    """Of the list and its epoch; the first list has 2."""
    entries: tuple[Revocation, ...]
    epoch: bytes
    """`encryption.epoch_id` of the epoch's secret: 32 random bytes drawn for this list alone."""
    issued_at: int

    def __post_init__(self) -> None:
        if self.suite != SUITE:
            raise ValueError(f"suite {self.suite} is not known here")
        if {len(self.mesh_id), len(self.issuer), len(self.epoch)} != {HASH_SIZE}:
            raise ValueError(f"the ids of mesh, signer and epoch have {HASH_SIZE} bytes")
        if not FIRST_EPOCH < self.number < MAX_NUMBER:
            raise ValueError(f"list {self.number}: the first one has {FIRST_EPOCH + 1}")
        if len(self.entries) > MAX_ENTRIES:
            raise ValueError(f"{len(self.entries)} entries: at most {MAX_ENTRIES} are allowed")
        if len({entry.key for entry in self.entries}) < len(self.entries):
            raise ValueError("it names somebody twice")


@final
@dataclass(frozen=True, slots=True)
class SignedList:
    """A list whose signature has been checked, with its exact bytes."""

    raw: bytes = field(repr=False)
    content: RevocationList
    signer: Certificate | None
    """The operator that signed it; None for a root."""

    @property
    def rank(self) -> tuple[int, bytes]:
        """Of several lists the one with the greatest rank names the epoch."""
        return self.content.number, self.content.epoch

    @property
    def keys(self) -> frozenset[tuple[MachineId, int]]:
        """What it revokes."""
        return frozenset(entry.key for entry in self.content.entries)

    @property
    def author(self) -> str:
        """The member that signed it; empty for any root."""
        return "" if self.signer is None else self.signer.machine_id

    def covers(self, other: SignedList) -> bool:
        """Whether `other` says nothing any more beside this one. An operator covers its own lists only.

        A root's need not repeat what was over when it was issued. It covers no list of a root that was issued after it:
        else what is covered would depend on the order in which lists arrive.
        """
        issued_at = self.content.issued_at if self.signer is None else 0
        if self.signer is not None and self.author != other.author:
            return False
        if self.signer is None and other.signer is None and other.content.issued_at > issued_at:
            return False
        greater = (self.rank, len(self.keys), self.raw) > (other.rank, len(other.keys), other.raw)
        if not greater or self.rank < other.rank:
            return False
        ends = {entry.key: entry.end for entry in self.content.entries}
        return all(ends.get(entry.key, 0) >= entry.end for entry in other.content.entries if not entry.over(issued_at))


class _Keys:
    """Finds certificates among what is revoked."""

    def __init__(self, keys: Iterable[tuple[MachineId, int]]) -> None:
        given = set(keys)
        self._members = {machine for machine, serial in given if not serial}
        self._serials = {serial for _, serial in given if serial}

    def names(self, certificate: Certificate) -> bool:
        return certificate.machine_id in self._members or certificate.serial in self._serials


def _ousting(entries: Iterable[Revocation]) -> Iterator[tuple[MachineId, int]]:
    # One that comes to an end is of a machine. If it could make a list void, that would depend on who still holds it.
    return (entry.key for entry in entries if not entry.not_after)


@final
class Revocations:
    """The lists that count, merged. Immutable: `merged` gives the next state."""

    def __init__(self, lists: Iterable[SignedList] = ()) -> None:
        """Take the union of lists, without those that others cover or that are void."""
        unique = {each.raw: each for each in lists}.values()
        ousted = _Keys(_ousting(e for each in unique if each.signer is None for e in each.content.entries))
        valid = [each for each in unique if each.signer is None or not ousted.names(each.signer)]
        kept = [each for each in valid if not any(other.covers(each) for other in valid)]
        self.lists: Final = tuple(sorted(kept, key=lambda each: (each.rank, each.raw)))
        self._keys = _Keys(entry.key for each in self.lists for entry in each.content.entries)

    @property
    def top(self) -> SignedList | None:
        """The list that names the epoch; None while there is none."""
        return self.lists[-1] if self.lists else None

    @property
    def number(self) -> int:
        """Of the present epoch."""
        return FIRST_EPOCH if self.top is None else self.top.content.number

    @property
    def entries(self) -> tuple[Revocation, ...]:
        """All that is revoked, the earliest word on each, in the order of time."""
        return _earliest(self.lists)

    def outlasting(self, added: Iterable[Revocation]) -> tuple[Revocation, ...]:
        """Those entries that stay in force once a root revokes also what is `added`.

        What only those have revoked who are ousted by it does not: a root that took it into its own list would make it
        its own word, and what a thief said of others would hold for good.
        """
        said = (entry for each in self.lists if each.signer is None for entry in each.content.entries)
        ousted = _Keys(_ousting((*said, *added)))
        return _earliest(each for each in self.lists if each.signer is None or not ousted.names(each.signer))

    def said_by(self, author: MachineId | None) -> tuple[Revocation, ...]:
        """Those entries that stand in lists of roots or of this operator: no other operator's fall makes them void."""
        return _earliest(each for each in self.lists if each.signer is None or each.author == author)

    @property
    def digest(self) -> bytes:
        """The same for two members that hold the same lists."""
        digests = sorted(hashlib.sha256(each.raw).digest() for each in self.lists)
        return hashlib.sha256(b"".join(digests)).digest()

    def revokes(self, certificate: Certificate) -> bool:
        """Whether this certificate is believed no more."""
        return self._keys.names(certificate)

    def merged(self, lists: Iterable[SignedList]) -> Revocations:
        """Return the union with these lists.

        Raises:
            RevocationError: more lists would have to be kept than may be.
        """
        union = Revocations((*self.lists, *lists))
        crowded = Counter(each.author for each in union.lists)
        size = sum(len(each.raw) for each in union.lists)
        too_many = len(union.lists) > MAX_LISTS or any(count > MAX_OF_ONE_SIGNER for count in crowded.values())
        if too_many or size > MAX_LISTS_SIZE:
            raise RevocationError(
                f"{len(union.lists)} revocation lists of {size} bytes that do not cover each other: `beectl mesh "
                "rotate-epoch` where the root is makes one of them"
            )
        return union

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Revocations) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


NONE: Final = Revocations()
"""Nobody is revoked, and the epoch is the first one."""


def sign_list(content: RevocationList, key: SigningKey, certificate: bytes = b"") -> bytes:
    """Sign a list: with a root's key, or with an operator's and its `certificate`."""
    return _LENGTH.pack(len(certificate)) + certificate + sign_object(REVOCATION_KIND, encode(content), key)


def open_list(raw: bytes, trust: TrustStore) -> SignedList:
    """Check and read a list. As a record, it may be by a root that was retired since, or by an operator under one.

    Raises:
        OversizeError, MalformedError: it is none.
        ForeignMeshError, UnknownRootError, BadSignatureError: of another mesh, or not signed by one who is believed.
        RevocationError: its signer may not revoke.
    """
    if len(raw) > MAX_LIST:
        raise OversizeError(f"{REVOCATION_KIND}: {len(raw)} bytes, at most {MAX_LIST} are allowed")
    if len(raw) < _LENGTH.size:
        raise MalformedError(f"{REVOCATION_KIND}: {len(raw)} bytes are too few")
    (size,) = _LENGTH.unpack_from(raw)
    certificate, signed = raw[_LENGTH.size : _LENGTH.size + size], raw[_LENGTH.size + size :]
    if not size:
        content = trust.open_signed(REVOCATION_KIND, RevocationList, signed, MAX_LIST, trust.past_roots)
        return SignedList(raw, content, None)
    if size > MAX_CERTIFICATE or len(certificate) < size:
        raise MalformedError(f"{REVOCATION_KIND}: cut short inside its signer's certificate")
    signer = trust.verify_past(certificate)
    content = decode(RevocationList, open_object(REVOCATION_KIND, signed, signer.public_key, MAX_LIST))
    if content.mesh_id != trust.mesh_id or content.issuer != fingerprint_of(certificate):
        raise MalformedError(f"{REVOCATION_KIND}: of another mesh or signer than its certificate says")
    if not signer.allows(REVOKE_VERB, None):
        raise RevocationError(
            f"{REVOCATION_KIND}: {signer.name} may not revoke; that takes a root, or the verb {REVOKE_VERB} everywhere"
        )
    return SignedList(raw, content, signer)


def sift(
    raws: Iterable[bytes], trust: TrustStore, known: Revocations = NONE
) -> tuple[list[SignedList], list[ProtocolError]]:
    """Check those of `raws` that are not among the `known`: return the genuine ones, and why others are not.

    After `MAX_BAD` that are not, the rest is left.
    """
    held = {each.raw for each in known.lists}
    genuine, errors = [], []
    for raw in dict.fromkeys(raws):
        if raw not in held:
            try:
                genuine.append(open_list(raw, trust))
            except ProtocolError as error:
                errors.append(error)
                if len(errors) == MAX_BAD:
                    break
    return genuine, errors


def _earliest(lists: Iterable[SignedList]) -> tuple[Revocation, ...]:
    """The earliest word on each, to stay as long as the one that stays longest."""
    first: dict[tuple[MachineId, int], Revocation] = {}
    for entry in sorted((e for each in lists for e in each.content.entries), key=_by_time):
        known = first.setdefault(entry.key, entry)
        if entry.end > known.end:
            first[entry.key] = replace(known, not_after=entry.not_after)
    return tuple(first.values())


def _by_time(entry: Revocation) -> tuple[int, MachineId, int, str, str]:
    return entry.revoked_at, entry.machine_id, entry.serial, entry.name, entry.reason
