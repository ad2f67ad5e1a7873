"""Dialling a peer at any of its addresses. Imports libp2p; see `library`."""

from collections.abc import Sequence

import trio

from beemesh_node.network.addresses import Address, parse, resolve
from beemesh_node.network.api import InvalidAddress, Limits, Refused, Unreachable
from beemesh_node.network.counting import Counters
from beemesh_node.network.library import ID, Multiaddr
from beemesh_node.network.links import AdmissionRefused, Link, Links
from beemesh_node.network.swarm import MeshSwarm
from beemesh_node.protocol.ids import PeerId

_HEAD_START = 0.25
"""Seconds that an address gets before the next one is tried beside it (RFC 8305, connection attempt delay)."""
_MAX_ADDRESSES = 8
"""Addresses tried in one attempt at most."""


class Dialer:
    """Makes admitted connections.

    libp2p's own dialling tries one address of a peer, and none for a minute after a failure.
    """

    def __init__(
        self, swarm: MeshSwarm, links: Links, limits: Limits, counters: Counters, nursery: trio.Nursery
    ) -> None:
        """`nursery` owns what goes on while libp2p dials."""
        self._nursery = nursery
        self._swarm = swarm
        self._links = links
        self._limits = limits
        self._counters = counters
        self._locks: dict[PeerId, trio.Lock] = {}

    async def link(self, peer: PeerId, addresses: Sequence[str]) -> Link:
        """The newest admitted connection to the peer, or a new one.

        Raises:
            Unreachable: no address answered as that peer.
            Refused: one side refused the other.
        """
        lock = self._locks.setdefault(peer, trio.Lock())
        try:
            async with lock:
                link = self._links.newest(peer)
                return link if link is not None else await self._dial(peer, addresses)
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._locks.pop(peer, None)

    async def _dial(self, peer: PeerId, texts: Sequence[str]) -> Link:
        try:
            self._links.check_not_shunned(peer)
        except AdmissionRefused as refusal:
            raise Refused(refusal.reason) from None
        addresses = await self._resolve(peer, texts)
        if not addresses:
            raise Unreachable(f"no usable address of {peer} is known: give one or wait until it is met again")
        self._counters.add("dials.attempted")
        failures: dict[Address, Exception] = {}

        async def attempt(address: Address, failed: trio.Event) -> None:
            try:
                await self._dial_address(peer, address)
            except Exception as error:  # noqa: BLE001
                failures[address] = error
                failed.set()
            else:
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(_HEAD_START):
                    await failed.wait()
        link = self._links.newest(peer)
        if link is not None:
            return link
        self._counters.add("dials.failed")
        for error in failures.values():
            if isinstance(error, AdmissionRefused):
                raise Refused(error.reason)
        reasons = "; ".join(f"{address}: {_root(error)}" for address, error in failures.items())
        raise Unreachable(f"cannot reach {peer} ({reasons or 'the connection was lost at once'})")

    async def _dial_address(self, peer: PeerId, address: Address) -> None:
        """Have the swarm dial. Who is cancelled does not wait for libp2p to tidy up, which takes it 0.2 s."""
        scope, ended = trio.CancelScope(), trio.Event()
        failure: Exception | None = Unreachable("the network part ended")

        async def dial() -> None:
            nonlocal failure
            try:
                with scope:
                    failure = await self._dialled(peer, address)
            finally:
                ended.set()

        try:
            self._nursery.start_soon(dial)
        except RuntimeError:  # it is closed
            raise Unreachable("the network part ended") from None
        try:
            await ended.wait()
        finally:
            scope.cancel()
        if failure is not None:
            raise failure

    async def _dialled(self, peer: PeerId, address: Address) -> Exception | None:
        text = f"/{address.kind}/{address.host}/tcp/{address.port}"
        limits = self._limits
        try:
            with trio.fail_after(limits.dial_timeout + limits.upgrade_timeout + limits.hello_timeout):
                await self._swarm.dial_addr(Multiaddr(text), ID.from_string(peer))
        except trio.TooSlowError:
            return Unreachable("no answer in time")
        except Exception as error:  # noqa: BLE001
            return error
        return None

    async def _resolve(self, peer: PeerId, texts: Sequence[str]) -> list[Address]:
        found: dict[Address, None] = {}
        with trio.move_on_after(self._limits.dial_timeout):
            for text in texts:
                try:
                    address = parse(text)
                except InvalidAddress:
                    continue
                if address.peer in (None, peer):
                    found.update(dict.fromkeys(await resolve(address)))
        return list(found)[:_MAX_ADDRESSES]


def _root(error: BaseException) -> str:
    """The innermost reason that libp2p gives."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
