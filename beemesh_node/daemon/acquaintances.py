"""Where other machines could last be dialled, kept on disk.

A machine that starts again finds the mesh by any of them, whatever became of those that its join bundle names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import msgspec
import structlog
import trio

from beemesh_node.daemon.store import FACTS, Store, StoreError
from beemesh_node.network.addresses import parse
from beemesh_node.network.api import InvalidAddress
from beemesh_node.protocol.ids import PeerId

log = structlog.get_logger()

MOST = 32
"""Machines that are remembered, those met last."""
MOST_ADDRESSES = 8
"""Addresses that are remembered of each, the first ones that it tells."""
WRITE_EVERY = 30.0
"""Seconds between two writes at least."""

_FACT = "acquaintances"
_TOGETHER = 1.0
"""Seconds in which more are met, commonly, once one is."""


class Acquaintances:
    """The machines met last and their addresses."""

    def __init__(self, store: Store, limiter: trio.CapacityLimiter) -> None:
        """Take up what the disk holds. Raises `StoreError`."""
        self._store, self._limiter = store, limiter
        self._known = _read(store.get(FACTS, _FACT))
        self._different = trio.Event()

    @property
    def known(self) -> Mapping[PeerId, tuple[str, ...]]:
        """Addresses by peer, who was met last at the end."""
        return self._known

    def met(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Remember where a machine says that it can be dialled."""
        ways = tuple(islice(filter(_is_address, addresses), MOST_ADDRESSES))
        before = self._known.pop(peer, None)
        self._known[peer] = ways
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        if ways != before:
            self._different.set()

    def forget(self, peer: PeerId) -> None:
        """Do not look for a machine that left or is not believed any more."""
        if self._known.pop(peer, None) is not None:
            self._different.set()

    async def run(self) -> None:
        """Write down what is different, for ever. A disk that cannot be written to is tried again."""
        while True:
            await self._different.wait()
            await trio.sleep(_TOGETHER)
            await self.write()
            await trio.sleep(WRITE_EVERY)

    async def write(self) -> None:
        """Write down what is different now."""
        if not self._different.is_set():
            return
        self._different = trio.Event()
        try:
            value = {(FACTS, _FACT): msgspec.json.encode(self._known)}
            await trio.to_thread.run_sync(self._store.write, value, limiter=self._limiter)
        except StoreError as error:
            log.warning("acquaintances not written, trying again", error=str(error))
            self._different.set()


def _is_address(text: str) -> bool:
    try:
        parse(text)
    except InvalidAddress:
        return False
    return True


def _read(stored: bytes | None) -> dict[PeerId, tuple[str, ...]]:
    try:
        return {} if stored is None else msgspec.json.decode(stored, type=dict[PeerId, tuple[str, ...]])
    except msgspec.DecodeError as error:  # ValidationError is one of them
        log.warning("stored acquaintances not understood, beginning anew", error=str(error))
        return {}
