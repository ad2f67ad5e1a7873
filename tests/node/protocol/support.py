"""A small real mesh for the tests of messages: a root, a receiver, and members with certificates and keys."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import pytest

from beemesh_node.crypto import KemKey, generate_kem_key
from beemesh_node.crypto.identity import Identity
from beemesh_node.protocol.batch import Unsigned, sign
from beemesh_node.protocol.certificate import Certificate, Role, fingerprint_of
from beemesh_node.protocol.counters import Refusal, RefusalCounters, Refused
from beemesh_node.protocol.encryption import epoch_id, seal_to_epoch, seal_to_member
from beemesh_node.protocol.header import NO_SESSION, AudienceKind, Header
from beemesh_node.protocol.ids import Fingerprint, SessionId
from beemesh_node.protocol.messages import BlockRequest, Leaving, Presence
from beemesh_node.protocol.opener import Opened, Opener
from beemesh_node.protocol.request import new_nonce, sign_request, verify_request
from beemesh_node.protocol.root import MachineProfile, MeshRoot, OperatorProfile
from beemesh_node.protocol.sealer import Recipient, Sealer
from beemesh_node.protocol.trust import TrustStore

NOW = 1_800_000_000_000
STARTED = NOW - 3_600_000
SESSION = SessionId(b"session of today")
EPOCH = b"e" * 32


@dataclass(frozen=True)
class Peer:
    """A member with everything it needs to send."""

    identity: Identity
    certificate: Certificate
    certificate_bytes: bytes

    @property
    def fingerprint(self) -> Fingerprint:
        return fingerprint_of(self.certificate_bytes)

    @property
    def sealer(self) -> Sealer:
        return Sealer(self.certificate.mesh_id, self.fingerprint, self.identity.signing)


@cache
def root(name: str) -> MeshRoot:
    """The root of the mesh that the tests call `name`."""
    return MeshRoot.create()


@cache
def peer(name: str, role: Role = Role.MACHINE, mesh: str = "mesh", issued_at: int = NOW) -> Peer:
    identity = Identity.generate()
    nonce = new_nonce()
    signed = sign_request(identity, generate_kem_key().public_key, root(mesh).mesh_id, nonce)
    request = verify_request(signed, root(mesh).mesh_id, nonce)
    profile = MachineProfile(name) if role is Role.MACHINE else OperatorProfile(name, ("*",), ("*",))
    certificate = root(mesh).issue(request, profile, issued_at, lifetime_ms=86_400_000)
    trust = TrustStore(root(mesh).mesh_id, [root(mesh).sign_bundle(1, NOW)])
    return Peer(identity, trust.verify_chain(certificate), certificate)


@dataclass
class Receiver:
    """A member that receives: implements Directory and OwnKeys."""

    me: Peer = field(default_factory=lambda: peer("receiver"))
    keys: list[KemKey] = field(default_factory=lambda: [generate_kem_key()])
    epochs: dict[bytes, bytes] = field(default_factory=lambda: {epoch_id(EPOCH): EPOCH})
    known: dict[Fingerprint, Certificate] = field(default_factory=dict)
    revoked: set[Fingerprint] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.counters = RefusalCounters()
        self.opener = Opener(root("mesh").mesh_id, SESSION, STARTED, self, self, self.counters)
        self.knows(peer("friend"))

    def certificate(self, fingerprint: Fingerprint) -> Certificate | None:
        return self.known.get(fingerprint)

    def is_revoked(self, fingerprint: Fingerprint) -> bool:
        return fingerprint in self.revoked

    def is_own(self, fingerprint: Fingerprint) -> bool:
        return fingerprint == self.me.fingerprint

    def kem_keys(self) -> Sequence[KemKey]:
        return self.keys

    def epoch_secret(self, epoch: bytes) -> bytes | None:
        return self.epochs.get(epoch)

    def knows(self, who: Peer) -> None:
        self.known[who.fingerprint] = who.certificate

    @property
    def recipient(self) -> Recipient:
        return Recipient(self.me.fingerprint, SESSION, self.keys[0].public_key)

    def open(self, data: bytes, now: int = NOW) -> Opened:
        return self.opener.open(data, now)

    def refuses(self, data: bytes, reason: Refusal, now: int = NOW) -> Refused:
        """The message is refused for this reason, which alone is counted, once; and the next message is served."""
        before = dict(self.counters.snapshot())
        with pytest.raises(Refused) as refused:
            self.open(data, now)
        assert refused.value.reason is reason
        assert self.counters.snapshot() == {**before, reason.value: before.get(reason.value, 0) + 1}
        self.serves()
        return refused.value

    def serves(self) -> None:
        """Both kinds of messages of a friend still get through."""
        friend = peer("friend")
        direct = friend.sealer.direct(BlockRequest("cid"), self.recipient, NOW)
        assert self.open(friend.sealer.sign(direct)).payload == BlockRequest("cid")
        broadcast = friend.sealer.broadcast(Leaving(True), EPOCH, NOW)
        assert self.open(friend.sealer.sign(broadcast)).payload == Leaving(True)


def direct(sender: Peer, receiver: Receiver, payload: object, now: int = NOW) -> bytes:
    return sender.sealer.sign(sender.sealer.direct(payload, receiver.recipient, now))


def broadcast(sender: Peer, payload: object, now: int = NOW) -> bytes:
    return sender.sealer.sign(sender.sealer.broadcast(payload, EPOCH, now))


def handmade(sender: Peer, receiver: Receiver, plaintext: bytes, kind: AudienceKind, payload_type: int) -> bytes:
    """A message that our own sealer would not make, but correctly sealed and signed."""
    to_member = kind is AudienceKind.MEMBER
    overhead = 1136 if to_member else 16
    header = Header(
        payload_type,
        sender.certificate.mesh_id,
        sender.fingerprint,
        kind,
        receiver.me.fingerprint if to_member else epoch_id(EPOCH),
        SESSION if to_member else NO_SESSION,
        NOW,
        new_nonce()[:16],
        len(plaintext) + overhead,
    )
    packed = header.pack()
    if to_member:
        ciphertext = seal_to_member(receiver.recipient.kem_public, plaintext, packed)
    else:
        ciphertext = seal_to_epoch(EPOCH, plaintext, packed)
    return sign(Unsigned(header, packed + ciphertext), sender.identity.signing)


def resigned(thief: Peer, header: Header, ciphertext: bytes) -> bytes:
    """What a thief makes of somebody else's ciphertext: a header of its own, and its own good signature."""
    stolen = replace(header, sender=thief.fingerprint, ciphertext_size=len(ciphertext))
    return sign(Unsigned(stolen, stolen.pack() + ciphertext), thief.identity.signing)


def presence(reason: str) -> Presence:
    """A presence with a sentence in it."""
    hardware = (4000, 2**33, 0, 0, (), 0, "amd64", "linux", "6.1", "4.3.1", "0.1.0")
    return Presence(b"", (), {}, (), False, *hardware, STARTED, 1, 1000, False, reason)
