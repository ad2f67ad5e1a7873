"""Keeps the wanted peers connected: dials those that are missing, endlessly, with jittered back-off."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from beemesh_node.network.api import Limits, NetworkError
from beemesh_node.network.backoff import Backoff
from beemesh_node.protocol.ids import PeerId

_PARALLEL_DIALS = 16
"""Dials at once at most: each costs a few milliseconds of signatures on both sides."""


class Keeper:
    """Owns one task per wanted peer."""

    def __init__(
        self,
        connect: Callable[[PeerId, Sequence[str]], Awaitable[object]],
        lost: Callable[[PeerId], Awaitable[None]],
        limits: Limits,
    ) -> None:
        self._connect = connect
        self._lost = lost
        self._limits = limits
        self._wanted: dict[PeerId, tuple[str, ...]] = {}
        self._changed = trio.Event()
        self._dials = trio.CapacityLimiter(_PARALLEL_DIALS)

    def want(self, peers: Mapping[PeerId, Sequence[str]]) -> None:
        """Replace the set of peers to keep connected."""
        self._wanted = {peer: tuple(addresses) for peer, addresses in peers.items()}
        self._changed.set()

    async def run(self) -> None:
        """Keep them connected until cancelled. May be run again afterwards: each life of the host does."""
        tasks: dict[PeerId, trio.CancelScope] = {}
        async with trio.open_nursery() as nursery:
            while True:
                for peer in [peer for peer in tasks if peer not in self._wanted]:
                    tasks.pop(peer).cancel()
                for peer in self._wanted:
                    if peer not in tasks:
                        tasks[peer] = trio.CancelScope()
                        nursery.start_soon(self._keep, peer, tasks[peer])
                await self._changed.wait()
                self._changed = trio.Event()

    async def _keep(self, peer: PeerId, scope: trio.CancelScope) -> None:
        backoff = Backoff(self._limits.redial_min, self._limits.redial_max)
        with scope:
            while True:
                try:
                    async with self._dials:
                        await self._connect(peer, self._wanted.get(peer, ()))
                except NetworkError:
                    pass
                else:
                    connected_at = trio.current_time()
                    await self._lost(peer)
                    if trio.current_time() - connected_at > self._limits.redial_max:
                        backoff.reset()
                await trio.sleep(backoff.next_delay())
