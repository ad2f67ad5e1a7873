"""Trust bundles: how a root is replaced with overlap, and that no other way leads to trust."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.crypto import generate_kem_key
from beemesh_node.crypto.identity import Identity
from beemesh_node.protocol.codec import encode
from beemesh_node.protocol.errors import BadSignatureError, MalformedError, OversizeError, ProtocolError
from beemesh_node.protocol.ids import MeshId
from beemesh_node.protocol.objects import sign_object
from beemesh_node.protocol.root import MeshRoot
from beemesh_node.protocol.trust import (
    BUNDLE_KIND,
    MAX_BUNDLE,
    MAX_CHAIN,
    MAX_CHAIN_SIZE,
    MAX_RECENT,
    ForeignMeshError,
    TrustBundle,
    TrustStore,
    UnknownRootError,
    root_id,
)
from tests.node.crypto.support import flip
from tests.node.protocol.mesh import MACHINE, NOW, Mesh

MESH = Mesh()
FIRST = MESH.root
SECOND = MeshRoot(Mesh().root.key, FIRST.mesh_id)
THIRD = MeshRoot(Mesh().root.key, FIRST.mesh_id)
KEYS = {root.root_id: root.key.public_key for root in (FIRST, SECOND, THIRD)}
BOTH = FIRST.sign_bundle(2, NOW, [SECOND.key.public_key, FIRST.key.public_key])
"""The overlap: the first root introduces the second."""
SECOND_ALONE = SECOND.sign_bundle(3, NOW)
VALID = TrustBundle(1, FIRST.mesh_id, FIRST.root_id, 1, (FIRST.key.public_key,), NOW)


def certificate_by(root: MeshRoot) -> bytes:
    return root.issue(MESH.request(Identity.generate(), generate_kem_key()), MACHINE, NOW)


def test_a_new_mesh_trusts_the_root_that_is_its_id() -> None:
    trust = MESH.trust()
    assert trust.mesh_id == FIRST.root_id == root_id(FIRST.key.public_key)
    assert trust.roots == {FIRST.root_id: FIRST.key.public_key}
    assert (trust.sequence, trust.chain, trust.recent) == (1, (MESH.bundle,), ())
    assert len(MESH.bundle) < 6000


def test_a_root_is_replaced_with_overlap() -> None:
    trust = MESH.trust()
    old, new = certificate_by(FIRST), certificate_by(SECOND)
    trust.verify_chain(old)
    with pytest.raises(UnknownRootError, match="bring the newer trust bundle"):
        trust.verify_chain(new)
    assert trust.adopt(BOTH)
    assert list(trust.roots) == [SECOND.root_id, FIRST.root_id]
    trust.verify_chain(old)
    trust.verify_chain(new)
    assert trust.adopt(SECOND_ALONE)
    trust.verify_chain(new)
    # Also what was believed before, and may still be remembered, is no longer.
    with pytest.raises(UnknownRootError, match="trust bundle 3"):
        trust.verify_chain(old)
    assert trust.mesh_id == FIRST.root_id
    assert trust.chain == (MESH.bundle, BOTH, SECOND_ALONE)


def test_present_and_older_bundles_change_nothing() -> None:
    trust = MESH.trust(BOTH)
    for bundle in (BOTH, MESH.bundle, FIRST.sign_bundle(1, NOW + 1)):
        assert trust.adopt(bundle) is False
    assert (trust.sequence, trust.chain) == (2, (MESH.bundle, BOTH))


def test_of_two_bundles_with_one_sequence_all_choose_the_same() -> None:
    rival = FIRST.sign_bundle(2, NOW, [FIRST.key.public_key, THIRD.key.public_key])
    one, other = MESH.trust(BOTH), MESH.trust(rival)
    assert one.adopt(rival) is not other.adopt(BOTH)
    assert one.roots == other.roots


def test_a_retired_or_unknown_root_cannot_return() -> None:
    trust = MESH.trust(BOTH, SECOND_ALONE)
    for root in (FIRST, THIRD):
        with pytest.raises(UnknownRootError):
            trust.adopt(root.sign_bundle(4, NOW, [root.key.public_key]))
    assert trust.roots == {SECOND.root_id: SECOND.key.public_key}


def test_sequences_may_be_skipped_while_the_signer_is_trusted() -> None:
    trust = MESH.trust()
    assert trust.adopt(FIRST.sign_bundle(7, NOW))
    assert trust.sequence == 7


def test_a_store_is_kept_and_loaded() -> None:
    trust = MESH.trust(BOTH, SECOND_ALONE)
    again = TrustStore.load(FIRST.mesh_id, trust.dump())
    assert (again.sequence, again.roots, again.chain) == (trust.sequence, trust.roots, trust.chain)
    with pytest.raises(ForeignMeshError):
        TrustStore.load(MeshId(bytes(32)), trust.dump())
    with pytest.raises(OversizeError):
        TrustStore.load(FIRST.mesh_id, bytes(MAX_CHAIN_SIZE + 1))
    with pytest.raises(MalformedError):
        TrustStore.load(FIRST.mesh_id, b"junk")


@pytest.mark.parametrize(
    "chain",
    [
        [],
        [BOTH],
        [SECOND_ALONE],
        [MESH.bundle, MESH.bundle],
        [MESH.bundle, SECOND_ALONE],
        [MESH.bundle, SECOND_ALONE, BOTH],
        [MESH.bundle] * (MAX_CHAIN + 1),
        [Mesh().bundle],
        [SECOND.sign_bundle(1, NOW)],
        [SECOND.sign_bundle(1, NOW, [FIRST.key.public_key])],
        [FIRST.sign_bundle(1, NOW, [SECOND.key.public_key])],
        [sign_object(BUNDLE_KIND, encode(VALID), SECOND.key)],
    ],
    ids=[
        "empty",
        "begins with 2",
        "begins with 3",
        "twice",
        "gap",
        "disordered",
        "too long",
        "of another mesh",
        "of another root",
        "for the root, not by it",
        "without the root",
        "forged",
    ],
)  # fmt: skip
def test_chains_that_do_not_follow_from_the_mesh_id(chain: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        TrustStore(FIRST.mesh_id, chain)


def follow(trust: TrustStore, old: MeshRoot, *, disown: bool = False) -> MeshRoot:
    """Have another root take the place of the old one."""
    new = MeshRoot(Mesh().root.key, FIRST.mesh_id)
    trust.adopt(old.sign_bundle(trust.sequence + 1, NOW, [new.key.public_key, old.key.public_key]))
    trust.adopt(new.sign_bundle(trust.sequence + 1, NOW, (), [old.root_id] if disown else []))
    return new


def test_a_chain_grows_up_to_its_bound() -> None:
    trust, root = MESH.trust(), FIRST
    for _ in range(MAX_CHAIN - 2):
        root = follow(trust, root)
    assert trust.room == 0, "one for each root, and the last one's retirement of the one before"
    assert len(trust.past_roots) == MAX_CHAIN - 1
    new = MeshRoot(Mesh().root.key, FIRST.mesh_id)
    assert trust.adopt(root.sign_bundle(trust.sequence + 1, NOW, [new.key.public_key, root.key.public_key]))
    with pytest.raises(OversizeError, match="chain of 32 trust bundles is full"):
        trust.adopt(new.sign_bundle(trust.sequence + 1, NOW))
    assert len(trust.dump()) <= MAX_CHAIN_SIZE
    again = TrustStore.load(FIRST.mesh_id, trust.dump())
    assert (again.sequence, again.roots, again.past_roots) == (trust.sequence, trust.roots, trust.past_roots)
    assert trust.recent == trust.chain[-MAX_RECENT:]
    assert len(new.sign_bundle(99, NOW, (), list(trust.past_roots)[:-1])) <= MAX_BUNDLE, "all can be disowned"


def test_what_a_chain_forgets_nobody_needs() -> None:
    trust = MESH.trust()
    second = follow(trust, FIRST)
    members = [MESH.trust(), MESH.trust(trust.chain[1]), MESH.trust(*trust.chain[1:])]
    forgotten = trust.chain[2]
    third = follow(trust, second)
    assert forgotten not in trust.chain
    for behind in (*members, TrustStore.load(FIRST.mesh_id, trust.dump())):
        behind.catch_up(trust.chain[1:])
        assert (behind.roots, behind.past_roots, behind.digest) == (trust.roots, trust.past_roots, trust.digest)
    before = trust.chain[-1]
    follow(trust, follow(trust, third, disown=True))
    assert before not in trust.chain
    again = TrustStore.load(FIRST.mesh_id, trust.dump())
    assert third.root_id not in again.past_roots, "what disowns a root stays"


def test_a_member_that_was_away_follows_what_another_shows() -> None:
    ahead = MESH.trust(BOTH, SECOND_ALONE)
    behind = MESH.trust()
    behind.catch_up(ahead.recent)
    assert (behind.sequence, behind.roots) == (3, ahead.roots)
    ahead.catch_up(MESH.trust(BOTH).recent)
    assert ahead.sequence == 3


def test_what_cannot_be_followed_is_passed_over_and_what_is_forged_is_not() -> None:
    trust = MESH.trust()
    trust.catch_up([SECOND_ALONE])
    assert trust.sequence == 1
    with pytest.raises(BadSignatureError):
        trust.catch_up([flip(BOTH, -1)])
    with pytest.raises(MalformedError):
        trust.catch_up([b"junk"])
    with pytest.raises(ForeignMeshError):
        trust.catch_up([Mesh().bundle])
    assert trust.sequence == 1


@pytest.mark.parametrize(
    "change",
    [
        {"suite": 0},
        {"mesh_id": MeshId(b"")},
        {"issuer": bytes(31)},
        {"sequence": 0},
        {"roots": ()},
        {"roots": (FIRST.key.public_key,) * 2},
        {"roots": tuple(bytes([number]) * 1952 for number in range(5))},
        {"roots": (bytes(1951),)},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_what_no_bundle_may_say(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(VALID, **change)


@settings(max_examples=200, deadline=None)
@given(bit=st.integers(0, 8 * len(BOTH) - 1))
def test_one_flipped_bit_anywhere_changes_nothing(bit: int) -> None:
    trust = MESH.trust()
    with pytest.raises((BadSignatureError, MalformedError, ForeignMeshError, UnknownRootError)):
        trust.adopt(flip(BOTH, bit))
    assert (trust.sequence, trust.roots) == (1, {FIRST.root_id: FIRST.key.public_key})


@settings(max_examples=50, deadline=None)
@given(bit=st.integers(0, 8 * len(MESH.bundle) - 1))
def test_one_flipped_bit_in_the_first_bundle_is_refused(bit: int) -> None:
    with pytest.raises((BadSignatureError, MalformedError, ForeignMeshError)):
        TrustStore(FIRST.mesh_id, [flip(MESH.bundle, bit)])


@settings(max_examples=30, deadline=None)
@given(keep=st.integers(0, len(BOTH) - 1), more=st.binary(min_size=1, max_size=20))
def test_cut_short_or_continued_is_malformed(keep: int, more: bytes) -> None:
    for spoiled in (BOTH[:keep], BOTH + more):
        with pytest.raises(MalformedError):
            MESH.trust().adopt(spoiled)


def test_too_long_is_refused() -> None:
    with pytest.raises(OversizeError, match=str(MAX_BUNDLE)):
        MESH.trust().adopt(bytes(MAX_BUNDLE + 1))


def test_few_believed_certificates_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beemesh_node.protocol.trust._CACHED", 3)
    trust = MESH.trust()
    issued = [certificate_by(FIRST) for _ in range(5)]
    believed = [trust.verify_chain(certificate) for certificate in issued]
    assert len(trust._believed) == 3
    assert [trust.verify_chain(certificate) for certificate in issued] == believed
