"""Dials that are given up, towards a libp2p that takes its time to tidy up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from beemesh_node.network.api import Unreachable
from beemesh_node.network.counting import Counters
from beemesh_node.network.dialer import Dialer
from beemesh_node.network.identity import peer_id_of_seed
from beemesh_node.network.links import Links

from .meshing import QUICK, Greeter, seed

HERE, THERE = peer_id_of_seed(seed("here")), peer_id_of_seed(seed("there"))
ADDRESS = "/ip4/192.0.2.1/tcp/1"


TIDYING = 60.0


class Swarm:
    """Dials for ever, and takes its time to end what is cancelled of it."""

    def __init__(self) -> None:
        self.dialling = 0

    async def dial_addr(self, address: object, peer: object) -> None:
        self.dialling += 1
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(TIDYING)
            self.dialling -= 1


@asynccontextmanager
async def dialer(swarm: Any) -> AsyncIterator[tuple[Dialer, trio.Nursery]]:
    counters = Counters()
    links = Links(HERE, Greeter(), QUICK, counters, lambda event: None, {})
    async with trio.open_nursery() as nursery:
        yield Dialer(swarm, links, QUICK, counters, nursery), nursery
        nursery.cancel_scope.cancel()


async def test_who_is_cancelled_does_not_wait_for_the_tidying(autojump_clock: object) -> None:
    swarm = Swarm()
    async with dialer(swarm) as (own, _):
        for number in (1, 2):
            began = trio.current_time()
            with trio.move_on_after(1) as waited:
                await own.link(THERE, [ADDRESS])
            assert waited.cancelled_caught
            assert trio.current_time() - began < TIDYING
            assert swarm.dialling == number
        await trio.sleep(TIDYING + 1)
        assert swarm.dialling == 0


async def test_who_dials_while_the_network_part_ends_is_told(autojump_clock: object) -> None:
    swarm = Swarm()
    async with trio.open_nursery() as callers, dialer(swarm) as (own, nursery):

        async def call() -> None:
            with pytest.raises(Unreachable, match="the network part ended"):
                await own.link(THERE, [ADDRESS])

        callers.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        assert swarm.dialling == 1
        nursery.cancel_scope.cancel()
    with trio.fail_after(5):
        await call()
