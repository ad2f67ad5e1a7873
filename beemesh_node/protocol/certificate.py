"""What a mesh root says about a member: its id, its keys, its role, and for how long.

A certificate is a signed object of kind `certificate` (about 7 KB); `trust.TrustStore` tells whether one is believed.
Here stands only what it says, and which contents no root may sign.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from beemesh_node.crypto import SIGNING_PUBLIC_SIZE, SUITE, InvalidKeyError
from beemesh_node.crypto.identity import public_of_peer_id
from beemesh_node.protocol.ids import Fingerprint, MachineId, MeshId, PeerId

CERTIFICATE_KIND: Final = "certificate"
MAX_CERTIFICATE: Final = 16 * 1024
"""Bytes of a certificate object at most."""
HASH_SIZE: Final = 32
ANY: Final = "*"
"""As a namespace or a verb: every one."""

_MAX_LABELS: Final = 64
_MAX_GRANTS: Final = 64
_MAX_NAME: Final = 253
_MACHINE_ID: Final = re.compile(r"[0-9a-f]{32}")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_VERB: Final = re.compile(r"[a-z]{1,32}")
_LABEL_KEY: Final = re.compile(r"([a-z0-9][-a-z0-9.]{0,252}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


class Role(IntEnum):
    """What a member is: the same numbers as `messages.Sender`."""

    UNSPECIFIED = 0
    """What an absent field means; no certificate may have it."""
    MACHINE = 1
    OPERATOR = 2


@dataclass(frozen=True, slots=True)
class Certificate:
    """The content of a certificate. Raises ValueError for content that no certificate may have."""

    suite: int
    mesh_id: MeshId
    issuer: bytes
    """SHA-256 of the public key of the root that signed it."""
    serial: int
    """Random, drawn for each certificate; for people and ledgers."""
    machine_id: MachineId
    """Chosen by the signer and kept across renewals; an operator has one of the same form."""
    peer_id: PeerId
    public_key: bytes
    """ML-DSA-65."""
    role: Role
    name: str
    """What people see: the host name of a machine, the name of an operator. Not unique, and proves nothing."""
    labels: Mapping[str, str]
    """Labels of a machine that others must believe, such as region and class."""
    guardian: bool
    """This machine may be guardian of workloads. If no member has the flag, all machines may."""
    namespaces: tuple[str, ...]
    """Where an operator may use its verbs; `*` is everywhere, and what belongs to no namespace."""
    verbs: tuple[str, ...]
    """What an operator may do there: get, apply, delete, logs, exec, admin …; `*` is everything."""
    not_before: int
    """Milliseconds of mesh time."""
    not_after: int
    """Milliseconds of mesh time, the first in which it is expired."""

    def __post_init__(self) -> None:
        _check_keys(self)
        if not (0 < len(self.name) <= _MAX_NAME and self.name.isprintable() and self.name == self.name.strip()):
            raise ValueError(f"the name must be 1 to {_MAX_NAME} printable characters")
        if not 0 <= self.not_before < self.not_after:
            raise ValueError("it ends before it begins")
        if self.role is Role.UNSPECIFIED:
            raise ValueError("it names no role")
        if self.role is Role.MACHINE:
            _check_labels(self.labels)
            if self.namespaces or self.verbs:
                raise ValueError("a machine has no namespaces and verbs")
        else:
            _check_grants(self.namespaces, self.verbs)
            if self.labels or self.guardian:
                raise ValueError("an operator has no labels and guards nothing")

    def allows(self, verb: str, namespace: str | None) -> bool:
        """Tell whether this is an operator that may use `verb` in `namespace` (None: on what belongs to none)."""
        if self.role is not Role.OPERATOR:
            return False
        return not {verb, ANY}.isdisjoint(self.verbs) and not {namespace, ANY}.isdisjoint(self.namespaces)

    @property
    def warn_from(self) -> int:
        """When to begin to warn that it will expire: in the last tenth of its life (ms of mesh time)."""
        return self.not_after - (self.not_after - self.not_before) // 10


def fingerprint_of(certificate: bytes) -> Fingerprint:
    """Return the fingerprint of a certificate object's exact bytes."""
    return Fingerprint(hashlib.sha256(certificate).digest())


def _check_keys(certificate: Certificate) -> None:
    if certificate.suite != SUITE:
        raise ValueError(f"suite {certificate.suite} is not known here")
    if len(certificate.mesh_id) != HASH_SIZE or len(certificate.issuer) != HASH_SIZE:
        raise ValueError(f"the ids of mesh and root have {HASH_SIZE} bytes")
    if not _MACHINE_ID.fullmatch(certificate.machine_id):
        raise ValueError("a machine id is 32 hex digits")
    if len(certificate.public_key) != SIGNING_PUBLIC_SIZE:
        raise ValueError(f"an ML-DSA-65 public key has {SIGNING_PUBLIC_SIZE} bytes")
    try:
        public_of_peer_id(certificate.peer_id)
    except InvalidKeyError as error:
        raise ValueError(str(error)) from None


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > _MAX_LABELS:
        raise ValueError(f"{len(labels)} labels: at most {_MAX_LABELS} are allowed")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise ValueError(f"{key[:80]!r}={value[:80]!r} is not a label as Kubernetes allows it")


def _check_grants(namespaces: tuple[str, ...], verbs: tuple[str, ...]) -> None:
    for what, pattern, given in (("namespace", _NAMESPACE, namespaces), ("verb", _VERB, verbs)):
        if not 0 < len(given) <= _MAX_GRANTS:
            raise ValueError(f"an operator has 1 to {_MAX_GRANTS} {what}s, not {len(given)}")
        for name in given:
            if name != ANY and not pattern.fullmatch(name):
                raise ValueError(f"{name[:80]!r} is not a {what}")
