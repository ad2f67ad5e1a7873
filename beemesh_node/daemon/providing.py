"""Telling Kademlia which blocks this machine holds. Kinship with IPFS: nothing in the mesh is decided by it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias, final

import structlog
import trio

from beemesh_node.protocol.ids import Cid

log = structlog.get_logger()

GAP = 0.2
"""Seconds between two announcements; others take 20 a second from one machine."""
AGAIN = 12 * 3600.0
"""Seconds after which everything is announced again: others remember for a day."""
RETRY = 30.0
"""Seconds to wait after an announcement of which nobody took note."""

Provide: TypeAlias = Callable[[Cid], Awaitable[bool]]
"""Announces a block; whether another machine took note."""


@final
class BlockProvider:
    """Announces blocks one after the other, each once however often it is given while it waits."""

    def __init__(self, provide: Provide, held: Callable[[], Iterable[str]]) -> None:
        """`held` gives the content ids of all blocks that are held."""
        self._provide = provide
        self._held = held
        self._waiting: dict[str, None] = {}  # in the order in which they were given
        self._more = trio.Event()

    def announce(self, cids: Iterable[str]) -> None:
        """Announce these soon."""
        self._waiting.update(dict.fromkeys(cids))
        self._more.set()

    async def run(self) -> None:
        """Announce what is held, what is given later, and everything again in time, for ever."""
        while True:
            self.announce(self._held())
            with trio.move_on_after(AGAIN):
                await self._work()

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._more = trio.Event()
                await self._more.wait()
            cid = next(iter(self._waiting))
            heard = await self._told(cid)
            del self._waiting[cid]
            if not heard:
                self._waiting[cid] = None
            await trio.sleep(GAP if heard else RETRY)

    async def _told(self, cid: str) -> bool:
        try:
            return await self._provide(Cid(cid))
        except Exception as error:  # noqa: BLE001 - the library's faults are of no consequence here
            log.debug("block not announced", cid=cid, error=repr(error))
            return False
