"""Datagrams between hosts, and whether anybody listens where a peer was."""

from __future__ import annotations

import socket

import trio
import trio.testing

from beemesh_node.network.counting import Counters
from beemesh_node.network.datagrams import Datagrams

from .meshing import host, link, until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening() -> str:
    return f"/ip4/127.0.0.1/tcp/{free_port()}"


async def test_a_datagram_reaches_the_machine_of_a_connected_peer() -> None:
    async with host("a", listen=[listening()]) as one, host("b", listen=[listening()]) as other:
        heard: list[bytes] = []
        other.on_datagram(heard.append)
        one.send_datagram(other.peer_id, other.datagram_port, b"to nobody known")
        await link(one, other)
        await until(lambda: one.send_datagram(other.peer_id, other.datagram_port, b"hello") or heard)
        assert set(heard) == {b"hello"}


async def test_longer_datagrams_are_refused_and_counted() -> None:
    async with host("a", listen=[listening()]) as one:
        heard: list[bytes] = []
        one.on_datagram(heard.append)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for data in (bytes(513), bytes(512)):
                sender.sendto(data, ("127.0.0.1", one.datagram_port))
        await until(lambda: heard)
        assert [len(data) for data in heard] == [512]
        assert one.counters["refused.datagram"] == 1


async def test_a_port_that_is_taken_costs_the_datagrams_and_nothing_else() -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        async with host("a", listen=[f"/ip4/127.0.0.1/tcp/{port}"]) as one:
            assert one.datagram_port == 0
            assert one.counters["datagrams.unbound"] == 1


async def test_who_has_gone_is_refused_by_its_kernel() -> None:
    async with host("a") as one:
        async with host("b") as other:
            addresses = list(other.addresses())
            await link(one, other)
            assert not await one.refuses(other.peer_id, addresses, 2.0)
        await until(lambda: other.peer_id not in one.peers())
        assert await one.refuses(other.peer_id, addresses, 2.0)
        # Who answers elsewhere may be somebody else, and a name is no address.
        elsewhere = [address.replace("127.0.0.1", "127.0.0.2") for address in addresses]
        assert not await one.refuses(other.peer_id, [*elsewhere, "/dns4/localhost/tcp/1", "nonsense"], 2.0)


async def test_silence_is_no_refusal() -> None:
    async with host("a") as one:
        async with host("b") as other:
            await link(one, other)
            peer = other.peer_id
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            address = f"/ip4/127.0.0.1/tcp/{deaf.getsockname()[1]}"
            began = trio.current_time()
            assert not await one.refuses(peer, [address], 0.2)
            assert trio.current_time() - began < 2.0


async def test_a_datagram_that_comes_while_the_host_closes_ends_nothing_but_its_reader() -> None:
    datagrams = Datagrams(Counters())
    datagrams.bind([listening()])
    port = datagrams.port
    datagrams.handler = lambda data: datagrams.close()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(datagrams.run)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"late", ("127.0.0.1", port))


async def test_who_waits_for_datagrams_ends_when_the_host_closes() -> None:
    datagrams = Datagrams(Counters())
    datagrams.bind([listening()])
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(datagrams.run)
            await trio.testing.wait_all_tasks_blocked()
            datagrams.close()
