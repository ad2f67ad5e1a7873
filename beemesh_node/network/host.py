"""The host that the node holds on to, over any number of lives of the libp2p stack."""

import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from beemesh_node.network.addresses import parse_with_peer
from beemesh_node.network.api import (
    FrameStream,
    Gatekeeper,
    Gone,
    Gossip,
    Handler,
    HostConfig,
    NetworkError,
    PeerEvent,
    Validator,
)
from beemesh_node.network.backoff import Backoff
from beemesh_node.network.counting import Counters
from beemesh_node.network.datagrams import Datagrams
from beemesh_node.network.identity import peer_id_of_seed
from beemesh_node.network.keeper import Keeper
from beemesh_node.network.knock import refused
from beemesh_node.protocol.ids import Cid, PeerId

if TYPE_CHECKING:
    from beemesh_node.network.life import Life, Surroundings
    from beemesh_node.network.links import Link

_log = logging.getLogger("beemesh.network")
_BACKLOG = 1024
"""Events and messages that wait for a slow subscriber at most."""
_REMEMBERED_PEERS = 4096
"""Peers whose addresses are remembered at most."""
_STEADY = 60.0
"""Seconds that a life must last for the next fault to count as the first."""


class MeshHost:
    """Implements `api.Host`; made by `open_host`."""

    def __init__(self, config: HostConfig, gatekeeper: Gatekeeper, without_guards: Collection[str] = ()) -> None:
        self._config = config
        self._gatekeeper = gatekeeper
        self._without_guards = without_guards
        self._peer_id = peer_id_of_seed(config.identity_seed)
        self._counters = Counters()
        self._handlers: dict[str, Handler] = {}
        self._subscribers: list[trio.MemorySendChannel[PeerEvent]] = []
        self._known: dict[PeerId, tuple[str, ...]] = {}
        self._bootstrap: dict[PeerId, tuple[str, ...]] = {}
        for text in config.bootstrap:
            peer, _ = parse_with_peer(text)
            self._bootstrap[peer] = (*self._bootstrap.get(peer, ()), text)
        self._bootstrap.pop(self._peer_id, None)
        self._shunned: dict[PeerId, float] = {}
        self._announced: list[str] = []
        self._life: Life | None = None
        self._alive = trio.Event()
        self._topics: dict[str, tuple[Validator, trio.MemorySendChannel[Gossip]]] = {}
        self._keeper = Keeper(self.connect, self._until_lost, config.limits)
        self._keeper.want(self._bootstrap)
        self.datagrams = Datagrams(self._counters)
        """Bound and run by `open_host`, whatever becomes of libp2p."""

    # Who and where

    @property
    def peer_id(self) -> PeerId:
        """See `Host.peer_id`."""
        return self._peer_id

    @property
    def counters(self) -> Mapping[str, int]:
        """See `Host.counters`."""
        return self._counters.view

    def addresses(self) -> Sequence[str]:
        """See `Host.addresses`."""
        return list(self._announced)

    # Streams

    def serve(self, protocol: str, handler: Handler) -> None:
        """See `Host.serve`."""
        self._handlers[protocol] = handler
        if self._life is not None:
            self._register(self._life, protocol)

    @asynccontextmanager
    async def open(self, peer: PeerId, protocol: str) -> AsyncIterator[FrameStream]:
        """See `Host.open`."""
        life, link = await self._link(peer, self._known.get(peer, ()))
        stream = await life.links.open_on(link, protocol)
        try:
            yield stream
        except BaseException:
            await stream.reset()
            raise
        await stream.close()
        if life is self._life:
            life.nursery.start_soon(stream.dispose)

    async def connect(self, peer: PeerId, addresses: Sequence[str]) -> object:
        """See `Host.connect`."""
        if peer not in self._known:
            self._remember(peer, addresses)
        _, link = await self._link(peer, addresses or self._known.get(peer, ()))
        self._remember(peer, addresses)
        return link.admission

    def _remember(self, peer: PeerId, addresses: Sequence[str]) -> None:
        if addresses:
            self._known.pop(peer, None)
            self._known[peer] = tuple(addresses)
            while len(self._known) > _REMEMBERED_PEERS:
                del self._known[next(iter(self._known))]

    async def disconnect(self, peer: PeerId, reason: str) -> None:
        """See `Host.disconnect`."""
        life = await self._current()
        self._counters.refuse("disconnected", peer)
        _log.info("disconnecting %s: %s", peer, reason)
        life.links.shun(peer)
        await life.links.close_all(peer)

    async def _link(self, peer: PeerId, addresses: Sequence[str]) -> "tuple[Life, Link]":
        if peer == self._peer_id:
            raise NetworkError("a host does not connect to itself")
        life = await self._current()
        return life, await life.dialer.link(peer, addresses)

    # Peers

    @property
    def datagram_port(self) -> int:
        """See `Host.datagram_port`."""
        return self.datagrams.port

    def on_datagram(self, handler: Callable[[bytes], None]) -> None:
        """See `Host.on_datagram`."""
        self.datagrams.handler = handler

    def send_datagram(self, peer: PeerId, port: int, data: bytes) -> None:
        """See `Host.send_datagram`."""
        place = self._life.links.places.get(peer) if self._life is not None else None
        if place is not None:
            self.datagrams.send(place, port, data)

    async def refuses(self, peer: PeerId, addresses: Sequence[str], within: float) -> bool:
        """See `Host.refuses`."""
        place = self._life.links.places.get(peer) if self._life is not None else None
        return place is not None and await refused(place, addresses, within)

    def peers(self) -> Mapping[PeerId, object]:
        """See `Host.peers`."""
        return self._life.links.admissions() if self._life is not None else {}

    def want(self, peers: Mapping[PeerId, Sequence[str]]) -> None:
        """See `Host.want`."""
        wanted = {peer: tuple(addresses) for peer, addresses in peers.items() if peer != self._peer_id}
        for peer, addresses in self._bootstrap.items():
            wanted[peer] = (*wanted.get(peer, ()), *addresses)
        self._keeper.want(wanted)

    def peer_events(self) -> trio.MemoryReceiveChannel[PeerEvent]:
        """See `Host.peer_events`."""
        send, receive = trio.open_memory_channel[PeerEvent](_BACKLOG)
        self._subscribers.append(send)
        return receive

    def _emit(self, event: PeerEvent) -> None:
        for subscriber in list(self._subscribers):
            try:
                subscriber.send_nowait(event)
            except trio.WouldBlock:
                self._counters.add("events.lost")
            except trio.BrokenResourceError:
                self._subscribers.remove(subscriber)

    async def _until_lost(self, peer: PeerId) -> None:
        with self.peer_events() as events:
            if peer not in self.peers():
                return
            async for event in events:
                if event == Gone(peer):
                    return

    # Gossip and Kademlia

    async def publish(self, topic: str, data: bytes) -> None:
        """See `Host.publish`."""
        life = await self._full_life()
        assert life.gossiper is not None  # noqa: S101 - a full life has one
        await life.gossiper.publish(topic, data)

    def subscribe(self, topic: str, validate: Validator) -> trio.MemoryReceiveChannel[Gossip]:
        """See `Host.subscribe`."""
        self._require_full("gossip")
        send, receive = trio.open_memory_channel[Gossip](_BACKLOG)
        self._topics[topic] = (validate, send)
        if self._life is not None:
            self._life.nursery.start_soon(self._join_topic, self._life, topic)
        return receive

    async def _join_topic(self, life: "Life", topic: str) -> None:
        validate, send = self._topics[topic]
        gossiper = life.gossiper
        assert gossiper is not None  # noqa: S101 - a full life has one

        def deliver(message: Gossip) -> None:
            try:
                send.send_nowait(message)
            except trio.WouldBlock:
                self._counters.add("gossip.lost")
            except trio.BrokenResourceError:
                if self._topics.pop(topic, None) is not None:
                    life.nursery.start_soon(gossiper.unsubscribe, topic)

        await gossiper.subscribe(topic, validate, deliver)

    async def provide(self, cid: Cid) -> bool:
        """See `Host.provide`."""
        life = await self._full_life()
        assert life.kademlia is not None  # noqa: S101 - a full life has one
        return await life.kademlia.provide(cid)

    async def find_providers(self, cid: Cid, limit: int = 8) -> Sequence[PeerId]:
        """See `Host.find_providers`."""
        life = await self._full_life()
        assert life.kademlia is not None  # noqa: S101 - a full life has one
        return await life.kademlia.find_providers(cid, limit)

    async def find_addresses(self, peer: PeerId) -> Sequence[str]:
        """See `Host.find_addresses`."""
        life = await self._full_life()
        assert life.kademlia is not None  # noqa: S101 - a full life has one
        return await life.kademlia.find_addresses(peer)

    async def _full_life(self) -> "Life":
        self._require_full("gossip and Kademlia")
        return await self._current()

    def _require_full(self, what: str) -> None:
        if self._config.light:
            raise NetworkError(f"a light host takes no part in {what}")

    # Lives

    async def run(self, task_status: "trio.TaskStatus[None]") -> None:
        """Run one life of the stack after another, until cancelled; report started once the first one lives."""
        backoff = Backoff(self._config.limits.restart_min, self._config.limits.restart_max)
        started = False
        while True:
            born_at = trio.current_time()
            try:
                async with self._one_life():
                    if not started:
                        started = True
                        task_status.started()
                    await trio.sleep_forever()
            except Exception as error:  # noqa: BLE001
                if not started:
                    raise _cause(error) from None
                self._counters.add("restarts")
                _log.error("the network part failed and is started again: %r", _cause(error), exc_info=error)
            if trio.current_time() - born_at > _STEADY:
                backoff.reset()
            await trio.sleep(backoff.next_delay())

    @asynccontextmanager
    async def _one_life(self) -> AsyncIterator[None]:
        from beemesh_node.network.life import live  # imports libp2p: only once a host opens

        life: Life | None = None
        try:
            async with live(self._surroundings()) as life:
                for protocol in self._handlers:
                    self._register(life, protocol)
                self._life = life
                self._alive.set()
                for topic in self._topics:
                    life.nursery.start_soon(self._join_topic, life, topic)
                life.nursery.start_soon(self._keeper.run)
                try:
                    yield
                finally:
                    self._life = None
                    self._alive = trio.Event()
        finally:
            if life is not None:
                for peer in life.links.admissions():  # those whose connections could not be closed in time
                    self._emit(Gone(peer))

    def _surroundings(self) -> "Surroundings":
        from beemesh_node.network.life import Surroundings

        return Surroundings(
            self._config,
            self._peer_id,
            self._gatekeeper,
            self._counters,
            self._emit,
            self._shunned,
            self._announced,
            self._without_guards,
        )

    async def _current(self) -> "Life":
        while self._life is None:
            await self._alive.wait()
        return self._life

    def _register(self, life: "Life", protocol: str) -> None:
        async def handle(stream: Any) -> None:
            await life.facade.run_handler(stream, self._handlers[protocol])

        life.facade.set_stream_handler(protocol, handle)


@asynccontextmanager
async def open_host(
    config: HostConfig, gatekeeper: Gatekeeper, *, without_guards: Collection[str] = ()
) -> AsyncIterator[MeshHost]:
    """Open a host for the length of the block.

    A fatal fault of libp2p restarts libp2p, with back-off, and is not seen in the block: streams break, peers go and
    come. `without_guards` leaves guards out, by name: only tests that show a fault of the library do.

    Raises:
        ListenFailed: a port is in use, or none of the listen addresses could be bound.
        InvalidAddress: an address of the configuration cannot be read.
    """
    host = MeshHost(config, gatekeeper, without_guards)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            await nursery.start(host.run)
            host.datagrams.bind(config.listen)
            nursery.start_soon(host.datagrams.run)
            yield host
        except Exception as error:  # noqa: BLE001
            failure = error  # raised outside, lest the nursery wraps it
        finally:
            host.datagrams.close()
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _cause(error: Exception) -> Exception:
    """Of the nested groups that nurseries make of one exception, the exception."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
