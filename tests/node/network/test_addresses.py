"""Addresses, peer ids and back-offs: the parts without libp2p."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.network.addresses import parse, parse_with_peer, resolve
from beemesh_node.network.api import InvalidAddress
from beemesh_node.network.backoff import Backoff, TokenBucket
from beemesh_node.network.identity import peer_id_of_public_key, peer_id_of_seed, public_key_of_peer_id
from beemesh_node.network.library import ID, create_new_key_pair

PEER = peer_id_of_seed(bytes(32))


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/10.0.0.7/tcp/4001",
        f"/ip4/10.0.0.7/tcp/4001/p2p/{PEER}",
        "/ip6/fd00::1/tcp/1",
        "/dns/node.example/tcp/65535",
        "/dns4/localhost/tcp/0",
        "/dns6/a-b.c_d/tcp/22",
    ],
)
def test_addresses_read_back_as_written(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "10.0.0.7:4001",
        "/ip4/10.0.0.7",
        "/ip4/10.0.0.7/udp/4001",
        "/ip4/10.0.0.7/tcp/4001/ws",
        "/ip4/10.0.0.7/tcp/65536",
        "/ip4/10.0.0.7/tcp/-1",
        "/ip4/10.0.0.7/tcp/٤",
        "/ip4/010.0.0.7/tcp/1",
        "/ip4/fd00::1/tcp/1",
        "/ip6/10.0.0.7/tcp/1",
        "/dns4/-x/tcp/1",
        "/dns4/a..b/tcp/1",
        "/dns4/" + "a" * 300 + "/tcp/1",
        "/dnsaddr/example.org/tcp/1",
        "/ip4/10.0.0.7/tcp/1/p2p/",
        "/ip4/10.0.0.7/tcp/1/p2p/nobody",
        "/ip4/10.0.0.7/tcp/1/p2p/QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse(text)


@given(
    st.text(max_size=500) | st.lists(st.sampled_from(["", "ip4", "::1", "tcp", "1", "p2p", PEER, "dns"])).map("/".join)
)
def test_nothing_else_is_raised(text: str) -> None:
    with suppress(InvalidAddress):
        assert parse(str(parse(text))) == parse(text)


def test_a_bootstrap_address_names_its_peer() -> None:
    assert parse_with_peer(f"/ip4/10.0.0.7/tcp/4001/p2p/{PEER}")[0] == PEER
    with pytest.raises(InvalidAddress, match="append /p2p/PEER"):
        parse_with_peer("/ip4/10.0.0.7/tcp/4001")


async def test_names_resolve_to_their_family() -> None:
    assert [str(address) for address in await resolve(parse("/dns4/localhost/tcp/7"))] == ["/ip4/127.0.0.1/tcp/7"]
    assert await resolve(parse("/dns4/does-not.exist.invalid/tcp/7")) == []
    literal = parse("/ip6/::1/tcp/7")
    assert await resolve(literal) == [literal]


@given(st.binary(min_size=32, max_size=32))
def test_peer_ids_are_those_of_libp2p(seed: bytes) -> None:
    key_pair = create_new_key_pair(seed)
    peer = peer_id_of_seed(seed)
    assert peer == str(ID.from_pubkey(key_pair.public_key))
    assert public_key_of_peer_id(peer) == key_pair.public_key.to_bytes()
    assert peer_id_of_public_key(public_key_of_peer_id(peer)) == peer


@given(st.text(max_size=80) | st.text(alphabet="123abcXYZ", max_size=60))
def test_what_is_no_peer_id_is_refused(text: str) -> None:
    with suppress(ValueError):
        assert peer_id_of_public_key(public_key_of_peer_id(text)) == text


def test_back_off_doubles_to_its_maximum_and_spreads() -> None:
    backoff = Backoff(1.0, 8.0)
    for expected in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert 0.75 * expected <= backoff.next_delay() <= 1.25 * expected
    for _ in range(2000):
        assert backoff.next_delay() <= 10.0
    backoff.reset()
    assert backoff.next_delay() <= 1.25


def test_a_bucket_lets_so_many_through() -> None:
    bucket = TokenBucket(rate=2.0, burst=3.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.full(1.0)
    assert [bucket.take(1.0) for _ in range(3)] == [True, True, False]
    assert bucket.full(100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
