"""The faults of the library's swarm, peer store, gossip and Kademlia: each shown without its guard, and gone with it.

What ends the library shows as a restart of the network part: the host itself goes on either way.
"""

import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import pytest
import trio
from Crypto.Cipher import Salsa20

from beemesh_node.network import life
from beemesh_node.network.api import Gossip, Limits
from beemesh_node.network.counting import Counters
from beemesh_node.network.gossip import ROUTER_GUARDS, SUBSTITUTIONS, GossipSub
from beemesh_node.network.guards import guarded, substitute
from beemesh_node.network.guards.kad_protocol import KADEMLIA
from beemesh_node.network.host import MeshHost
from beemesh_node.network.library import (
    ID,
    Multiaddr,
    PeerStore,
    SwarmException,
    create_new_key_pair,
    libp2p_parts,
)

with libp2p_parts():
    from libp2p.crypto.ed25519 import Ed25519PublicKey

from .meshing import NETWORK_KEY, QUICK, accept_all, ask, contained, host, link, refused, seed, until, until_async

NONE: tuple[str, ...] = ()
MESHSUB = "/meshsub/1.1.0"


def link_of(source: MeshHost, target: MeshHost) -> Any:
    assert source._life is not None
    found = source._life.links.newest(target.peer_id)
    assert found is not None
    return found


def varint(number: int) -> bytes:
    encoded = b""
    while number > 127:
        encoded, number = encoded + bytes([number & 127 | 128]), number >> 7
    return encoded + bytes([number])


async def gossip_frame(source: MeshHost, target: MeshHost, frame: bytes) -> None:
    assert source._life is not None
    stream = await source._life.links.open_raw(link_of(source, target), [MESHSUB])
    await stream.write(varint(len(frame)) + frame)


async def bad_protocol_name(source: MeshHost, target: MeshHost) -> None:
    stream = await link_of(source, target).connection.new_stream()
    await stream.write(b"\x05\xff\xfe\xfd\xfc\n")


async def gossip_not_protobuf(source: MeshHost, target: MeshHost) -> None:
    await gossip_frame(source, target, b"\xff" * 60)


async def gossip_bad_key(source: MeshHost, target: MeshHost) -> None:
    from libp2p.pubsub.pb import rpc_pb2

    target.subscribe("news", accept_all)
    await trio.testing.wait_all_tasks_blocked(0.01)
    message = rpc_pb2.Message(
        data=b"x", topicIDs=["news"], from_id=b"\x12\x20" + bytes(32), seqno=b"1", signature=b"x" * 64, key=b"\xff" * 40
    )
    await gossip_frame(source, target, rpc_pb2.RPC(publish=[message]).SerializeToString())


@pytest.mark.parametrize(
    ("attack", "guard"),
    [(bad_protocol_name, "stream-faults"), (gossip_not_protobuf, "stream-faults"), (gossip_bad_key, "pubsub-faults")],
)
@pytest.mark.parametrize("guarded", [True, False])
async def test_one_bad_message_does_not_end_the_network_part(attack: Any, guard: str, guarded: bool) -> None:
    async with host("victim", without_guards=() if guarded else (guard,)) as victim, host("evil") as evil:
        await link(evil, victim)
        await attack(evil, victim)
        if guarded:
            await until(lambda: contained(victim, guard))
        else:
            await until(lambda: victim.counters.get("restarts"))
            await until(lambda: victim.peer_id not in evil.peers())  # it hears a moment later that all was closed
        await until_async(lambda: evil.connect(victim.peer_id, victim.addresses()))
        assert await ask(evil, victim.peer_id) == b"ping"
        assert victim.counters.get("restarts", 0) == (0 if guarded else 1)


async def come_and_go(a: MeshHost, b: MeshHost, times: int) -> int:
    """Connect and disconnect so many times; how often it worked."""
    worked = 0

    async def some() -> None:
        nonlocal worked
        for _ in range(times // 8):
            assert b._life is not None
            address = Multiaddr(a.addresses()[0].partition("/p2p/")[0])
            with suppress(SwarmException):
                connection = await b._life.swarm.dial_addr(address, ID.from_string(a.peer_id))
                worked += 1
                await connection.close()

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(some)
    return worked


@pytest.mark.parametrize(("without", "times"), [(NONE, 304), (("inbound-slots",), 48)])
async def test_ended_connections_give_their_slots_back(without: tuple[str, ...], times: int) -> None:
    limits = Limits(connections=24, connections_per_peer=24, accepts_per_second=10_000.0, upgrade_timeout=10.0)
    async with (
        host("a", without_guards=without, limits=limits) as a,
        host("b", light=True, limits=limits) as b,
    ):
        assert await come_and_go(a, b, times) == (24 if without else times)
        assert a._life is not None
        slots = a._life.swarm._inbound_limiter
        await until(lambda: not a._life.links._links)  # type: ignore[union-attr]
        if without:
            assert slots.borrowed_tokens == 24
        else:
            await until(lambda: slots.borrowed_tokens == 0)
            assert await b.connect(a.peer_id, a.addresses())


@pytest.mark.parametrize("without", [NONE, ("accept-limits",)])
async def test_silent_strangers_are_bounded(without: tuple[str, ...]) -> None:
    limits = Limits(handshakes=8, upgrade_timeout=30.0)
    async with host("a", without_guards=without, limits=limits) as a:
        port = int(a.addresses()[0].split("/")[4])
        ended = 0

        async def knock() -> None:
            nonlocal ended
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
            ended += 1

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(knock)
            if without:
                await until(lambda: a._life.swarm._inbound_limiter.borrowed_tokens == 20)  # type: ignore[union-attr]
                assert ended == 0
            else:
                await until(lambda: ended == 12)
                assert refused(a, "accepts") == 12
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("without", [NONE, ("long-lines",)])
@pytest.mark.parametrize("length", [1025, 1 << 20])
async def test_a_stranger_does_not_make_us_wait_for_a_line_of_any_length(without: tuple[str, ...], length: int) -> None:
    async with host("a", without_guards=without, limits=Limits(upgrade_timeout=30.0)) as a:
        stream = await trio.open_tcp_stream("127.0.0.1", int(a.addresses()[0].split("/")[4]))
        nonce = bytes(8)
        await stream.send_all(nonce + Salsa20.new(key=NETWORK_KEY, nonce=nonce).encrypt(varint(length)))
        with trio.move_on_after(0.5 if without else 5.0) as patience:
            while await stream.receive_some():
                pass
        assert patience.cancelled_caught is bool(without), "whether it waits for the rest"
        assert not [name for name in a.counters if name.startswith("contained")]
        await stream.aclose()


@pytest.mark.parametrize("without", [NONE, ("ipv6-remotes",)])
async def test_by_ipv6_too_it_is_known_where_a_peer_is(without: tuple[str, ...]) -> None:
    async with (
        host("a", without_guards=without, listen=["/ip6/::1/tcp/0"]) as a,
        host("b", without_guards=without) as b,
    ):
        await b.connect(a.peer_id, a.addresses())
        await until(lambda: b.peer_id in a.peers())
        for one, other in ((a, b), (b, a)):
            assert one._life is not None
            assert one._life.links.places.get(other.peer_id) == (None if without else "::1")


@pytest.mark.parametrize("without", [NONE, ("own-keys",)])
def test_a_thousand_peers_do_not_evict_our_key(without: tuple[str, ...]) -> None:
    store = guarded(PeerStore, life.STORE_GUARDS, Counters(), without)()
    key_pair = create_new_key_pair(seed("a"))
    own_id = ID.from_pubkey(key_pair.public_key)
    store.add_key_pair(own_id, key_pair)
    for number in range(1005):
        store.add_addrs(ID(b"\x12\x20" + number.to_bytes(32, "big")), [Multiaddr("/ip4/10.0.0.1/tcp/1")], 120)
    assert (own_id in store.peer_ids()) is not bool(without)
    assert len(store.peer_ids()) <= 1001


@pytest.mark.parametrize("without", [NONE, ("older-records",)])
async def test_a_peer_whose_clock_went_back_is_heard(monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...]) -> None:
    from libp2p.peer import peer_record

    later = peer_record.timestamp_seq
    async with host("a", without_guards=without) as a:
        inbox = a.subscribe("news", accept_all)
        for life_of_b in (0, -3600 * 10**9):
            monkeypatch.setattr(peer_record, "timestamp_seq", lambda back=life_of_b: later() + back)
            async with host("b") as b:
                await link(b, a)

                async def heard(b: MeshHost = b) -> bool:
                    await b.publish("news", b"hello")
                    with trio.move_on_after(0.2):
                        await inbox.receive()
                        return True
                    return False

                if life_of_b and without:
                    with pytest.raises(trio.TooSlowError):
                        await until_async(heard, 4)
                else:
                    await until_async(heard)
            await until(lambda: not a.peers())


@pytest.mark.parametrize("without", [NONE, ("steady-clock",)])
def test_setting_the_clock_back_does_not_prolong_back_offs(
    monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...]
) -> None:
    substitute(SUBSTITUTIONS, without)
    router = guarded(GossipSub, ROUTER_GUARDS, Counters(), without)([MESHSUB], 6, 4, 12)
    router._add_back_off("peer", "news", False)
    assert router._check_back_off("peer", "news")
    real, steady = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: real() - 365 * 86400)
    monkeypatch.setattr(time, "monotonic", lambda: steady() + 120)
    still_waiting = router._check_back_off("peer", "news")
    monkeypatch.undo()
    assert still_waiting is bool(without)


@pytest.mark.parametrize("without", [NONE, ("double-registration",)])
async def test_a_peer_is_registered_with_gossip_once(without: tuple[str, ...]) -> None:
    async with host("a", without_guards=without) as a, host("b") as b:
        await link(a, b)
        assert a._life is not None
        assert a._life.gossiper is not None
        pubsub = a._life.gossiper._pubsub
        b_id = ID.from_string(b.peer_id)
        await until(lambda: b_id in pubsub.peers)
        del pubsub.peers[b_id]
        streams = link_of(a, b).connection.streams
        before = len([stream for stream in streams if stream.get_protocol() == MESHSUB])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pubsub._handle_new_peer, b_id)
            nursery.start_soon(pubsub._handle_new_peer, b_id)
        after = len([stream for stream in streams if stream.get_protocol() == MESHSUB])
        assert after - before == (2 if without else 1)


async def hears_by_the_other_connection(without: tuple[str, ...]) -> bool:
    """Whether gossip goes on when the first of two connections is lost."""
    async with host("a", without_guards=without) as a, host("b", without_guards=without) as b:
        await link(a, b)
        inbox = b.subscribe("news", accept_all)

        async def heard() -> bool:
            await a.publish("news", b"hello")
            with trio.move_on_after(0.2):
                return bool(await inbox.receive())
            return False

        await until_async(heard)
        first = link_of(a, b)
        assert a._life is not None
        await a._life.dialer._dial(b.peer_id, b.addresses())
        await until(lambda: b._life is not None and len(b._life.links._admitted[a.peer_id]) == 2)
        await first.connection.close()
        await until(lambda: b._life is not None and len(b._life.links._admitted[a.peer_id]) == 1)
        try:
            await until_async(heard, 4 if without else 10)
        except trio.TooSlowError:
            return False
        return True


async def test_gossip_follows_the_connection_that_lives() -> None:
    assert await hears_by_the_other_connection(NONE)


async def test_without_its_guard_gossip_stays_with_the_one_that_is_lost() -> None:
    """Nearly always: on a busy computer the stream may have been opened late, on the other one."""
    heard = True
    for _ in range(3):
        heard = heard and await hears_by_the_other_connection(("dead-gossip-streams",))
    assert not heard


@pytest.mark.parametrize("without", [NONE, ("delivery-log",)])
def test_the_log_of_deliveries_stays_short(without: tuple[str, ...]) -> None:
    router = guarded(GossipSub, ROUTER_GUARDS, Counters(), without)([MESHSUB], 6, 4, 12)
    router.recent_message_deliveries["news"] = [0.0] * 1000
    router._periodic_security_cleanup()
    assert len(router.recent_message_deliveries["news"]) == (1000 if without else 100)


@pytest.mark.parametrize("without", [NONE, ("short-queues",)])
async def test_a_burst_of_gossip_arrives_whole(without: tuple[str, ...]) -> None:
    async with host("a", without_guards=without) as a, host("b", without_guards=without) as b:
        await link(a, b)
        inbox = b.subscribe("news", accept_all)

        async def heard() -> bool:
            await a.publish("news", b"warm-up")
            with trio.move_on_after(0.2):
                return bool(await inbox.receive())
            return False

        await until_async(heard)
        for number in range(200):
            await a.publish("news", b"%d" % number)
        received: list[Gossip] = []
        with trio.move_on_after(3 if without else 20):
            while len(received) < 200:
                received.append(await inbox.receive())
        assert (len(received) == 200) is not bool(without)


@pytest.mark.parametrize("without", [NONE, ("repeated-records",)])
async def test_an_address_record_is_verified_once(without: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[bytes] = []
    verify = Ed25519PublicKey.verify

    def noted(key: Ed25519PublicKey, data: bytes, signature: bytes) -> bool:
        if b"libp2p-peer-record" in data:
            verified.append(signature)
        return verify(key, data, signature)

    monkeypatch.setattr(Ed25519PublicKey, "verify", noted)
    async with host("a", without_guards=without) as a, host("b", without_guards=without) as b:
        await link(a, b)
        inbox = b.subscribe("news", accept_all)

        async def heard() -> bool:
            await a.publish("news", b"news")
            with trio.move_on_after(0.2):
                return bool(await inbox.receive())
            return False

        for _ in range(10):
            await until_async(heard)
    most = max(verified.count(signature) for signature in verified)
    assert (most < 10) is not bool(without), "Kademlia's few messages verify it too"


async def test_message_ids_of_an_earlier_life_are_not_used_again() -> None:
    counters = []
    for _ in range(2):
        async with host("a") as a:
            assert a._life is not None
            assert a._life.gossiper is not None
            counters.append(a._life.gossiper._pubsub.counter)
    assert abs(counters[0] - counters[1]) > 1 << 32


@pytest.mark.parametrize("without", [NONE, ("kad-protocol",)])
async def test_kademlia_speaks_our_own_protocol(without: tuple[str, ...]) -> None:
    async with host("a", without_guards=without) as a:
        assert a._life is not None
        assert (KADEMLIA in a._life.facade.multiselect.get_protocols()) is not bool(without)


@pytest.mark.parametrize("without", [NONE, ("root-logger",)])
def test_the_root_logger_is_left_alone(without: tuple[str, ...]) -> None:
    script = (
        "import logging\n"
        "from beemesh_node.network import life\n"
        "from beemesh_node.network.guards import substitute\n"
        f"substitute(life.SUBSTITUTIONS, {without!r})\n"
        "life.swarm_connection.logging.debug('closing')\n"
        "print(len(logging.getLogger().handlers))"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == ("1" if without else "0")


async def test_what_is_not_run_keeps_nothing() -> None:
    """The library's resource manager, health monitor, auto-connector and identify, with their faults, are left out."""
    async with host("a") as a, host("b") as b:
        await link(a, b)
        assert a._life is not None
        swarm = a._life.swarm
        assert swarm._resource_manager is None
        assert swarm._stream_semaphore is None
        assert swarm._health_monitor is None
        assert not swarm.health_data
        assert set(a._life.facade.multiselect.get_protocols()) == {
            "/beemesh/hello/1",
            "/beemesh/echo/1",
            KADEMLIA,
            MESHSUB,
        }
        assert QUICK.keepalive_interval == type(link_of(a, b).connection.muxed_conn).keepalive_interval
