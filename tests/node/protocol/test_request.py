"""Signing requests: both keys signed exactly this, for this mesh and this nonce."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.crypto import generate_kem_key
from beemesh_node.crypto.identity import Identity
from beemesh_node.protocol.codec import encode
from beemesh_node.protocol.errors import BadSignatureError, MalformedError, OversizeError, ReplayedError
from beemesh_node.protocol.ids import MeshId, PeerId
from beemesh_node.protocol.objects import sign_object
from beemesh_node.protocol.request import (
    MAX_REQUEST,
    REQUEST_KIND,
    SigningRequest,
    new_nonce,
    sign_request,
    verify_request,
)
from beemesh_node.protocol.trust import ForeignMeshError
from tests.node.crypto.support import flip

MESH_ID = MeshId(bytes(range(32)))
NONCE = new_nonce()
IDENTITY = Identity.generate()
KEM = generate_kem_key()
VALID = sign_request(IDENTITY, KEM.public_key, MESH_ID, NONCE)
CONTENT = verify_request(VALID, MESH_ID, NONCE)


def resigned(content: SigningRequest, signer: Identity) -> bytes:
    """A request with this content, signed by both keys of `signer`."""
    body = encode(content)
    peer_signature = signer.peer.sign(b"beemesh/1/obj/request\0" + body)
    return sign_object(REQUEST_KIND, body, signer.signing) + peer_signature


def test_a_request_says_who_asks_and_nothing_about_what_it_should_be() -> None:
    assert CONTENT.peer_id == IDENTITY.peer.peer_id
    assert CONTENT.public_key == IDENTITY.signing.public_key
    assert CONTENT.kem_public_key == KEM.public_key
    assert {field.name for field in fields(SigningRequest)} == {
        "suite",
        "mesh_id",
        "peer_id",
        "public_key",
        "kem_public_key",
        "nonce",
    }
    assert len(VALID) < 7000


def test_each_of_both_keys_must_have_signed() -> None:
    stranger = Identity.generate()
    borrowed_peer = replace(CONTENT, public_key=stranger.signing.public_key)
    with pytest.raises(BadSignatureError, match=f"libp2p key of {IDENTITY.peer.peer_id}"):
        verify_request(resigned(borrowed_peer, stranger), MESH_ID, NONCE)
    borrowed_key = replace(CONTENT, peer_id=PeerId(stranger.peer.peer_id))
    with pytest.raises(BadSignatureError, match="request"):
        verify_request(resigned(borrowed_key, stranger), MESH_ID, NONCE)


def test_for_another_mesh_or_nonce_is_told_apart() -> None:
    with pytest.raises(ForeignMeshError):
        verify_request(VALID, MeshId(bytes(32)), NONCE)
    with pytest.raises(ReplayedError, match="another nonce"):
        verify_request(VALID, MESH_ID, new_nonce())


@settings(max_examples=300, deadline=None)
@given(bit=st.integers(0, 8 * len(VALID) - 1))
def test_one_flipped_bit_anywhere_is_refused(bit: int) -> None:
    with pytest.raises((BadSignatureError, MalformedError)):
        verify_request(flip(VALID, bit), MESH_ID, NONCE)


@settings(max_examples=50, deadline=None)
@given(keep=st.integers(0, len(VALID) - 1), more=st.binary(min_size=1, max_size=20))
def test_cut_short_or_continued_is_malformed(keep: int, more: bytes) -> None:
    for spoiled in (VALID[:keep], VALID + more):
        with pytest.raises(MalformedError):
            verify_request(spoiled, MESH_ID, NONCE)


def test_too_long_is_refused() -> None:
    with pytest.raises(OversizeError):
        verify_request(bytes(MAX_REQUEST + 1), MESH_ID, NONCE)


@pytest.mark.parametrize(
    "change",
    [
        {"suite": 9},
        {"mesh_id": MeshId(b"")},
        {"nonce": bytes(31)},
        {"public_key": b""},
        {"kem_public_key": bytes(1215)},
        {"peer_id": PeerId("nobody")},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_what_no_request_may_say(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(CONTENT, **change)


def test_no_secret_is_in_it() -> None:
    for seed in (IDENTITY.signing.export_seed(), IDENTITY.peer.export_seed(), KEM.export_seed()):
        assert seed not in VALID
