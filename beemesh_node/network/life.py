"""One life of the libp2p stack, from start to its end or fatal fault. Imports libp2p; see `library`."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from beemesh_node.network.addresses import parse
from beemesh_node.network.api import Gatekeeper, HostConfig, ListenFailed, PeerEvent
from beemesh_node.network.counting import Counters
from beemesh_node.network.dialer import Dialer
from beemesh_node.network.facade import HostFacade
from beemesh_node.network.library import (
    ID,
    NOISE,
    YAMUX,
    ConnectionConfig,
    Multiaddr,
    NoiseTransport,
    PeerStore,
    RetryConfig,
    TransportUpgrader,
    Yamux,
    background_trio_service,
    create_new_key_pair,
    create_new_x25519_key_pair,
)
from beemesh_node.network.links import Links
from beemesh_node.network.swarm import MeshSwarm
from beemesh_node.network.transport import MeshTCP
from beemesh_node.protocol.ids import PeerId


@dataclass(frozen=True, slots=True)
class Life:
    """The running parts."""

    links: Links
    dialer: Dialer
    facade: HostFacade
    swarm: MeshSwarm

    def listening(self) -> Sequence[str]:
        """The addresses bound, with their true ports."""
        return [str(address) for listener in self.swarm.listeners.values() for address in listener.get_addrs()]


@asynccontextmanager
async def live(
    config: HostConfig,
    local: PeerId,
    gatekeeper: Gatekeeper,
    counters: Counters,
    emit: Callable[[PeerEvent], None],
    shunned: dict[PeerId, float],
    announce: list[str],
) -> AsyncIterator[Life]:
    """Run the stack for the length of the block; a fatal fault of it cancels the block and comes out of it."""
    limits = config.limits
    key_pair = create_new_key_pair(config.identity_seed)
    own_id = ID.from_pubkey(key_pair.public_key)
    store = PeerStore()
    store.add_key_pair(own_id, key_pair)
    links = Links(local, gatekeeper, limits, counters, emit, shunned)
    swarm = MeshSwarm(
        own_id,
        store,
        TransportUpgrader(
            {NOISE: NoiseTransport(key_pair, noise_privkey=create_new_x25519_key_pair().private_key)},
            {YAMUX: Yamux},
        ),
        transports=[MeshTCP()],
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
    )
    facade = HostFacade(swarm, links, limits, counters, announce)
    async with background_trio_service(swarm):
        if config.listen and not await swarm.listen(*[Multiaddr(str(parse(text))) for text in config.listen]):
            raise ListenFailed(f"none of {', '.join(config.listen)} could be bound: is another daemon using the port?")
        yield Life(links, Dialer(swarm, links, limits, counters), facade, swarm)
