"""A mesh for tests: a root and members with real keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from beemesh_node.crypto import KemKey, generate_kem_key
from beemesh_node.crypto.identity import Identity
from beemesh_node.protocol.certificate import Certificate, fingerprint_of
from beemesh_node.protocol.ids import Fingerprint, PeerId
from beemesh_node.protocol.request import SigningRequest, new_nonce, sign_request, verify_request
from beemesh_node.protocol.root import MachineProfile, MeshRoot, OperatorProfile, Profile
from beemesh_node.protocol.session import LocalSession, new_session_id, start_session
from beemesh_node.protocol.trust import TrustStore

NOW = 1_800_000_000_000
"""A day in January 2027, in ms of mesh time."""
HOUR = 3_600_000
DAY = 24 * HOUR
MACHINE = MachineProfile("pi-kitchen", {"region": "eu-north", "example.com/class": "iot"}, guardian=False)
OPERATOR = OperatorProfile("alice", ("default", "shop-1"), ("get", "apply"))


@dataclass
class Member:
    """A member with its keys and certificate."""

    identity: Identity
    kem_key: KemKey
    certificate_bytes: bytes
    certificate: Certificate

    @property
    def fingerprint(self) -> Fingerprint:
        return fingerprint_of(self.certificate_bytes)

    @property
    def peer_id(self) -> PeerId:
        return PeerId(self.identity.peer.peer_id)

    def session(self, now_ms: int = NOW) -> LocalSession:
        return start_session(
            self.identity.signing, self.kem_key, self.certificate, self.certificate_bytes, new_session_id(), now_ms
        )


@dataclass
class Mesh:
    """A mesh with one root and its trust bundle."""

    root: MeshRoot = field(default_factory=MeshRoot.create)

    def __post_init__(self) -> None:
        self.bundle = self.root.sign_bundle(1, NOW)

    def trust(self, *later: bytes) -> TrustStore:
        return TrustStore(self.root.mesh_id, [self.bundle, *later])

    def request(self, identity: Identity, kem_key: KemKey) -> SigningRequest:
        nonce = new_nonce()
        signed = sign_request(identity, kem_key.public_key, self.root.mesh_id, nonce)
        return verify_request(signed, self.root.mesh_id, nonce)

    def member(self, profile: Profile = MACHINE, now_ms: int = NOW, root: MeshRoot | None = None) -> Member:
        identity, kem_key = Identity.generate(), generate_kem_key()
        signer = self.root if root is None else root
        certificate = signer.issue(self.request(identity, kem_key), profile, now_ms)
        trust = TrustStore(self.root.mesh_id, [self.bundle])
        if root is not None:
            trust.adopt(self.root.sign_bundle(2, NOW, [self.root.key.public_key, root.key.public_key]))
        return Member(identity, kem_key, certificate, trust.verify_chain(certificate))
