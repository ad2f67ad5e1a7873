"""How a machine becomes a member: it makes its keys, asks for a certificate, and takes the bundle that answers.

What stands in the state directory, each file 0600 and written whole or not at all:

    machine.key        ML-DSA-65 and Ed25519 key, made here, never leaving
    pending.request    the request that waits for an answer, with
    pending.kem        the key to which the answer is sealed; both are gone once it was taken
    machine.cert       the certificate; it is written last and so says that the rest is there
    trust.bundle       the roots that are believed, as `TrustStore.dump` gives them
    network.key        the private network's key, hex
    revocations.list   the revocation lists at the time of joining
    membership.json    mesh id, first addresses, the epoch at the time of joining, and which bundle it came from

A machine that is to have other keys makes them beside the present ones, which stay in use until the certificate comes:

    machine.key.next   the keys for which the pending request asks
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beemesh_node.crypto import SEAL_OVERHEAD, CryptoError, generate_kem_key
from beemesh_node.crypto.armour import KeyKind
from beemesh_node.crypto.errors import KeyNotFoundError
from beemesh_node.crypto.files import read_private, remove_private, write_private
from beemesh_node.crypto.identity import PEER_SIGNATURE_SIZE, Identity
from beemesh_node.crypto.keystore import load_identity, load_kem_key, save_identity, save_kem_key
from beemesh_node.protocol.certificate import MAX_CERTIFICATE, Certificate
from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MeshId
from beemesh_node.protocol.join import MAX_JOIN, JoinBundle, Joined, open_join
from beemesh_node.protocol.objects import peek_unverified
from beemesh_node.protocol.request import MAX_REQUEST, REQUEST_KIND, SigningRequest, sign_request, verify_request
from beemesh_node.protocol.revocation import MAX_LISTS_SIZE
from beemesh_node.protocol.trust import MAX_CHAIN_SIZE, TrustChain, TrustStore

KEY, CERTIFICATE, TRUST = "machine.key", "machine.cert", "trust.bundle"
NETWORK_KEY, MEMBERSHIP, REVOCATIONS = "network.key", "membership.json", "revocations.list"
NEXT_KEY = "machine.key.next"
PENDING_REQUEST, PENDING_KEM = "pending.request", "pending.kem"
_MAX_MEMBERSHIP = 256 * 1024


class EnrolmentError(Exception):
    """The machine cannot make the step asked for; the message says which one comes first."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The machine's keys, as far as others may know them."""

    changed: bool
    peer_id: str
    fingerprint: str
    """SHA-256 of the ML-DSA-65 public key, hex."""


@dataclass(frozen=True, slots=True)
class Request:
    """A signing request that was written."""

    changed: bool
    peer_id: str


@dataclass(frozen=True, slots=True)
class Membership:
    """All that a member starts with."""

    identity: Identity
    certificate: Certificate
    certificate_bytes: bytes = field(repr=False)
    trust: TrustStore
    network_key: bytes = field(repr=False)
    bootstrap: tuple[str, ...]
    """Multiaddrs, each with a peer id, of members to meet first."""
    epoch: int
    epoch_secret: bytes = field(repr=False)
    """Of the epoch in which it joined; the daemon's store knows later ones."""
    revocations: tuple[bytes, ...] = field(default=(), repr=False)
    """The lists known where it was signed; the daemon's store knows later ones."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The outcome of taking a bundle."""

    changed: bool
    machine_id: str
    name: str
    mesh_id: str
    not_after: int
    """Milliseconds since the Unix epoch."""


def generate_keys(state: Path, *, renew: bool = False) -> Keys:
    """Make the machine's keys, unless it has them. Raises `KeyStoreError`.

    `renew`: make other keys beside those of a member, unless that was done already; `take_bundle` puts them in place.
    """
    path = state / (NEXT_KEY if renew and (state / CERTIFICATE).exists() else KEY)
    try:
        identity, changed = load_identity(path, KeyKind.MACHINE), False
    except KeyNotFoundError:
        identity, changed = Identity.generate(), True
        save_identity(path, KeyKind.MACHINE, identity)
    return Keys(changed, identity.peer.peer_id, hashlib.sha256(identity.signing.public_key).hexdigest())


def make_request(state: Path, mesh_id: bytes, nonce: bytes, out: Path) -> Request:
    """Write a request for a certificate of the mesh to `out`; the same request, if it was made before.

    Raises `EnrolmentError` for a machine without keys, or of another mesh; `CryptoError` for what cannot be written.
    """
    identity = _asking(state)
    _check_other_mesh(state, mesh_id)
    known = _pending(state, identity, MeshId(mesh_id), nonce)
    if known is None:
        kem_key = generate_kem_key()
        save_kem_key(state / PENDING_KEM, kem_key, replace=True)
        known = sign_request(identity, kem_key.public_key, MeshId(mesh_id), nonce)
        write_private(state / PENDING_REQUEST, known, replace=True)
    try:
        changed = not out.exists() or out.read_bytes() != known
        if changed:
            out.write_bytes(known)
    except OSError as error:
        raise EnrolmentError(
            f"{out}: cannot be written: {error.strerror}; choose another --out, such as {state / 'request'}"
        ) from None
    return Request(changed, identity.peer.peer_id)


def take_bundle(state: Path, path: Path) -> Enrolled:
    """Become the member that the join bundle at `path` says, for ever or until the next bundle.

    Raises `EnrolmentError` when there is nothing that it answers; `CryptoError` and `ProtocolError` when it cannot be
    opened or believed. Then nothing has changed.
    """
    return take_sealed(state, read_bundle(path))


def read_bundle(path: Path) -> bytes:
    """The join bundle in a file, sealed as it is. Raises `EnrolmentError`."""
    return _read(path, MAX_JOIN + SEAL_OVERHEAD)


def take_sealed(state: Path, sealed: bytes) -> Enrolled:
    """As `take_bundle`, of a bundle that was read already."""
    digest = hashlib.sha256(sealed).hexdigest()
    if (state / CERTIFICATE).exists() and _facts(state).get("bundle") == digest:
        return _enrolled(load_membership(state).certificate, changed=False)
    identity = _asking(state)
    try:
        request = read_private(state / PENDING_REQUEST, MAX_REQUEST)
        kem_key = load_kem_key(state / PENDING_KEM)
    except KeyNotFoundError:
        raise EnrolmentError(
            f"{state}: no request waits for an answer: make one with `beemeshd keys request` and have that signed"
        ) from None
    mesh_id = _mesh_of(request)
    _check_other_mesh(state, mesh_id)
    joined = open_join(sealed, kem_key, identity, mesh_id, request)
    _keep(state, joined, digest)
    remove_private(state / PENDING_REQUEST)
    remove_private(state / PENDING_KEM)
    return _enrolled(joined.certificate, changed=True)


def save_trust(state: Path, trust: TrustStore) -> None:
    """Keep the roots that are believed now; a hello may have brought newer ones. Raises `CryptoError`."""
    write_private(state / TRUST, trust.dump(), replace=True)


def save_certificate(state: Path, certificate: bytes) -> None:
    """Keep a renewed certificate. Raises `CryptoError`."""
    write_private(state / CERTIFICATE, certificate, replace=True)


def load_membership(state: Path) -> Membership:
    """What this machine is a member of. Raises `EnrolmentError` before it joined, and for damaged files."""
    if not (state / CERTIFICATE).exists():
        raise EnrolmentError(
            f"{state}: this machine belongs to no mesh yet: `beemeshd keys generate`, `beemeshd keys request`, then "
            "`beectl cert sign` where the root is, then `beemeshd join`"
        )
    facts = _facts(state)
    raw = read_private(state / CERTIFICATE, MAX_CERTIFICATE)
    identity = _identity(state)
    try:
        trust = TrustStore.load(MeshId(bytes.fromhex(facts["mesh_id"])), read_private(state / TRUST, MAX_CHAIN_SIZE))
        certificate = trust.verify_past(raw)
        if certificate.public_key != identity.signing.public_key:
            _put_next_key_in_place(state, certificate)
            identity = _identity(state)
        if (certificate.public_key, certificate.peer_id) != (identity.signing.public_key, identity.peer.peer_id):
            raise EnrolmentError(
                f"{state}: {CERTIFICATE} is for other keys than those in {KEY}: bring back the keys it was made for, "
                "or empty the directory and join this machine anew"
            )
        return Membership(
            identity=identity,
            certificate=certificate,
            certificate_bytes=raw,
            trust=trust,
            network_key=bytes.fromhex(read_private(state / NETWORK_KEY, 256).decode("ascii").strip()),
            bootstrap=tuple(facts["bootstrap"]),
            epoch=int(facts["epoch"]),
            epoch_secret=bytes.fromhex(facts["epoch_secret"]),
            revocations=_revocations(state),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EnrolmentError(
            f"{state}: {MEMBERSHIP} or {NETWORK_KEY} is damaged ({error}); join this machine anew"
        ) from None


def _keep(state: Path, joined: Joined, digest: str) -> None:
    bundle: JoinBundle = joined.bundle
    facts = {
        "mesh_id": bundle.mesh_id.hex(),
        "bootstrap": list(bundle.bootstrap),
        "epoch": bundle.epoch,
        "epoch_secret": bundle.epoch_secret.hex(),
        "bundle": digest,
    }
    save_trust(state, joined.trust)
    write_private(state / REVOCATIONS, encode(TrustChain(bundle.revocations)), replace=True)
    write_private(state / NETWORK_KEY, bundle.network_key.hex().encode() + b"\n", replace=True)
    write_private(state / MEMBERSHIP, json.dumps(facts, indent=2).encode() + b"\n", replace=True)
    write_private(state / CERTIFICATE, bundle.certificate, replace=True)
    _put_next_key_in_place(state, joined.certificate)


def _put_next_key_in_place(state: Path, certificate: Certificate) -> None:
    """Have the keys of the certificate be the machine's; also after a power loss just after it was written."""
    try:
        following = load_identity(state / NEXT_KEY, KeyKind.MACHINE)
    except KeyNotFoundError:
        return
    if following.signing.public_key == certificate.public_key:
        save_identity(state / KEY, KeyKind.MACHINE, following, replace=True)
        remove_private(state / NEXT_KEY)


def _revocations(state: Path) -> tuple[bytes, ...]:
    try:
        return decode(TrustChain, read_private(state / REVOCATIONS, MAX_LISTS_SIZE)).bundles
    except KeyNotFoundError:
        return ()


def _enrolled(certificate: Certificate, *, changed: bool) -> Enrolled:
    mesh = certificate.mesh_id.hex()
    return Enrolled(changed, certificate.machine_id, certificate.name, mesh, certificate.not_after)


def _asking(state: Path) -> Identity:
    """The keys for which a certificate is to be had: those that are to follow, if there are any."""
    try:
        return load_identity(state / NEXT_KEY, KeyKind.MACHINE)
    except KeyNotFoundError:
        return _identity(state)


def _identity(state: Path) -> Identity:
    try:
        return load_identity(state / KEY, KeyKind.MACHINE)
    except KeyNotFoundError:
        raise EnrolmentError(f"{state}: this machine has no keys yet: run `beemeshd keys generate` first") from None


def _pending(state: Path, identity: Identity, mesh_id: MeshId, nonce: bytes) -> bytes | None:
    """The request that was made for these keys, this mesh and nonce and is still open, or None."""
    try:
        request = read_private(state / PENDING_REQUEST, MAX_REQUEST)
        opened = verify_request(request, mesh_id, nonce)
        kem_key = load_kem_key(state / PENDING_KEM)
    except (ProtocolError, CryptoError):
        return None
    ours = (kem_key.public_key, identity.signing.public_key) == (opened.kem_public_key, opened.public_key)
    return request if ours else None


def _check_other_mesh(state: Path, mesh_id: bytes) -> None:
    if (state / CERTIFICATE).exists() and _facts(state).get("mesh_id") != mesh_id.hex():
        raise EnrolmentError(
            f"{state}: this machine belongs to another mesh: stop beemeshd and empty the directory to make it "
            "a new machine"
        )


def _facts(state: Path) -> dict[str, Any]:
    try:
        facts = json.loads(read_private(state / MEMBERSHIP, _MAX_MEMBERSHIP))
    except (KeyNotFoundError, ValueError):
        facts = None
    if not isinstance(facts, dict):
        raise EnrolmentError(f"{state / MEMBERSHIP}: missing or damaged; join this machine anew")
    return facts


def _mesh_of(request: bytes) -> MeshId:
    """The mesh that our own request, as it lies in our directory, asked for."""
    return decode(SigningRequest, peek_unverified(REQUEST_KIND, request[:-PEER_SIGNATURE_SIZE], MAX_REQUEST)).mesh_id


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise EnrolmentError(f"{path}: {error.strerror}; name the file that `beectl cert sign` wrote") from None
