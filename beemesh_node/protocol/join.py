"""What a newcomer gets back for its request: all that it needs to take part, readable by it alone.

    join bundle = HPKE seal to the request's KEM key of (object of kind `join`, signed by a root)

The seal is bound to the exact bytes of the request, so a bundle answers one request only; opening it proves possession
of the KEM key. There is no shared join token.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from beemesh_node.crypto import SEAL_OVERHEAD, DecryptionError, KemKey, seal
from beemesh_node.crypto.identity import Identity
from beemesh_node.protocol.certificate import HASH_SIZE, Certificate
from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.errors import MalformedError, OversizeError
from beemesh_node.protocol.ids import MeshId
from beemesh_node.protocol.objects import peek_unverified, sign_object
from beemesh_node.protocol.request import SigningRequest
from beemesh_node.protocol.revocation import MAX_LISTS, MAX_LISTS_SIZE
from beemesh_node.protocol.root import MeshRoot
from beemesh_node.protocol.trust import MAX_CHAIN_SIZE, TrustStore

JOIN_KIND: Final = "join"
MAX_JOIN: Final = MAX_CHAIN_SIZE + MAX_LISTS_SIZE + 128 * 1024
"""Bytes of a join bundle at most; with one root it has about 17 KB."""
SECRET_SIZE: Final = 32
MAX_BOOTSTRAP: Final = 256
MAX_ADDRESS: Final = 256

_INFO: Final = b"beemesh/1/join"


@dataclass(frozen=True, slots=True)
class JoinBundle:
    """The content of a join bundle. Raises ValueError for what none may say."""

    mesh_id: MeshId
    issuer: bytes
    """SHA-256 of the public key of the root that signed it."""
    certificate: bytes
    """The newcomer's own certificate object."""
    trust: tuple[bytes, ...]
    """The trust bundles from the first to the present (`TrustStore.chain`)."""
    bootstrap: tuple[str, ...]
    """Multiaddrs, each ending in `/p2p/PEER`, of members to meet first."""
    network_key: bytes = field(repr=False)
    """Pre-shared key of the private network: an outer gate only, no secrecy rests on it."""
    epoch: int
    """Number of the epoch whose secret this is."""
    epoch_secret: bytes = field(repr=False)
    revocations: tuple[bytes, ...] = ()
    """The revocation lists known where it was signed; the newest ones the newcomer gets from those it meets."""

    def __post_init__(self) -> None:
        if len(self.mesh_id) != HASH_SIZE or len(self.issuer) != HASH_SIZE:
            raise ValueError(f"the ids of mesh and root have {HASH_SIZE} bytes")
        if len(self.network_key) != SECRET_SIZE or len(self.epoch_secret) != SECRET_SIZE:
            raise ValueError(f"network key and epoch secret have {SECRET_SIZE} bytes")
        if len(self.revocations) > MAX_LISTS:
            raise ValueError(f"at most {MAX_LISTS} revocation lists are allowed")
        if len(self.bootstrap) > MAX_BOOTSTRAP or any(len(address) > MAX_ADDRESS for address in self.bootstrap):
            raise ValueError(f"at most {MAX_BOOTSTRAP} addresses of at most {MAX_ADDRESS} characters are allowed")


@dataclass(frozen=True, slots=True)
class Joined:
    """An opened join bundle, all of it verified."""

    bundle: JoinBundle
    certificate: Certificate
    trust: TrustStore
    """Its revocations are not heeded yet: what was stored before may be newer."""


def seal_join(root: MeshRoot, bundle: JoinBundle, request: SigningRequest, request_bytes: bytes) -> bytes:
    """Sign `bundle` with the root and seal it to the KEM key of the verified `request`, of which these are the bytes.

    Raises:
        InvalidKeyError: the request's KEM key is none.
    """
    signed = sign_object(JOIN_KIND, encode(bundle), root.key)
    return seal(request.kem_public_key, signed, _info(request_bytes))


def open_join(sealed: bytes, kem_key: KemKey, identity: Identity, mesh_id: MeshId, request_bytes: bytes) -> Joined:
    """Open the answer to our own request.

    Trust follows from the mesh id, which the request named. Dates are not checked: a machine without a clock learns the
    time only from other members. What the certificate says of its beginning is a lower bound for it.

    Raises:
        OversizeError, MalformedError: it is no join bundle.
        DecryptionError: it is sealed to another key, answers another request, or was altered.
        ProtocolError: it is of another mesh, not signed by one of its roots, or certifies other keys than ours.
    """
    if len(sealed) > MAX_JOIN + SEAL_OVERHEAD:
        raise OversizeError(f"join bundle: {len(sealed)} bytes, at most {MAX_JOIN + SEAL_OVERHEAD} are allowed")
    try:
        signed = kem_key.open(sealed, _info(request_bytes))
    except DecryptionError:
        raise DecryptionError(
            "join bundle: does not open; it answers another request or was altered: make a new request and sign that"
        ) from None
    # The roots that must have signed it stand in it; they in turn must follow from the mesh id.
    claimed = decode(JoinBundle, peek_unverified(JOIN_KIND, signed, MAX_JOIN))
    trust = TrustStore(mesh_id, claimed.trust)
    bundle = trust.open_signed(JOIN_KIND, JoinBundle, signed, MAX_JOIN)
    certificate = trust.verify_chain(bundle.certificate)
    if certificate.public_key != identity.signing.public_key or certificate.peer_id != identity.peer.peer_id:
        raise MalformedError("join bundle: its certificate is for other keys than those of this machine")
    return Joined(bundle, certificate, trust)


def _info(request_bytes: bytes) -> bytes:
    return _INFO + hashlib.sha256(request_bytes).digest()
