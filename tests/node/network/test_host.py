"""A host to those who use it: connect, serve, open, events, wanting peers, gossip, Kademlia."""

import os

import pytest
import trio

from beemesh_node.network.api import (
    Admitted,
    FrameTooLarge,
    Gone,
    Limits,
    ListenFailed,
    NetworkError,
    ProtocolRefused,
    StreamBroken,
    StreamEnded,
    Unreachable,
    Verdict,
)
from beemesh_node.network.identity import peer_id_of_seed
from beemesh_node.protocol.ids import Cid

from .meshing import ECHO, FRAME, accept_all, ask, config, contained, host, link, refused, seed, until, until_async


async def test_frames_of_up_to_two_megabytes_arrive_whole() -> None:
    async with host("a") as a, host("b") as b:
        await link(a, b)
        for size in (0, 1, 65_536, 2 << 20):
            data = os.urandom(size)
            assert await ask(a, b.peer_id, data) == data


async def test_both_sides_know_the_other_and_its_admission() -> None:
    async with host("a") as a, host("b") as b:
        assert await a.connect(b.peer_id, b.addresses()) == f"admission of {b.peer_id}"
        await until(lambda: a.peer_id in b.peers())
        assert a.peers() == {b.peer_id: f"admission of {b.peer_id}"}
        assert b.peers() == {a.peer_id: f"admission of {a.peer_id}"}
        seen: list[object] = []

        async def note(stream: object, admission: object) -> None:
            seen.append(admission)

        b.serve("/note/1", note)
        async with a.open(b.peer_id, "/note/1") as stream:
            await stream.write_frame(b"")
        await until(lambda: seen == [f"admission of {a.peer_id}"])


async def test_identity_is_the_seed() -> None:
    async with host("a") as a:
        assert a.peer_id == peer_id_of_seed(seed("a"))
        assert all(address.endswith(f"/p2p/{a.peer_id}") for address in a.addresses())


async def test_who_accepted_can_open_streams_too() -> None:
    async with host("a") as a, host("b") as b:
        await link(a, b)
        assert await ask(b, a.peer_id) == b"ping"


async def test_a_light_host_asks_but_does_not_listen_or_gossip() -> None:
    async with host("a") as a, host("command", light=True) as command:
        await command.connect(a.peer_id, a.addresses())
        assert command.addresses() == []
        assert await ask(command, a.peer_id) == b"ping"
        with pytest.raises(NetworkError, match="light host"):
            await command.publish("topic", b"")
        with pytest.raises(NetworkError, match="light host"):
            command.subscribe("topic", accept_all)


async def test_a_protocol_that_is_not_served_is_refused() -> None:
    async with host("a") as a, host("b") as b:
        await link(a, b)
        async with a.open(b.peer_id, "/nothing/1") as stream:
            await stream.write_frame(b"is anybody there?")
            with pytest.raises(ProtocolRefused, match="/nothing/1"):
                await stream.read_frame(1)
        assert await ask(a, b.peer_id) == b"ping"


async def test_a_frame_beyond_the_limit_is_refused_unread() -> None:
    async with host("a") as a, host("b") as b:
        await link(a, b)
        async with a.open(b.peer_id, ECHO) as stream:
            await stream.write_frame(bytes(1000))
            with pytest.raises(FrameTooLarge, match="1000"):
                await stream.read_frame(999)
        assert await ask(a, b.peer_id) == b"ping"


async def test_half_closed_streams_still_answer() -> None:
    async with host("a") as a, host("b") as b:
        await link(a, b)
        async with a.open(b.peer_id, ECHO) as stream:
            await stream.write_frame(b"last")
            await stream.close()
            assert await stream.read_frame(FRAME) == b"last"
            with pytest.raises(StreamEnded):
                await stream.read_frame(FRAME)
            with pytest.raises(StreamBroken):
                await stream.write_frame(b"more")


async def test_nobody_at_the_address() -> None:
    async with host("a") as a:
        nobody = peer_id_of_seed(seed("nobody"))
        with pytest.raises(Unreachable, match="no usable address"):
            await a.connect(nobody, [])
        with pytest.raises(Unreachable, match=str(nobody)):
            await a.connect(nobody, ["/ip4/127.0.0.1/tcp/1"])
        with pytest.raises(NetworkError, match="itself"):
            await a.connect(a.peer_id, a.addresses())


async def test_a_listener_that_never_answers_is_given_up_and_costs_nothing() -> None:
    limits = Limits(dial_timeout=0.2, upgrade_timeout=0.2, hello_timeout=0.2)
    async with host("a", limits=limits) as a, host("b") as b:
        (silent,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with silent:
            nobody = peer_id_of_seed(seed("nobody"))
            address = f"/ip4/127.0.0.1/tcp/{silent.socket.getsockname()[1]}"
            with trio.fail_after(5), pytest.raises(Unreachable, match="no answer in time"):
                await a.connect(nobody, [address])
            for _ in range(40):  # more than the 32 dials that libp2p allows at once
                with trio.move_on_after(0.01):
                    await a.connect(nobody, [address])
            await a.connect(b.peer_id, b.addresses())


async def test_another_peer_at_the_address() -> None:
    async with host("a") as a, host("b") as b:
        nobody = peer_id_of_seed(seed("nobody"))
        with pytest.raises(Unreachable, match="does not correspond"):
            await a.connect(nobody, [b.addresses()[0].partition("/p2p/")[0]])
        assert not a.peers()


async def test_a_dead_address_does_not_hide_a_live_one() -> None:
    async with host("a") as a, host("b") as b:
        await a.connect(b.peer_id, ["/ip4/127.0.0.1/tcp/1", "/dns4/does-not.exist.invalid/tcp/1", *b.addresses()])
        assert b.peer_id in a.peers()


async def test_names_are_resolved_before_dialling() -> None:
    async with host("a") as a, host("b") as b:
        port = b.addresses()[0].split("/")[4]
        await a.connect(b.peer_id, [f"/dns4/localhost/tcp/{port}"])
        assert b.peer_id in a.peers()


async def test_ip6() -> None:
    async with host("a") as a, host("b", listen=["/ip6/::1/tcp/0"]) as b:
        assert b.addresses()[0].startswith("/ip6/::1/tcp/")
        await a.connect(b.peer_id, b.addresses())


async def test_a_port_in_use_is_said() -> None:
    async with host("a") as a:
        taken = a.addresses()[0].partition("/p2p/")[0]
        with pytest.raises(ListenFailed, match=taken):
            async with host("b", listen=[taken]):
                pass


async def test_announced_addresses_replace_those_listened_on() -> None:
    async with host("a", announce=["/dns4/node.example/tcp/4001"]) as a:
        assert a.addresses() == [f"/dns4/node.example/tcp/4001/p2p/{a.peer_id}"]


async def test_events_tell_who_came_and_went() -> None:
    async with host("a") as a:
        with a.peer_events() as events, trio.fail_after(10):
            async with host("b") as b:
                await link(a, b)
                assert await events.receive() == Admitted(b.peer_id, f"admission of {b.peer_id}")
            assert await events.receive() == Gone(b.peer_id)
            assert not a.peers()


async def test_a_host_that_stops_says_so_at_once() -> None:
    async with host("a") as a:
        async with host("b") as b:
            await link(a, b)
        await until(lambda: not a.peers(), 1.0)


async def test_wanted_peers_are_dialled_again_for_ever() -> None:
    async with host("a") as a:
        async with host("b") as b:
            addresses = b.addresses()
            a.want({b.peer_id: addresses})
            await until(lambda: b.peer_id in a.peers())
        await until(lambda: not a.peers())
        failed = a.counters.get("dials.failed", 0)
        await until(lambda: a.counters.get("dials.failed", 0) >= failed + 3)
        async with host("b", listen=[addresses[0].partition("/p2p/")[0]]) as b:
            await until(lambda: b.peer_id in a.peers())


async def test_bootstrap_addresses_are_dialled_without_being_wanted() -> None:
    async with host("a") as a, host("b", bootstrap=a.addresses()) as b:
        await until(lambda: a.peer_id in b.peers())
        b.want({})
        assert a.peer_id in b.peers()


async def test_an_unwanted_peer_is_not_dialled_again() -> None:
    async with host("a") as a, host("b") as b:
        a.want({b.peer_id: b.addresses()})
        await until(lambda: b.peer_id in a.peers())
        a.want({})
        await b.disconnect(a.peer_id, "test")
        await until(lambda: not a.peers())
        nobody = peer_id_of_seed(seed("nobody"))
        a.want({nobody: ["/ip4/127.0.0.1/tcp/1"]})
        await until(lambda: a.counters.get("dials.failed", 0) >= 4)  # by then b would have been dialled, too
        assert not a.peers()


async def test_gossip_reaches_all_but_the_sender_once() -> None:
    async with host("a") as a, host("b") as b, host("c") as c:
        await link(a, b)
        await link(b, c)
        inboxes = {opened: opened.subscribe("news", accept_all) for opened in (a, b, c)}

        async def published() -> bool:
            await a.publish("news", b"first")
            with trio.move_on_after(0.3):
                return (await inboxes[c].receive()).data == b"first"
            return False

        await until_async(published)
        await trio.testing.wait_all_tasks_blocked(0.1)
        for opened in (b, c):
            while True:
                try:
                    assert inboxes[opened].receive_nowait().data == b"first"
                except trio.WouldBlock:
                    break
        for number in range(20):
            await a.publish("news", b"%d" % number)
        with trio.fail_after(10):
            assert [(await inboxes[c].receive()).data for _ in range(20)] == [b"%d" % number for number in range(20)]
            got = [await inboxes[b].receive() for _ in range(20)]
        assert {message.forwarder for message in got} == {a.peer_id}
        with pytest.raises(trio.WouldBlock):
            inboxes[a].receive_nowait()


async def test_gossip_that_is_not_accepted_goes_no_further() -> None:
    async with host("a") as a, host("b") as b, host("c") as c:
        await link(a, b)
        await link(b, c)
        judged: list[bytes] = []

        async def judge(data: bytes, forwarder: object) -> Verdict:
            judged.append(data)
            if data == b"raise":
                raise KeyError("validator")
            return {b"reject": Verdict.REJECT, b"ignore": Verdict.IGNORE}.get(data, Verdict.ACCEPT)

        a.subscribe("news", accept_all)
        b_inbox = b.subscribe("news", judge)
        c_inbox = c.subscribe("news", accept_all)

        async def published() -> bool:
            await a.publish("news", b"warm-up")
            with trio.move_on_after(0.3):
                return bool(await c_inbox.receive())
            return False

        await until_async(published)
        for data in (b"reject", b"ignore", b"raise", b"accept"):
            await a.publish("news", data)
        with trio.fail_after(10):
            while (await c_inbox.receive()).data != b"accept":
                pass
            while (await b_inbox.receive()).data != b"accept":
                pass
        assert {b"reject", b"ignore", b"raise"} <= set(judged)
        assert refused(b, "gossip") == 1
        assert contained(b, "gossip-validator") == 1


async def test_gossip_has_a_size_bound() -> None:
    async with host("a") as a:
        with pytest.raises(FrameTooLarge):
            await a.publish("news", bytes((64 << 10) + 1))


async def test_kademlia_finds_holders_and_addresses() -> None:
    cid = Cid("bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e")
    async with host("a") as a, host("b") as b, host("c") as c:
        await link(a, b)
        await link(c, b)

        async def provided() -> bool:
            return await a.provide(cid)

        await until_async(provided)

        async def found() -> bool:
            return a.peer_id in await c.find_providers(cid)

        await until_async(found)

        async def located() -> bool:
            return list(a.addresses()) == list(await c.find_addresses(a.peer_id))

        await until_async(located)
        await c.connect(a.peer_id, await c.find_addresses(a.peer_id))


async def test_a_bad_block_name_is_refused() -> None:
    async with host("a") as a:
        for bad in ("", "b", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", "bafkrei", "zabc", "b!!!"):
            with pytest.raises(ValueError, match="CIDv1"):
                await a.provide(Cid(bad))


def test_a_configuration_is_checked() -> None:
    with pytest.raises(ValueError, match="private_network_key"):
        config("a", private_network_key=b"short")
    with pytest.raises(ValueError, match="identity_seed"):
        type(config("a"))(b"short", bytes(32))
    assert "identity_seed" not in repr(config("a"))
