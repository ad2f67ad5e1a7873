"""The root of a mesh at work: it issues certificates and trust bundles. Held by the operator, never by a machine."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from beemesh_node.crypto import SUITE, SigningKey, generate_signing_key
from beemesh_node.protocol.certificate import CERTIFICATE_KIND, Certificate, Role
from beemesh_node.protocol.codec import encode
from beemesh_node.protocol.ids import MachineId, MeshId, PeerId
from beemesh_node.protocol.objects import sign_object
from beemesh_node.protocol.request import SigningRequest
from beemesh_node.protocol.trust import BUNDLE_KIND, ForeignMeshError, TrustBundle, root_id

DAY_MS: Final = 24 * 3600 * 1000
MACHINE_LIFETIME_MS: Final = 3650 * DAY_MS
"""Ten years: a mesh must outlive its operator's holiday."""
OPERATOR_LIFETIME_MS: Final = 365 * DAY_MS
CLOCK_ALLOWANCE_MS: Final = 3600 * 1000
"""By how much a certificate begins before it is made, since clocks differ."""


@dataclass(frozen=True, slots=True)
class MachineProfile:
    """What the inventory says about a machine; the fields are the certificate's."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    guardian: bool = True


@dataclass(frozen=True, slots=True)
class OperatorProfile:
    """Who an operator is and what it may do; the fields are the certificate's."""

    name: str
    namespaces: tuple[str, ...]
    verbs: tuple[str, ...]


Profile = MachineProfile | OperatorProfile


@final
class MeshRoot:
    """A root key and the mesh it signs for."""

    def __init__(self, key: SigningKey, mesh_id: MeshId | None = None) -> None:
        """`mesh_id` must be given for every root but the first, whose own id it is."""
        self.key: Final = key
        self.root_id: Final = root_id(key.public_key)
        self.mesh_id: Final = MeshId(self.root_id) if mesh_id is None else mesh_id

    @classmethod
    def create(cls) -> MeshRoot:
        """Make the first root of a new mesh."""
        return cls(generate_signing_key())

    def sign_bundle(
        self, sequence: int, now_ms: int, roots: Sequence[bytes] = (), disowned: Sequence[bytes] = ()
    ) -> bytes:
        """Sign trust bundle `sequence` with the public keys `roots`, the preferred one first; by default this root's.

        `disowned` are the ids of roots that are not to be believed even for what they certified long ago.

        Raises:
            ValueError: what no bundle may say.
        """
        public_keys = tuple(roots) or (self.key.public_key,)
        body = TrustBundle(SUITE, self.mesh_id, self.root_id, sequence, public_keys, now_ms, tuple(disowned))
        return sign_object(BUNDLE_KIND, encode(body), self.key)

    def issue(
        self,
        request: SigningRequest,
        profile: Profile,
        now_ms: int,
        *,
        machine_id: MachineId | None = None,
        lifetime_ms: int | None = None,
        not_before_ms: int | None = None,
    ) -> bytes:
        """Sign a certificate for the keys of a verified request; all the rest comes from `profile`.

        `machine_id` keeps the id of a member that made new keys; otherwise a new one is drawn. The lifetime from
        `now_ms` on is ten years for a machine and one for an operator unless given; it begins an hour before `now_ms`,
        unless `not_before_ms` says otherwise.

        Raises:
            ForeignMeshError: the request is for another mesh.
            ValueError: what no certificate may say.
        """
        if request.mesh_id != self.mesh_id:
            raise ForeignMeshError(f"request: for mesh {request.mesh_id.hex()[:16]}, not {self.mesh_id.hex()[:16]}")
        chosen = MachineId(secrets.token_hex(16)) if machine_id is None else machine_id
        return self._sign(
            request.peer_id, request.public_key, chosen, profile, now_ms, lifetime_ms, not_before_ms=not_before_ms
        )

    def renew(
        self, old: Certificate, now_ms: int, *, profile: Profile | None = None, lifetime_ms: int | None = None
    ) -> bytes:
        """Sign a new certificate for the same member and keys, with another profile if one is given.

        Raises:
            ForeignMeshError: `old` is of another mesh.
            ValueError: what no certificate may say; also a profile of another role.
        """
        if old.mesh_id != self.mesh_id:
            raise ForeignMeshError(f"certificate of {old.name}: of mesh {old.mesh_id.hex()[:16]}, not of this root's")
        present = profile_of(old)
        chosen = present if profile is None else profile
        if type(chosen) is not type(present):
            raise ValueError(f"certificate of {old.name}: a renewal cannot change its role; issue a new certificate")
        return self._sign(old.peer_id, old.public_key, old.machine_id, chosen, now_ms, lifetime_ms)

    def _sign(
        self,
        peer_id: PeerId,
        public_key: bytes,
        machine_id: MachineId,
        profile: Profile,
        now_ms: int,
        lifetime_ms: int | None,
        *,
        not_before_ms: int | None = None,
    ) -> bytes:
        role, default = Role.MACHINE, MACHINE_LIFETIME_MS
        labels: Mapping[str, str] = {}
        guardian = False
        namespaces: tuple[str, ...] = ()
        verbs: tuple[str, ...] = ()
        if isinstance(profile, MachineProfile):
            labels, guardian = profile.labels, profile.guardian
        else:
            role, default = Role.OPERATOR, OPERATOR_LIFETIME_MS
            namespaces, verbs = profile.namespaces, profile.verbs
        certificate = Certificate(
            suite=SUITE,
            mesh_id=self.mesh_id,
            issuer=self.root_id,
            serial=secrets.randbits(63),
            machine_id=machine_id,
            peer_id=peer_id,
            public_key=public_key,
            role=role,
            name=profile.name,
            labels=labels,
            guardian=guardian,
            namespaces=namespaces,
            verbs=verbs,
            not_before=max(0, now_ms - CLOCK_ALLOWANCE_MS) if not_before_ms is None else not_before_ms,
            not_after=now_ms + (default if lifetime_ms is None else lifetime_ms),
        )
        return sign_object(CERTIFICATE_KIND, encode(certificate), self.key)


def profile_of(certificate: Certificate) -> Profile:
    """Return the profile with which a certificate was issued."""
    if certificate.role is Role.MACHINE:
        return MachineProfile(certificate.name, certificate.labels, certificate.guardian)
    return OperatorProfile(certificate.name, certificate.namespaces, certificate.verbs)
