"""Real processes that are killed, frozen and rebooted."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from beemesh_node.network.api import Gone, Limits, NetworkError
from beemesh_node.network.identity import peer_id_of_seed
from beemesh_node.protocol.ids import PeerId

from .meshing import QUICK, accept_all, ask, host, seed, until, until_async

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]


class Member:
    """A member in another process."""

    def __init__(self, name: str, process: trio.Process, address: str) -> None:
        self.peer_id = peer_id_of_seed(seed(name))
        self.process = process
        self.address = address

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@asynccontextmanager
async def member(name: str, *bootstrap: str) -> AsyncIterator[Member]:
    path = os.pathsep.join([str(HERE.parent), str(REPOSITORY)])
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "network.member", name, *bootstrap],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        assert process.stdout is not None
        with trio.fail_after(20):
            line = b""
            while not line.endswith(b"\n"):
                line += await process.stdout.receive_some()
        yield Member(name, process, line.decode().strip())
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def hears(inbox: object, name: str, seconds: float) -> bool:
    with trio.move_on_after(seconds):
        async for message in inbox:  # type: ignore[attr-defined]
            if message.data == name.encode():
                return True
    return False


async def test_a_killed_peer_is_gone_at_once() -> None:
    async with host("a") as a, member("b") as b:
        await a.connect(b.peer_id, [b.address])
        with a.peer_events() as events:
            b.send(signal.SIGKILL)
            with trio.fail_after(1):
                assert await events.receive() == Gone(b.peer_id)


async def test_a_frozen_peer_is_gone_after_keepalive_and_back_when_it_thaws() -> None:
    async with host("a") as a, member("b") as b:
        a.want({b.peer_id: [b.address]})
        await until(lambda: b.peer_id in a.peers())
        b.send(signal.SIGSTOP)
        await until(lambda: not a.peers(), 3)
        with pytest.raises((NetworkError, trio.TooSlowError)):
            await ask(a, b.peer_id)
        b.send(signal.SIGCONT)
        await until(lambda: b.peer_id in a.peers())
        await until_async(lambda: ask(a, b.peer_id))


@pytest.mark.parametrize("without", [(), ("stale-connections",)])
async def test_a_rebooted_peer_with_the_same_key_is_heard(without: tuple[str, ...]) -> None:
    patient = Limits(keepalive_interval=3600.0, redial_max=0.5, accepts_per_second=1000.0)
    async with host("a", without_guards=without, limits=patient) as a:
        inbox = a.subscribe("names", accept_all)
        talk = a.subscribe("talk", accept_all)
        async with member("b", *a.addresses()) as before:
            await until(lambda: before.peer_id in a.peers())
            assert await hears(inbox, "b", 10)
            before.send(signal.SIGSTOP)  # power is lost: no farewell
            async with member("b", *a.addresses()) as after:
                assert a._life is not None
                links = a._life.links
                await until(lambda: len(links._admitted[PeerId(after.peer_id)]) == 2)
                assert await ask(a, after.peer_id) == b"ping"
                if without:
                    with pytest.raises(trio.TooSlowError):
                        await until(lambda: len(links._admitted[after.peer_id]) == 1, 4)
                else:
                    await until(lambda: len(links._admitted[after.peer_id]) == 1, 4)
                    while True:
                        try:
                            inbox.receive_nowait()
                        except trio.WouldBlock:
                            break
                    assert await hears(inbox, "b", 10)
        talk.close()


async def test_a_peer_paused_for_less_than_keepalive_stays() -> None:
    async with host("a", limits=Limits(keepalive_interval=0.5, keepalive_timeout=10.0)) as a, member("b") as b:
        await a.connect(b.peer_id, [b.address])
        with a.peer_events() as events:
            b.send(signal.SIGSTOP)
            with trio.move_on_after(1):
                await ask(a, b.peer_id)
            b.send(signal.SIGCONT)
            assert await ask(a, b.peer_id) == b"ping"
            with pytest.raises(trio.WouldBlock):
                events.receive_nowait()


async def test_many_deaths_leave_nothing_behind() -> None:
    async with host("a", limits=QUICK) as a:
        for _ in range(3):
            async with member("b", *a.addresses()) as b:
                await until(lambda: a.peers(), 10)
                b.send(signal.SIGKILL)
                await until(lambda: not a.peers(), 2)
        assert a._life is not None
        life = a._life
        await until(lambda: not life.swarm.connections and not life.links._links)
        await until(lambda: life.swarm._inbound_limiter.borrowed_tokens == 0)
        assert life.gossiper is not None
        gossiper = life.gossiper
        await until(lambda: not gossiper._pubsub.peers and not gossiper._pubsub.peer_queues)
