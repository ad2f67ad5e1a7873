"""Blocks that are held are announced: one after the other, until somebody takes note, and again in time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import trio
import trio.testing

from beemesh_node.daemon.providing import AGAIN, GAP, RETRY, BlockProvider
from beemesh_node.protocol.ids import Cid


@dataclass
class Kademlia:
    """Keeps what was announced, and when; may have nobody who takes note, or fail."""

    heard: list[tuple[float, str]] = field(default_factory=list)
    deaf: bool = False
    fault: Exception | None = None

    async def provide(self, cid: Cid) -> bool:
        self.heard.append((trio.current_time(), cid))
        if self.fault is not None:
            raise self.fault
        return not self.deaf

    @property
    def cids(self) -> list[str]:
        return [cid for _, cid in self.heard]


@asynccontextmanager
async def providing(kademlia: Kademlia, *held: str) -> AsyncIterator[BlockProvider]:
    provider = BlockProvider(kademlia.provide, lambda: held)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(provider.run)
        yield provider
        nursery.cancel_scope.cancel()


async def test_what_is_held_and_what_is_stored_later_is_announced_at_a_bounded_rate(
    autojump_clock: trio.testing.MockClock,
) -> None:
    kademlia = Kademlia()
    async with providing(kademlia, "a", "b") as provider:
        await trio.sleep(1)
        assert kademlia.cids == ["a", "b"]
        provider.announce(["c", "d", "c"])
        await trio.sleep(1)
        assert kademlia.cids == ["a", "b", "c", "d"]
    times = [time for time, _ in kademlia.heard]
    assert min(later - sooner for sooner, later in pairwise(times)) >= GAP * 0.99


async def test_what_nobody_took_note_of_is_announced_again(autojump_clock: trio.testing.MockClock) -> None:
    for kademlia in (Kademlia(deaf=True), Kademlia(fault=RuntimeError("of the library"))):
        async with providing(kademlia, "a"):
            await trio.sleep(1)
            kademlia.deaf, kademlia.fault = False, None
            await trio.sleep(RETRY * 3)
            assert kademlia.cids == ["a", "a"]


async def test_everything_is_announced_again_before_it_is_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    kademlia = Kademlia()
    async with providing(kademlia, "a", "b"):
        await trio.sleep(AGAIN + 1)
        assert kademlia.cids == ["a", "b", "a", "b"]
