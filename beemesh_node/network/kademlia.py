"""Kademlia under our own protocol id: addresses of peers and holders of blocks. Imports libp2p; see `library`.

Nothing here decides anything: answers are hints, verified by a peer's hello or a block's hash.
"""

import base64
import binascii
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from beemesh_node.network.counting import Counters
from beemesh_node.network.facade import HostFacade
from beemesh_node.network.guards import guarded, kad_protocol, substitute
from beemesh_node.network.guards.steady_clock import steady
from beemesh_node.network.library import ID, background_trio_service, libp2p_parts
from beemesh_node.protocol.ids import Cid, PeerId

with libp2p_parts():
    from libp2p.kad_dht import kad_dht, provider_store, routing_table, value_store
    from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
    from libp2p.peer import peerdata
    from libp2p.records.validator import NamespacedValidator

SUBSTITUTIONS = (
    *kad_protocol.SUBSTITUTIONS,
    *steady(kad_dht, provider_store, routing_table, value_store, peerdata),
)

_STREAMS = 32
"""Inbound Kademlia streams served at once."""
_ANNOUNCEMENTS = 200
"""Announcements of blocks taken from one peer in ten seconds; the library's 10 is less than one deployment makes."""
_REFRESH = 1800.0
"""Seconds between exchanges of address records with connected peers; a record is kept for two hours."""
_PARALLEL = 3


class Kademlia:
    """One life's part in Kademlia."""

    def __init__(self, facade: HostFacade, counters: Counters, without: Collection[str]) -> None:
        substitute(SUBSTITUTIONS, without)
        self._facade = facade
        self._own_id = facade.get_id()
        self._dht = guarded(KadDHT, (), counters, without)(
            facade,
            DHTMode.SERVER,
            validator=NamespacedValidator({}, strict_validation=True),  # stores no values: they serve nothing here
            validator_changed=True,
            strict_validation=True,
            max_peers_per_subnet=0,  # a mesh may live in one subnet
        )
        self._dht._inbound_limiter = trio.CapacityLimiter(_STREAMS)
        self._dht._provider_rate_max = _ANNOUNCEMENTS

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take part for the length of the block."""
        async with background_trio_service(self._dht), trio.open_nursery() as nursery:
            nursery.start_soon(self._refresh)
            yield
            nursery.cancel_scope.cancel()

    async def met(self, peer: PeerId) -> None:
        """Exchange address records with a peer just admitted, and count on it if it takes part."""
        peer_id = ID.from_string(peer)
        await self._dht.peer_routing._query_peer_for_closest(peer_id, self._own_id.to_bytes())
        await self._dht.add_peer(peer_id, skip_server_mode_check=True)

    async def _refresh(self) -> None:
        while True:
            await trio.sleep(_REFRESH)
            for peer in self._facade.get_connected_peers():
                await self.met(PeerId(str(peer)))

    async def provide(self, cid: Cid) -> bool:
        """Announce that we hold a block."""
        return bool(await self._dht.provider_store.provide(_multihash(cid)))

    async def find_providers(self, cid: Cid, limit: int) -> Sequence[PeerId]:
        """Who is said to hold a block; the library's own search stops at what it heard up to a day ago."""
        key = _multihash(cid)
        store = self._dht.provider_store
        found = {str(info.peer_id): None for info in store.get_providers(key)}
        limiter = trio.CapacityLimiter(_PARALLEL)

        async def ask(peer_id: Any) -> None:
            async with limiter:
                if len(found) <= limit:
                    providers, _ = await store._get_providers_from_peer_with_closers(peer_id, key)
                    found.update({str(info.peer_id): None for info in providers})

        async with trio.open_nursery() as nursery:
            for peer_id in await self._dht.peer_routing.find_closest_peers_network(key):
                if peer_id != self._own_id:
                    nursery.start_soon(ask, peer_id)
        found.pop(str(self._own_id), None)
        return [PeerId(peer) for peer in found][:limit]

    async def find_addresses(self, peer: PeerId) -> Sequence[str]:
        """Addresses at which the peer is said to be."""
        info = await self._dht.peer_routing.find_peer(ID.from_string(peer))
        return [str(address) for address in info.addrs] if info is not None else []


def _multihash(cid: Cid) -> bytes:
    """The multihash in a CIDv1 in base32 with the raw codec and SHA-256; raises ValueError for any other."""
    text = cid[1:].upper()
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        raw = b""
    if not cid.startswith("b") or len(raw) != 36 or raw[:4] != bytes.fromhex("01551220"):
        raise ValueError(f"{cid!r} is not a CIDv1 of a raw block with SHA-256 in base32")
    return raw[2:]
