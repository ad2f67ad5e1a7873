"""What a machine or operator asks a root to certify: its public keys, and proof that it holds the private ones.

    request = object of kind `request`, signed by the ML-DSA key in it ‖ Ed25519 signature (64 bytes)

The Ed25519 signature is the libp2p key's, over the object's body behind the same context string that the ML-DSA
signature has. Possession of the KEM key is proved later, by opening the join bundle. A request says nothing about name,
role or labels: those are the inventory's.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from beemesh_node.crypto import KEM_PUBLIC_SIZE, SIGNING_PUBLIC_SIZE, SUITE, InvalidKeyError
from beemesh_node.crypto.identity import PEER_SIGNATURE_SIZE, Identity, public_of_peer_id, verify_peer
from beemesh_node.protocol.certificate import HASH_SIZE
from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.errors import BadSignatureError, MalformedError, OversizeError, ReplayedError
from beemesh_node.protocol.ids import MeshId, PeerId
from beemesh_node.protocol.objects import CONTEXT_PREFIX, open_object, peek_unverified, sign_object
from beemesh_node.protocol.trust import ForeignMeshError

REQUEST_KIND: Final = "request"
MAX_REQUEST: Final = 8 * 1024
"""Bytes of a request at most; it has about 6.7 KB."""
NONCE_SIZE: Final = 32

_PEER_CONTEXT: Final = CONTEXT_PREFIX + REQUEST_KIND.encode() + b"\0"


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """The content of a request. Raises ValueError for what no request may say."""

    suite: int
    mesh_id: MeshId
    peer_id: PeerId
    public_key: bytes
    """ML-DSA-65."""
    kem_public_key: bytes
    """MLKEM768-X25519: to it the join bundle is sealed."""
    nonce: bytes
    """Drawn by whoever will sign, so that an old request is of no use."""

    def __post_init__(self) -> None:
        if self.suite != SUITE:
            raise ValueError(f"suite {self.suite} is not known here")
        if len(self.mesh_id) != HASH_SIZE or len(self.nonce) != NONCE_SIZE:
            raise ValueError(f"a mesh id has {HASH_SIZE} bytes, a nonce {NONCE_SIZE}")
        if len(self.public_key) != SIGNING_PUBLIC_SIZE or len(self.kem_public_key) != KEM_PUBLIC_SIZE:
            raise ValueError("a public key has the wrong size")
        try:
            public_of_peer_id(self.peer_id)
        except InvalidKeyError as error:
            raise ValueError(str(error)) from None


def new_nonce() -> bytes:
    """Draw the nonce that a request must carry."""
    return secrets.token_bytes(NONCE_SIZE)


def sign_request(identity: Identity, kem_public_key: bytes, mesh_id: MeshId, nonce: bytes) -> bytes:
    """Make a request for the keys of `identity`.

    Raises:
        ValueError: `kem_public_key`, `mesh_id` or `nonce` has the wrong size.
    """
    peer_id = PeerId(identity.peer.peer_id)
    body = encode(SigningRequest(SUITE, mesh_id, peer_id, identity.signing.public_key, kem_public_key, nonce))
    return sign_object(REQUEST_KIND, body, identity.signing) + identity.peer.sign(_PEER_CONTEXT + body)


def verify_request(data: bytes, mesh_id: MeshId, nonce: bytes) -> SigningRequest:
    """Return what a request says, if both of its keys signed it and it answers `nonce`.

    Raises:
        OversizeError, MalformedError: it is no request.
        BadSignatureError: one of the two keys did not sign exactly this.
        ForeignMeshError: it asks for another mesh.
        ReplayedError: it answers another nonce.
    """
    if len(data) > MAX_REQUEST:
        raise OversizeError(f"{REQUEST_KIND}: {len(data)} bytes, at most {MAX_REQUEST} are allowed")
    if len(data) <= PEER_SIGNATURE_SIZE:
        raise MalformedError(f"{REQUEST_KIND}: {len(data)} bytes are too few")
    signed, peer_signature = data[:-PEER_SIGNATURE_SIZE], data[-PEER_SIGNATURE_SIZE:]
    # It carries its own keys, so it must be read before it can be verified.
    request = decode(SigningRequest, peek_unverified(REQUEST_KIND, signed, MAX_REQUEST))
    body = open_object(REQUEST_KIND, signed, request.public_key, MAX_REQUEST)
    if not verify_peer(request.peer_id, peer_signature, _PEER_CONTEXT + body):
        raise BadSignatureError(f"{REQUEST_KIND}: not signed by the libp2p key of {request.peer_id}; make a new one")
    if request.mesh_id != mesh_id:
        raise ForeignMeshError(f"{REQUEST_KIND}: for mesh {request.mesh_id.hex()[:16]}, not {mesh_id.hex()[:16]}")
    if request.nonce != nonce:
        raise ReplayedError(f"{REQUEST_KIND}: answers another nonce; make a new one for the present nonce")
    return request
