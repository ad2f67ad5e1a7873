"""Join bundles: for one request and its keys only, and believed only from a root of that mesh."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.crypto import DecryptionError, KemKey, generate_kem_key
from beemesh_node.crypto.identity import Identity
from beemesh_node.protocol.errors import BadSignatureError, MalformedError, OversizeError, ProtocolError
from beemesh_node.protocol.ids import MeshId
from beemesh_node.protocol.join import MAX_JOIN, JoinBundle, Joined, open_join, seal_join
from beemesh_node.protocol.request import SigningRequest, new_nonce, sign_request, verify_request
from beemesh_node.protocol.root import MeshRoot
from beemesh_node.protocol.trust import ForeignMeshError, UnknownRootError
from tests.node.crypto.support import flip
from tests.node.protocol.mesh import MACHINE, NOW, Mesh

NETWORK_KEY = bytes(range(32))
EPOCH_SECRET = bytes(range(32, 64))
MESH = Mesh()


@dataclass
class Newcomer:
    """Somebody who asked to join."""

    identity: Identity
    kem_key: KemKey
    request_bytes: bytes
    request: SigningRequest

    @classmethod
    def ask(cls) -> Newcomer:
        identity, kem_key, nonce = Identity.generate(), generate_kem_key(), new_nonce()
        request_bytes = sign_request(identity, kem_key.public_key, MESH.root.mesh_id, nonce)
        return cls(identity, kem_key, request_bytes, verify_request(request_bytes, MESH.root.mesh_id, nonce))

    def open(self, sealed: bytes) -> Joined:
        return open_join(sealed, self.kem_key, self.identity, MESH.root.mesh_id, self.request_bytes)


NEWCOMER = Newcomer.ask()
CONTENT = JoinBundle(
    MESH.root.mesh_id,
    MESH.root.root_id,
    MESH.root.issue(NEWCOMER.request, MACHINE, NOW),
    (MESH.bundle,),
    ("/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq",),
    NETWORK_KEY,
    7,
    EPOCH_SECRET,
)


def answer(content: JoinBundle = CONTENT, root: MeshRoot = MESH.root) -> bytes:
    return seal_join(root, content, NEWCOMER.request, NEWCOMER.request_bytes)


VALID = answer()


def test_the_newcomer_gets_all_it_needs() -> None:
    joined = NEWCOMER.open(VALID)
    assert joined.bundle == CONTENT
    assert joined.certificate.peer_id == NEWCOMER.identity.peer.peer_id
    assert (joined.trust.mesh_id, joined.trust.sequence) == (MESH.root.mesh_id, 1)
    assert joined.trust.verify_certificate(joined.bundle.certificate, NOW) == joined.certificate
    assert len(VALID) < 17_000


def test_a_newcomer_needs_no_clock_and_follows_replaced_roots() -> None:
    second = MeshRoot(Mesh().root.key, MESH.root.mesh_id)
    both = MESH.root.sign_bundle(2, NOW, [second.key.public_key, MESH.root.key.public_key])
    alone = second.sign_bundle(3, NOW)
    content = replace(
        CONTENT,
        issuer=second.root_id,
        certificate=second.issue(NEWCOMER.request, MACHINE, NOW),
        trust=(MESH.bundle, both, alone),
    )
    assert NEWCOMER.open(answer(content, second)).trust.sequence == 3


def test_nobody_else_can_open_it_and_it_answers_one_request() -> None:
    for other in (Newcomer.ask(), replace_request(NEWCOMER), replace_kem(NEWCOMER)):
        with pytest.raises(DecryptionError, match="make a new request"):
            other.open(VALID)
    for secret in (NETWORK_KEY, EPOCH_SECRET, b"192.0.2.1"):
        assert secret not in VALID


def replace_request(newcomer: Newcomer) -> Newcomer:
    again = sign_request(newcomer.identity, newcomer.kem_key.public_key, MESH.root.mesh_id, new_nonce())
    return replace(newcomer, request_bytes=again)


def replace_kem(newcomer: Newcomer) -> Newcomer:
    return replace(newcomer, kem_key=generate_kem_key())


def test_only_a_root_that_follows_from_the_mesh_id_is_believed() -> None:
    other = Mesh()
    impostor = MeshRoot(other.root.key, MESH.root.mesh_id)
    with pytest.raises(BadSignatureError):
        NEWCOMER.open(answer(root=impostor))
    with pytest.raises(UnknownRootError):
        NEWCOMER.open(answer(replace(CONTENT, issuer=impostor.root_id), impostor))
    with pytest.raises(ForeignMeshError):
        NEWCOMER.open(answer(replace(CONTENT, trust=(other.bundle,)), impostor))
    with pytest.raises(MalformedError):
        NEWCOMER.open(answer(replace(CONTENT, trust=(impostor.sign_bundle(1, NOW),)), impostor))
    with pytest.raises(ForeignMeshError):
        NEWCOMER.open(answer(replace(CONTENT, mesh_id=other.root.mesh_id)))


def test_a_certificate_for_other_keys_is_refused() -> None:
    someone = Newcomer.ask()
    for certificate in (
        MESH.root.issue(someone.request, MACHINE, NOW),
        MESH.root.issue(replace(NEWCOMER.request, peer_id=someone.request.peer_id), MACHINE, NOW),
        MESH.root.issue(replace(NEWCOMER.request, public_key=someone.request.public_key), MACHINE, NOW),
    ):
        with pytest.raises(MalformedError, match="other keys"):
            NEWCOMER.open(answer(replace(CONTENT, certificate=certificate)))
    with pytest.raises(ProtocolError):
        NEWCOMER.open(answer(replace(CONTENT, certificate=b"")))


@settings(max_examples=100, deadline=None)
@given(bit=st.integers(0, 8 * len(VALID) - 1), keep=st.integers(0, len(VALID) - 1), more=st.binary(min_size=1))
def test_altered_cut_short_or_continued_does_not_open(bit: int, keep: int, more: bytes) -> None:
    for spoiled in (flip(VALID, bit), VALID[:keep], VALID + more):
        with pytest.raises(DecryptionError):
            NEWCOMER.open(spoiled)


def test_too_long_is_refused() -> None:
    with pytest.raises(OversizeError):
        NEWCOMER.open(bytes(MAX_JOIN + 2000))


@pytest.mark.parametrize(
    "change",
    [
        {"mesh_id": MeshId(b"")},
        {"issuer": b""},
        {"network_key": bytes(31)},
        {"epoch_secret": b""},
        {"bootstrap": ("/ip4/192.0.2.1/tcp/1",) * 257},
        {"bootstrap": ("x" * 257,)},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_what_no_join_bundle_may_say(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(CONTENT, **change)


def test_nothing_shows_its_secrets() -> None:
    shown = repr(CONTENT) + str(NEWCOMER.open(VALID)) + repr(NEWCOMER)
    for secret in (NETWORK_KEY, EPOCH_SECRET, NEWCOMER.kem_key.export_seed(), NEWCOMER.identity.signing.export_seed()):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
