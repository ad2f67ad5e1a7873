"""Who is admitted, and what those can do who are not."""

import os
from contextlib import suppress
from typing import Any

import pytest
import trio
from Crypto.Cipher import Salsa20

from beemesh_node.network.api import (
    FrameStream,
    Limits,
    NetworkError,
    Refused,
    StreamBroken,
    TurnedAway,
    Unreachable,
    Verdict,
)
from beemesh_node.network.host import MeshHost
from beemesh_node.protocol.ids import PeerId

from .meshing import NETWORK_KEY, QUICK, Greeter, ask, contained, host, link, refused, until, until_async


class Script:
    """A gatekeeper that does as a test says, with the stream, and then admits."""

    def __init__(self, action: Any) -> None:
        self.action = action

    async def greet(self, stream: FrameStream, *, local: PeerId, remote: PeerId, initiator: bool) -> object:
        await self.action(stream)
        return None


async def test_a_peer_with_the_wrong_word_is_refused_by_both() -> None:
    async with host("a") as a, host("b", Greeter(b"another")) as b:
        with a.peer_events() as events:
            with pytest.raises(Refused, match="wrong word"):
                await b.connect(a.peer_id, a.addresses())
            await until(lambda: refused(a, "hello") == 1)
            event = events.receive_nowait()
            assert isinstance(event, TurnedAway)
            assert event.peer == b.peer_id
            assert "wrong word" in event.reason
        assert not a.peers()
        assert not b.peers()


async def test_a_refused_peer_is_not_greeted_again_at_once() -> None:
    gatekeeper = Greeter()
    async with host("a", gatekeeper) as a, host("b", Greeter(b"another")) as b:
        with pytest.raises(Refused):
            await b.connect(a.peer_id, a.addresses())
        await until(lambda: refused(a, "hello") == 1)
        b._shunned.clear()
        with pytest.raises((Refused, Unreachable)):
            await b.connect(a.peer_id, a.addresses())
        await until(lambda: refused(a, "shunned") == 1)
        with pytest.raises(Refused, match="a moment ago"):
            await a.connect(b.peer_id, b.addresses())
        assert refused(a, "hello") == 1


async def test_a_refused_peer_may_come_back_once_it_is_right() -> None:
    async with host("a") as a:
        async with host("b", Greeter(b"another")) as b:
            with pytest.raises(Refused):
                await b.connect(a.peer_id, a.addresses())
        async with host("b") as b:
            await until_async(lambda: b.connect(a.peer_id, a.addresses()))


PROTOCOLS = ("/secret/1", "/meshsub/1.1.0", "/beemesh/kad/1.0.0")


class Secret:
    """A handler that remembers whether it was reached."""

    def __init__(self) -> None:
        self.reached = False

    async def __call__(self, stream: FrameStream, admission: object) -> None:
        self.reached = True
        await stream.write_frame(b"secret")


async def first_frame(links: Any, connection: Any, protocol: str) -> bytes:
    stream = await links.open_on(links.of(connection), protocol)
    return await stream.read_frame(100)


async def knock(evil: MeshHost, connection: Any) -> None:
    """Open a stream of every kind; none may be answered."""
    assert evil._life is not None
    for protocol in PROTOCOLS:
        with pytest.raises(NetworkError):
            await first_frame(evil._life.links, connection, protocol)


async def test_nothing_is_served_to_a_peer_that_begins_no_hello() -> None:
    async def no_greeting(link: Any) -> object:
        return None

    secret = Secret()
    async with host("a") as a, host("evil") as evil:
        a.serve("/secret/1", secret)
        assert evil._life is not None
        evil._life.links._greet = no_greeting  # type: ignore[method-assign]
        await evil.connect(a.peer_id, a.addresses())
        await knock(evil, evil._life.links.newest(a.peer_id).connection)  # type: ignore[union-attr]
        await until(lambda: refused(a, "before-hello") >= len(PROTOCOLS))
        await until(lambda: refused(a, "hello-timeout") == 1)
        assert not secret.reached
        assert not a.peers()


async def test_nothing_is_served_to_a_peer_that_does_not_finish_hello() -> None:
    async def knock_instead(stream: Any) -> None:
        await knock(evil, stream._stream.swarm_conn)

    secret = Secret()
    async with host("a", limits=Limits(hello_timeout=0.5)) as a, host("evil", Script(knock_instead)) as evil:
        a.serve("/secret/1", secret)
        with suppress(NetworkError):
            await evil.connect(a.peer_id, a.addresses())
        await until(lambda: refused(a, "hello-timeout") == 1)
        assert refused(a, "before-hello") >= 1
        assert not secret.reached
        assert not a.peers()


@pytest.mark.parametrize("garbage", [b"", b"\xff" * 3, b"\x00\x00\x00\x01", b"\xff\xff\xff\xff" + b"x" * 100])
async def test_garbage_for_hello(garbage: bytes) -> None:
    async def babble(stream: Any) -> None:
        await stream._stream.write(garbage)
        await stream.close()
        with suppress(NetworkError):
            while True:
                await stream.read_frame(1 << 16)

    async with host("a") as a, host("evil", Script(babble)) as evil, host("b") as b:
        with suppress(NetworkError):
            await evil.connect(a.peer_id, a.addresses())
        await until(lambda: refused(a, "hello") + refused(a, "hello-broken") + refused(a, "hello-timeout") == 1)
        assert not a.peers()
        await link(b, a)
        assert await ask(b, a.peer_id) == b"ping"


async def test_a_hello_that_never_ends_is_ended() -> None:
    async def mute(stream: FrameStream) -> None:
        await trio.sleep_forever()

    limits = Limits(hello_timeout=0.5)
    async with host("a", limits=limits) as a, host("mute", Script(mute)) as silent:
        with pytest.raises((Refused, Unreachable)):
            await silent.connect(a.peer_id, a.addresses())
        await until(lambda: refused(a, "hello-timeout") == 1)
        assert not a.peers()
        await until(lambda: a._life is not None and not a._life.swarm.connections)


async def test_a_gatekeeper_that_fails_refuses() -> None:
    async def fail(stream: FrameStream) -> None:
        raise ZeroDivisionError("gatekeeper")

    async with host("a", Script(fail)) as a, host("b") as b:
        with pytest.raises((Refused, Unreachable)):
            await b.connect(a.peer_id, a.addresses())
        await until(lambda: contained(a, "gatekeeper") == 1)
        assert not a.peers()


async def test_a_handler_that_fails_ends_only_its_stream() -> None:
    async def fail(stream: FrameStream, admission: object) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(fail_deeper)

    async def fail_deeper() -> None:
        raise RuntimeError("handler")

    async with host("a") as a, host("b") as b:
        a.serve("/fail/1", fail)
        await link(b, a)
        with pytest.raises(StreamBroken):
            await ask(b, a.peer_id, protocol="/fail/1")
        assert contained(a, "handler") == 1
        assert await ask(b, a.peer_id) == b"ping"
        assert a.counters.get("restarts", 0) == 0


async def test_streams_of_one_peer_are_bounded() -> None:
    held = 0

    async def hold(stream: FrameStream, admission: object) -> None:
        nonlocal held
        held += 1
        await trio.sleep_forever()

    limits = Limits(streams_per_peer=8)
    async with host("a", limits=limits) as a, host("evil") as evil, host("b") as b:
        a.serve("/hold/1", hold)
        await link(evil, a)
        await link(b, a)

        async def grasp() -> None:
            with suppress(NetworkError):
                async with evil.open(a.peer_id, "/hold/1") as stream:
                    await stream.write_frame(b"")
                    await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(grasp)
            await until(lambda: refused(a, "streams") >= 12)
            assert held <= 8
            assert await ask(b, a.peer_id) == b"ping"
            nursery.cancel_scope.cancel()


async def test_streams_of_one_peer_are_bounded_in_rate() -> None:
    limits = Limits(streams_per_second=2.0)
    async with host("a", limits=limits) as a, host("evil") as evil:
        await link(evil, a)
        refusals = 0
        for _ in range(10):
            try:
                await ask(evil, a.peer_id)
            except StreamBroken:
                refusals += 1
        assert refused(a, "streams") == refusals > 0


async def test_connections_are_bounded() -> None:
    async with host("a", limits=Limits(connections=2)) as a, host("b") as b, host("c") as c, host("d") as d:
        await link(b, a)
        await link(c, a)
        with pytest.raises((Refused, Unreachable)):
            await d.connect(a.peer_id, a.addresses())
        assert set(a.peers()) == {b.peer_id, c.peer_id}


async def test_two_meshes_on_one_network_do_not_hear_each_other() -> None:
    async with host("a") as a, host("b", private_network_key=os.urandom(32)) as b:
        with pytest.raises(Unreachable):
            await b.connect(a.peer_id, a.addresses())
        with pytest.raises(Unreachable):
            await a.connect(b.peer_id, b.addresses())
        assert "hello" not in str(dict(a.counters))
        assert not a.peers()
        assert not b.peers()


async def test_no_bytes_are_readable_without_the_network_key() -> None:
    async with host("a") as a:
        stream = await trio.open_tcp_stream("127.0.0.1", int(a.addresses()[0].split("/")[4]))
        with trio.fail_after(5):
            received = b""
            while len(received) < 28:
                received += await stream.receive_some()
            assert b"multistream" not in received
            cipher = Salsa20.new(key=NETWORK_KEY, nonce=received[:8])
            assert b"/multistream/1.0.0\n" in cipher.decrypt(received[8:])


async def test_only_noise_is_offered() -> None:
    async with host("a") as a:
        stream = await trio.open_tcp_stream("127.0.0.1", int(a.addresses()[0].split("/")[4]))
        nonce = os.urandom(8)
        cipher = Salsa20.new(key=NETWORK_KEY, nonce=nonce)
        offers = b"".join(
            bytes([len(name) + 1]) + name + b"\n"
            for name in (b"/plaintext/2.0.0", b"/tls/1.0.0", b"/secio/1.0.0", b"ls")
        )
        await stream.send_all(nonce + cipher.encrypt(b"\x13/multistream/1.0.0\n" + offers))
        answer = b""
        with trio.move_on_after(3):
            while answer.count(b"\n") < 6:
                answer += await stream.receive_some()
                plain = Salsa20.new(key=NETWORK_KEY, nonce=answer[:8]).decrypt(answer[8:])
                if plain.count(b"na\n") == 3 and b"/noise" in plain:
                    break
        assert plain.count(b"na\n") == 3
        assert b"/noise\n" in plain
        assert b"/tls" not in plain


async def test_strangers_that_babble_at_the_port_change_nothing() -> None:
    async with host("a") as a, host("b") as b:
        port = int(a.addresses()[0].split("/")[4])
        nonce = bytes(8)

        def sealed(data: bytes) -> bytes:
            return nonce + Salsa20.new(key=NETWORK_KEY, nonce=nonce).encrypt(data)

        hello = b"\x13/multistream/1.0.0\n"
        for data in (
            b"",
            b"abc",
            os.urandom(500),
            sealed(os.urandom(400)),
            sealed(b"\x05\xff\xfe\xfd\xfc\n"),
            sealed(b"\xff" * 9 + b"\x7f" + b"a" * 100),
            sealed(hello + os.urandom(300)),
            sealed(hello + b"\x07/noise\n" + b"\x00\x20" + os.urandom(32)),
            sealed(hello + b"\x07/noise\n" + b"\xff\xff" + os.urandom(9000)),
        ):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(data)
                    await stream.send_eof()
                    with trio.move_on_after(1):
                        while await stream.receive_some():
                            pass
        await link(b, a)
        assert await ask(b, a.peer_id) == b"ping"
        assert a.counters.get("restarts", 0) == 0


async def test_both_dialling_at_once_end_connected() -> None:
    async with host("a") as a, host("b") as b:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.connect, b.peer_id, b.addresses())
            nursery.start_soon(b.connect, a.peer_id, a.addresses())
        for _ in range(3):
            assert await ask(a, b.peer_id) == b"ping"
            assert await ask(b, a.peer_id) == b"ping"


async def test_many_callers_share_one_dial() -> None:
    async with host("a") as a, host("b") as b:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(a.connect, b.peer_id, b.addresses())
        assert a.counters["dials.attempted"] == 1
        await until(lambda: b.counters["connections.admitted"] == 1)


async def test_gossip_that_is_rejected_too_often_disconnects_its_forwarder() -> None:
    async def reject(data: bytes, forwarder: PeerId) -> Verdict:
        return Verdict.REJECT

    limits = Limits(gossip_rejections=3, refusal_backoff=QUICK.refusal_backoff)
    async with host("a", limits=limits) as a, host("evil") as evil:
        await link(evil, a)
        a.subscribe("news", reject)

        async def gone() -> bool:
            await evil.publish("news", os.urandom(8))
            return evil.peer_id not in a.peers()

        await until_async(gone)
        assert refused(a, "gossip") == 4
