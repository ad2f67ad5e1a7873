"""Peer ids without libp2p, and the two keys of a member."""

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.crypto import InvalidKeyError
from beemesh_node.crypto.identity import Identity, PeerKey, peer_id_of, public_of_peer_id, verify_peer
from tests.node.crypto.support import flip

SEED = bytes.fromhex("7e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d")
"""The Ed25519 key of the libp2p peer id specification."""
PUBLIC = bytes.fromhex("1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
PEER_ID = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
"""As py-libp2p 0.8.1 derives it from that key."""


def test_the_published_key_has_the_peer_id_that_libp2p_gives_it() -> None:
    key = PeerKey(SEED)
    assert (key.public_key, key.peer_id, key.export_seed()) == (PUBLIC, PEER_ID, SEED)
    assert public_of_peer_id(PEER_ID) == PUBLIC


@given(st.binary(min_size=32, max_size=32))
def test_a_peer_id_carries_its_key(public: bytes) -> None:
    peer_id = peer_id_of(public)
    assert len(peer_id) == 52
    assert public_of_peer_id(peer_id) == public


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "0" * 52,
        "é" * 52,
        "\ud800",
        PEER_ID[:-1],
        PEER_ID + "1",
        "1" + PEER_ID,
        PEER_ID + " ",
        PEER_ID * 10_000,
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        base58.b58encode(bytes.fromhex("0024080012 20") + PUBLIC).decode(),
    ],
)
def test_what_is_no_ed25519_peer_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidKeyError, match="peer id") as refusal:
        public_of_peer_id(text)
    assert len(str(refusal.value)) < 500
    assert verify_peer(text, bytes(64), b"") is False


@given(st.text(max_size=60))
def test_any_text_gives_a_key_or_the_one_error(text: str) -> None:
    try:
        assert peer_id_of(public_of_peer_id(text)) == text
    except InvalidKeyError:
        assert text != PEER_ID


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_of_other_sizes_are_refused(size: int) -> None:
    for make in (PeerKey, peer_id_of):
        with pytest.raises(InvalidKeyError, match=f"{size} bytes"):
            make(bytes(size))


@given(bit=st.integers(0, 8 * 64 - 1))
def test_signatures_of_a_peer(bit: int) -> None:
    signature = PeerKey(SEED).sign(b"message")
    assert verify_peer(PEER_ID, signature, b"message")
    assert not verify_peer(PEER_ID, flip(signature, bit), b"message")
    assert not verify_peer(PEER_ID, signature[:-1], b"message")
    assert not verify_peer(PEER_ID, signature, b"messages")
    assert not verify_peer(PeerKey.generate().peer_id, signature, b"message")


def test_nothing_shows_a_seed() -> None:
    identity = Identity.generate()
    shown = repr(identity) + str(identity)
    assert identity.peer.peer_id in shown
    for seed in (identity.peer.export_seed(), identity.signing.export_seed()):
        assert seed.hex() not in shown
        assert repr(seed) not in shown
