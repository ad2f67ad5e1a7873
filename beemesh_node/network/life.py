"""One life of the libp2p stack, from start to its end or fatal fault. Imports libp2p; see `library`."""

import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio

from beemesh_node.network.addresses import Address, parse
from beemesh_node.network.api import Gatekeeper, HostConfig, ListenFailed, PeerEvent
from beemesh_node.network.counting import Counters
from beemesh_node.network.dialer import Dialer
from beemesh_node.network.facade import HostFacade
from beemesh_node.network.guards import (
    accept_limits,
    blocking_close,
    guarded,
    inbound_slots,
    ipv6_remotes,
    long_lines,
    older_records,
    own_keys,
    paused_reader,
    receive_window,
    root_logger,
    silent_connections,
    single_writer,
    stale_connections,
    stream_faults,
    substitute,
)
from beemesh_node.network.guards.steady_clock import steady
from beemesh_node.network.library import (
    ID,
    NOISE,
    ConnectionConfig,
    Multiaddr,
    NoiseTransport,
    PeerStore,
    RetryConfig,
    Yamux,
    background_trio_service,
    create_new_key_pair,
    create_new_x25519_key_pair,
    swarm_connection,
    swarm_module,
)
from beemesh_node.network.links import Links
from beemesh_node.network.swarm import MeshSwarm
from beemesh_node.network.transport import MeshTCP, MeshUpgrader
from beemesh_node.protocol.ids import PeerId

if TYPE_CHECKING:
    from beemesh_node.network.gossip import Gossiper
    from beemesh_node.network.kademlia import Kademlia

_log = logging.getLogger("beemesh.network")

MUXER_GUARDS = (single_writer.GUARD, blocking_close.GUARD, silent_connections.GUARD, receive_window.GUARD)
SWARM_GUARDS = (inbound_slots.GUARD, stale_connections.GUARD, accept_limits.GUARD)
FACADE_GUARDS = (stream_faults.GUARD,)
STORE_GUARDS = (own_keys.GUARD, older_records.GUARD)
SUBSTITUTIONS = (
    root_logger.SUBSTITUTION,
    paused_reader.SUBSTITUTION,
    long_lines.SUBSTITUTION,
    ipv6_remotes.SUBSTITUTION,
    *steady(swarm_module, swarm_connection),
)

_FAREWELL = 3.0
"""Seconds for closing all connections at the end."""
_INTERFACES_EVERY = 10.0
"""Seconds between two looks at the addresses of this machine's interfaces."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What outlives a life of the stack."""

    config: HostConfig
    local: PeerId
    gatekeeper: Gatekeeper
    counters: Counters
    emit: Callable[[PeerEvent], None]
    shunned: dict[PeerId, float]
    announced: list[str]
    without_guards: Collection[str] = ()
    """Guards left out, by name: only in tests that show a fault."""


@dataclass(slots=True)
class Life:
    """The running parts."""

    links: Links
    dialer: Dialer
    facade: HostFacade
    swarm: MeshSwarm
    nursery: trio.Nursery
    gossiper: "Gossiper | None" = None
    kademlia: "Kademlia | None" = None

    def listening(self) -> Sequence[Address]:
        """The addresses bound, with their true ports."""
        return [parse(str(address)) for listener in self.swarm.listeners.values() for address in listener.get_addrs()]


@asynccontextmanager
async def live(around: Surroundings) -> AsyncIterator[Life]:
    """Run the stack for the length of the block; a fatal fault of it cancels the block and comes out of it."""
    config, limits, counters, without = around.config, around.config.limits, around.counters, around.without_guards
    substitute((*SUBSTITUTIONS, receive_window.window_limit(limits.stream_window)), without)
    links = Links(around.local, around.gatekeeper, limits, counters, around.emit, around.shunned)
    tcp = MeshTCP()
    swarm = _make_swarm(config, tcp, links, counters, without)
    facade = guarded(HostFacade, FACADE_GUARDS, counters, without)(swarm, links, limits, counters, around.announced)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_running(swarm))
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        dialer = Dialer(swarm, links, limits, counters, nursery)
        facade.dial = dialer.link
        life = Life(links, dialer, facade, swarm, nursery)
        if not config.light:
            await _join(life, tcp, around, stack)
        yield life


async def _join(life: Life, tcp: MeshTCP, around: Surroundings, stack: AsyncExitStack) -> None:
    """Listen, and take part in gossip and Kademlia."""
    from beemesh_node.network.gossip import Gossiper  # 20 ms that a light host saves
    from beemesh_node.network.interfaces import expand
    from beemesh_node.network.kademlia import Kademlia

    config, limits = around.config, around.config.limits
    links, nursery = life.links, life.nursery

    def blame(peer: PeerId) -> None:
        links.shun(peer)
        nursery.start_soon(links.close_all, peer)

    life.gossiper = gossiper = Gossiper(life.facade, limits, around.counters, blame, around.without_guards)
    life.kademlia = kademlia = Kademlia(life.facade, around.counters, around.without_guards)
    links.on_admitted = lambda peer: nursery.start_soon(kademlia.met, peer)
    links.on_lost = lambda connection: gossiper.connection_lost(connection.muxed_conn.peer_id, connection)
    await _listen(life, tcp, config.listen)

    def announce() -> None:
        addresses = [parse(text) for text in config.announce] or expand(life.listening())
        around.announced[:] = [str(replace(address, peer=around.local)) for address in addresses]

    async def follow_interfaces() -> None:
        while True:
            await trio.sleep(_INTERFACES_EVERY)
            with suppress(OSError):  # the next look may succeed
                announce()

    announce()
    if config.listen and not around.announced:
        _log.warning("no interface has an address that others could dial: nobody is told any until one has")
    nursery.start_soon(follow_interfaces)
    await stack.enter_async_context(gossiper.running())
    await stack.enter_async_context(kademlia.running())
    stack.callback(links.tell_nobody)  # what ends takes no more tasks


async def _listen(life: Life, tcp: MeshTCP, listen: Sequence[str]) -> None:
    """Listen wherever this machine can: one without IPv6, say, is reached by the rest."""
    bound = not listen or await life.swarm.listen(*[Multiaddr(str(parse(text))) for text in listen])
    if tcp.taken:
        raise ListenFailed(f"{', '.join(tcp.taken)}: the port is in use, by another process or entry of `listen`")
    if not bound:
        raise ListenFailed(f"none of {', '.join(listen)} could be bound: this machine has no such address")


def _make_swarm(
    config: HostConfig, tcp: MeshTCP, links: Links, counters: Counters, without: Collection[str]
) -> MeshSwarm:
    limits = config.limits
    key_pair = create_new_key_pair(config.identity_seed)
    own_id = ID.from_pubkey(key_pair.public_key)
    store = guarded(PeerStore, STORE_GUARDS, counters, without)()
    store.add_key_pair(own_id, key_pair)
    muxer = guarded(Yamux, MUXER_GUARDS, counters, without)
    muxer.keepalive_interval = limits.keepalive_interval
    muxer.keepalive_timeout = limits.keepalive_timeout
    muxer.buffered_per_connection = limits.buffered_per_connection
    swarm: MeshSwarm = guarded(MeshSwarm, SWARM_GUARDS, counters, without)(
        own_id,
        store,
        MeshUpgrader(
            {NOISE: NoiseTransport(key_pair, noise_privkey=create_new_x25519_key_pair().private_key)},
            muxer,
        ),
        transports=[tcp],
        retry_config=RetryConfig(max_retries=0),
        connection_config=ConnectionConfig(
            max_connections=limits.connections,
            min_connections=0,
            low_watermark=0,
            high_watermark=limits.connections,
            max_connections_per_peer=limits.connections_per_peer,
            inbound_upgrade_timeout=limits.upgrade_timeout,
            outbound_upgrade_timeout=limits.upgrade_timeout,
        ),
        psk=config.private_network_key.hex(),
        links=links,
        limits=limits,
    )
    return swarm


@asynccontextmanager
async def _running(swarm: MeshSwarm) -> AsyncIterator[None]:
    """Run the swarm for the length of the block, and then until all peers were told, even if the block is cancelled."""

    async def run(task_status: "trio.TaskStatus[trio.CancelScope]") -> None:
        with trio.CancelScope(shield=True) as scope:
            async with background_trio_service(swarm):
                task_status.started(scope)
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        scope = await nursery.start(run)
        try:
            yield
        finally:
            with trio.move_on_after(_FAREWELL) as farewell:
                farewell.shield = True
                swarm.links.stop()
                for listener in swarm.listeners.values():
                    await listener.close()
                async with trio.open_nursery() as closing:
                    connections = swarm.get_connections()
                    for connection in connections:
                        closing.start_soon(connection.close)
                    for connection in connections:
                        await connection.muxed_conn.event_closed.wait()
                    closing.cancel_scope.cancel()  # the library would sleep for another 0.2 s
            scope.cancel()
