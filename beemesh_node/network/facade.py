"""What gossipsub and Kademlia see of this node: the few methods of a libp2p host that they call. See `library`.

libp2p's own `BasicHost` is left out: it brings identify, mDNS, UPnP, relays and automatic TLS, runs tasks outside every
nursery, and lets an exception in one stream's handler end the whole swarm.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from beemesh_node.network.api import HELLO, Handler, Limits, NetworkError
from beemesh_node.network.backoff import TokenBucket
from beemesh_node.network.counting import Counters
from beemesh_node.network.frames import FAILURES, Libp2pFrameStream
from beemesh_node.network.library import Multiaddr, Multiselect, MultiselectCommunicator, PeerStoreError, SwarmException
from beemesh_node.network.links import Link, Links
from beemesh_node.network.swarm import MeshSwarm
from beemesh_node.protocol.ids import PeerId

_NEGOTIATION = 5
"""Seconds for the two sides of a stream to agree on its protocol."""


class StreamQuota:
    """How many inbound streams each peer holds, and how fast it opens them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: dict[PeerId, int] = {}
        self._rates: dict[PeerId, TokenBucket] = {}

    def enter(self, peer: PeerId) -> bool:
        """Whether the peer may have one more stream; if so, `leave` must follow."""
        rate = self._rates.get(peer)
        if rate is None:
            now = trio.current_time()
            for known in [known for known, bucket in self._rates.items() if bucket.full(now)]:
                del self._rates[known]
            rate = self._rates[peer] = TokenBucket(self._limits.streams_per_second, self._limits.streams_per_second * 2)
        count = self._open.get(peer, 0)
        if count >= self._limits.streams_per_peer or not rate.take(trio.current_time()):
            return False
        self._open[peer] = count + 1
        return True

    def leave(self, peer: PeerId) -> None:
        """One of the peer's streams ended."""
        count = self._open[peer] - 1
        if count:
            self._open[peer] = count
        else:
            del self._open[peer]


class HostFacade:
    """Hands inbound streams to their handlers, if their peer is admitted, and opens outbound ones."""

    dial: Callable[[PeerId, list[str]], Awaitable[Link]]

    def __init__(self, swarm: MeshSwarm, links: Links, limits: Limits, counters: Counters, announce: list[str]) -> None:
        self._swarm = swarm
        self._links = links
        self._counters = counters
        self._announce = announce
        self._quota = StreamQuota(limits)
        self.multiselect = Multiselect({HELLO: self._hello})
        swarm.set_stream_handler(self.accept)

    async def accept(self, stream: Any) -> None:
        """Serve one inbound stream."""
        link = self._links.of(stream.swarm_conn)
        frames = Libp2pFrameStream(stream, link.peer)
        if not self._quota.enter(link.peer):
            self._counters.refuse("streams", link.peer)
            await frames.reset()
            return
        try:
            protocol, handler = await self.multiselect.negotiate(MultiselectCommunicator(stream), _NEGOTIATION)
            if protocol != HELLO and not await self._links.wait_admitted(link):
                self._counters.refuse("before-hello", link.peer)
                await frames.reset()
                return
            stream.set_protocol(protocol)
            await handler(stream)
        finally:
            self._quota.leave(link.peer)

    async def _hello(self, stream: Any) -> None:
        link = self._links.of(stream.swarm_conn)
        await self._links.offer_hello(link, Libp2pFrameStream(stream, link.peer))

    async def run_handler(self, stream: Any, handler: Handler) -> None:
        """Serve a stream with one of the node's handlers, and end the stream as the handler ended."""
        link = self._links.of(stream.swarm_conn)
        frames = Libp2pFrameStream(stream, link.peer, link.admission)
        try:
            await handler(frames, link.admission)
        except NetworkError:
            await frames.reset()
        except Exception as error:  # noqa: BLE001
            self._counters.contain("handler", error)
            await frames.reset()
        else:
            await frames.dispose()

    # What gossipsub and Kademlia call, under libp2p's names.

    def get_id(self) -> Any:
        """Our peer id."""
        return self._swarm.get_peer_id()

    def get_network(self) -> MeshSwarm:
        """The swarm."""
        return self._swarm

    def get_peerstore(self) -> Any:
        """The swarm's store of addresses and keys."""
        return self._swarm.peerstore

    def get_private_key(self) -> Any:
        """Our Ed25519 key, which signs gossip."""
        return self._swarm.peerstore.privkey(self.get_id())

    def get_public_key(self) -> Any:
        """The public half of our Ed25519 key."""
        return self._swarm.peerstore.pubkey(self.get_id())

    def get_addrs(self) -> list[Any]:
        """The addresses to tell others."""
        return [Multiaddr(text) for text in self._announce]

    def get_connected_peers(self) -> list[Any]:
        """Peers with a connection."""
        return list(self._swarm.connections)

    def set_stream_handler(self, protocol: str, handler: Callable[[Any], Awaitable[None]]) -> None:
        """Serve `protocol` to admitted peers."""
        self.multiselect.add_handler(protocol, handler)

    def remove_stream_handler(self, protocol: str) -> None:
        """Serve `protocol` no more."""
        self.multiselect.remove_handler(protocol)

    async def new_stream(self, peer_id: Any, protocols: list[str]) -> Any:
        """Open a stream to a peer, dialling it at the addresses that Kademlia told; raises SwarmException."""
        peer = PeerId(str(peer_id))
        link = self._links.newest(peer)
        try:
            if link is None:
                link = await self.dial(peer, [str(address) for address in self._told_addresses(peer_id)])
            with trio.fail_after(_NEGOTIATION):
                return await self._links.open_raw(link, list(protocols))
        except FAILURES as error:
            raise SwarmException(f"no stream to {peer}: {error}") from error

    def _told_addresses(self, peer_id: Any) -> list[Any]:
        try:
            return list(self._swarm.peerstore.addrs(peer_id))
        except PeerStoreError:
            return []

    async def connect(self, peer_info: Any) -> None:
        """Do as if connecting failed unless connected: whom to dial is not for Kademlia to say."""
        if self._links.newest(PeerId(str(peer_info.peer_id))) is None:
            raise SwarmException(f"not connected to {peer_info.peer_id}")
