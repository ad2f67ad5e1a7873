"""A fatal fault of libp2p restarts the network part; who holds the host goes on."""

import pytest
import trio

from beemesh_node.network.api import Admitted, Gone, Limits, Unreachable

from .meshing import QUICK, accept_all, ask, host, until, until_async

PORT = "/ip4/127.0.0.1/tcp/31{:03d}"


async def boom() -> None:
    raise RuntimeError("a fault that nobody expected")


async def test_everything_is_registered_again_after_a_fatal_fault() -> None:
    async with host("a", listen=[PORT.format(101)]) as a, host("b") as b:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            inbox = a.subscribe("news", accept_all)
            b.want({a.peer_id: a.addresses()})
            await until(lambda: b.peer_id in a.peers())
            with a.peer_events() as events:
                assert a._life is not None
                a._life.nursery.start_soon(boom)
                with trio.fail_after(10):
                    assert await events.receive() == Gone(b.peer_id)
                    assert await events.receive() == Admitted(b.peer_id, f"admission of {b.peer_id}")
            assert a.counters["restarts"] == 1
            await until_async(lambda: ask(b, a.peer_id))
            await until_async(lambda: ask(a, b.peer_id))

            async def heard() -> bool:
                await b.publish("news", b"hello")
                with trio.move_on_after(0.2):
                    return bool(await inbox.receive())
                return False

            await until_async(heard)
            assert ticks > 10
            nursery.cancel_scope.cancel()


async def test_wanted_peers_are_dialled_again_by_the_life_after_a_fatal_fault() -> None:
    async with host("a") as a, host("b") as b:
        b.want({a.peer_id: a.addresses()})
        await until(lambda: a.peer_id in b.peers())
        with b.peer_events() as events:
            assert b._life is not None
            b._life.nursery.start_soon(boom)
            with trio.fail_after(5):
                assert await events.receive() == Gone(a.peer_id)
                assert await events.receive() == Admitted(a.peer_id, f"admission of {a.peer_id}")


async def test_calls_wait_while_the_network_part_restarts() -> None:
    slow = Limits(restart_min=0.5, accepts_per_second=1000.0)
    async with host("a", limits=slow) as a, host("b") as b:
        await a.connect(b.peer_id, b.addresses())
        assert a._life is not None
        a._life.nursery.start_soon(boom)
        await until(lambda: a._life is None)
        assert a.peers() == {}
        assert await ask(a, b.peer_id) == b"ping"
        assert a._life is not None


async def test_an_address_that_leads_nowhere_does_not_displace_one_that_did() -> None:
    async with host("a") as a, host("b") as b:
        await b.connect(a.peer_id, a.addresses())
        assert b._life is not None
        b._life.nursery.start_soon(boom)
        await until(lambda: b.counters.get("restarts"))
        with pytest.raises(Unreachable):
            await b.connect(a.peer_id, ["/ip4/127.0.0.1/tcp/1"])
        assert await ask(b, a.peer_id) == b"ping"


async def test_faults_in_a_row_are_met_with_patience() -> None:
    async with host("a", limits=Limits(restart_min=0.05, restart_max=0.4)) as a:
        started = trio.current_time()
        for number in range(5):
            await until(lambda: a._life is not None)
            assert a._life is not None
            a._life.nursery.start_soon(boom)
            await until(lambda seen=number: a.counters.get("restarts", 0) == seen + 1)  # type: ignore[misc]
        await until(lambda: a._life is not None)
        assert trio.current_time() - started > 0.75 * (0.05 + 0.1 + 0.2 + 0.4 + 0.4)


async def test_a_fault_of_who_holds_the_host_is_not_the_hosts() -> None:
    async def hold_and_fail() -> None:
        async with host("a") as a:
            assert a.counters.get("restarts", 0) == 0
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await hold_and_fail()


async def test_a_host_closes_quickly_when_cancelled() -> None:
    async with host("b", limits=QUICK) as b:
        with trio.move_on_after(0.5) as scope:
            async with host("a") as a:
                await a.connect(b.peer_id, b.addresses())
                await trio.sleep_forever()
        assert scope.cancelled_caught
        await until(lambda: not b.peers(), 1)
