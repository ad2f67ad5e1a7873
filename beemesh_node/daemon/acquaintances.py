"""Where other machines could last be dialled, kept on disk.

A machine that starts again finds the mesh by any of them, whatever became of those that its join bundle names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import msgspec
import structlog
import trio

from beemesh_node.daemon.store import FACTS, Store, StoreError
from beemesh_node.network.addresses import parse
from beemesh_node.network.api import InvalidAddress
from beemesh_node.protocol.ids import MachineId, PeerId

log = structlog.get_logger()

MOST = 32
"""Machines that are remembered, those heard last."""
MOST_ADDRESSES = 8
"""Addresses that are remembered of each, the first ones that it tells."""
FORGOTTEN_AFTER = 30 * 24 * 3600
"""Seconds after which a machine that was not heard is not looked for after a start: it may itself look for others."""
WRITE_EVERY = 30.0
"""Seconds between two writes at least."""

_FACT = "acquaintances"
_TOGETHER = 1.0
"""Seconds in which more are met, commonly, once one is."""
_REFRESH = 24 * 3600.0
"""Seconds after which it is written down who was heard last, although nobody is new."""


class Acquaintance(msgspec.Struct, frozen=True, array_like=True):
    """How another machine could last be dialled."""

    peer: PeerId
    addresses: tuple[str, ...]
    heard: int
    """Mesh time in milliseconds."""


class Acquaintances:
    """The machines heard last and their addresses."""

    def __init__(self, store: Store, limiter: trio.CapacityLimiter, mesh_time: Callable[[], int]) -> None:
        """Take up what the disk holds. Raises `StoreError`."""
        self._store, self._limiter, self._mesh_time = store, limiter, mesh_time
        oldest = mesh_time() - FORGOTTEN_AFTER * 1000
        stored = _read(store.get(FACTS, _FACT))
        self._known = {machine: known for machine, known in stored.items() if known.heard >= oldest}
        self._different = trio.Event()

    @property
    def known(self) -> Mapping[MachineId, Acquaintance]:
        """Whoever was heard last is first."""
        return dict(reversed(list(self._known.items())))

    def heard(self, machine: MachineId, peer: PeerId, addresses: Sequence[str]) -> None:
        """Remember where a machine says that it can be dialled."""
        before = self._known.pop(machine, None)
        same = before is not None and before.addresses == tuple(addresses)
        ways = tuple(addresses) if same else tuple(islice(filter(_is_address, addresses), MOST_ADDRESSES))
        self._known[machine] = Acquaintance(peer, ways, self._mesh_time())
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        if before is None or (peer, ways) != (before.peer, before.addresses):
            self._different.set()

    def forget(self, machine: MachineId) -> None:
        """Do not look for a machine that left or is not believed any more."""
        if self._known.pop(machine, None) is not None:
            self._different.set()

    async def run(self) -> None:
        """Write down what is different, for ever. A disk that cannot be written to is tried again."""
        while True:
            with trio.move_on_after(_REFRESH):
                await self._different.wait()
            await trio.sleep(_TOGETHER)
            await self.write()
            await trio.sleep(WRITE_EVERY)

    async def write(self) -> None:
        """Write down who is known now."""
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


def _read(stored: bytes | None) -> dict[MachineId, Acquaintance]:
    try:
        return {} if stored is None else msgspec.json.decode(stored, type=dict[MachineId, Acquaintance])
    except msgspec.DecodeError as error:  # ValidationError is one of them
        log.warning("stored acquaintances not understood, beginning anew", error=str(error))
        return {}
