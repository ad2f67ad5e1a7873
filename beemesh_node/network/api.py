"""What the rest of the node sees of the network: bytes in, bytes out, and who is at the other end.

Nothing here imports libp2p, so that types can be named, and commands can start, without paying for it. The network
knows nothing of certificates or payloads: whom to admit is asked of a `Gatekeeper`, what arrives is handed on as bytes.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias

import trio

from beemesh_node.protocol.ids import Cid, PeerId

HELLO = "/beemesh/hello/1"
"""Protocol of the first stream on every connection; the only one served before a peer is admitted."""


class NetworkError(Exception):
    """Base of everything that the network raises on purpose."""


class Unreachable(NetworkError):
    """No connection to the peer could be made: no address is known, or none of them answered as that peer."""


class ProtocolRefused(NetworkError):
    """The peer is connected but does not serve the protocol, or does not serve it to us."""


class StreamBroken(NetworkError):
    """The stream was reset or its connection was lost; what had not arrived will not arrive."""


class ConnectionLost(StreamBroken):
    """The stream broke because its connection is gone; the peer itself may have refused nothing."""


class StreamEnded(NetworkError):
    """The peer closed its side cleanly, between two frames: there is nothing more to read."""


class FrameTooLarge(NetworkError):
    """A frame is longer than its limit (in bytes). Its stream has been reset, because its rest cannot be skipped."""


class ListenFailed(NetworkError):
    """A port to listen on is in use, or none of the addresses is this machine's."""


class InvalidAddress(NetworkError, ValueError):
    """The text is not an address that can be listened on or dialled (see `addresses`)."""


class Refused(NetworkError):
    """Raised by a gatekeeper, with the reason, for a peer that must not be admitted; also by `Host.connect` then."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FrameStream(Protocol):
    """A two-way stream of frames, each a 4-byte big-endian length and that many bytes, to one peer.

    One task may read while another writes. A stream whose reader stops reading exerts back-pressure on its writer.
    """

    @property
    def peer(self) -> PeerId:
        """The peer at the other end, as its Noise handshake proved."""
        ...

    @property
    def admission(self) -> object:
        """What the gatekeeper gave for the connection that carries this stream; None during hello."""
        ...

    async def read_frame(self, limit: int) -> bytes:
        """Wait for the next frame of at most `limit` bytes.

        Raises:
            FrameTooLarge: the length prefix announces more than `limit`; nothing of the frame was buffered.
            StreamEnded: the peer closed its side after a whole frame.
            StreamBroken: reset, or ended within a frame; `ConnectionLost` if with its connection.
            ProtocolRefused: the peer does not serve what the stream was opened for.
        """
        ...

    async def write_frame(self, data: bytes) -> None:
        """Send one frame; returns once it is handed to the transport.

        Raises:
            FrameTooLarge: `data` cannot be announced in four bytes.
            StreamBroken: reset, or closed for writing; `ConnectionLost` if with its connection.
        """
        ...

    async def close(self) -> None:
        """Say that nothing more will be written; reading goes on until the peer closes too. Never raises."""
        ...

    async def reset(self) -> None:
        """Abandon both directions at once. Never raises."""
        ...


class Gatekeeper(Protocol):
    """Decides who is admitted. Run on both sides of each new connection, before anything else is served on it."""

    async def greet(self, stream: FrameStream, *, local: PeerId, remote: PeerId, initiator: bool) -> object:
        """Exchange whatever proves membership over `stream` and return the admission kept with the connection.

        The initiator is the side that dialled. The host bounds the time and closes the stream.

        Raises:
            Refused: the peer must not be admitted. Any other exception counts as a refusal too.
        """
        ...


class Verdict(Enum):
    """What a validator says about a gossip message."""

    ACCEPT = "accept"
    """Deliver it and pass it on."""
    IGNORE = "ignore"
    """Drop it without blame: old, known, or not ours to judge."""
    REJECT = "reject"
    """Drop it and blame the forwarder, who ought to have seen that it is bad."""


class Gossip(NamedTuple):
    """An accepted gossip message of another peer."""

    data: bytes
    forwarder: PeerId
    """The neighbour that delivered it, not necessarily its author."""


class Admitted(NamedTuple):
    """A connection to the peer was admitted. May come again without `Gone` between: the newest admission counts."""

    peer: PeerId
    admission: object


class Gone(NamedTuple):
    """The last admitted connection to the peer is closed."""

    peer: PeerId


class TurnedAway(NamedTuple):
    """A connection was closed because one side refused the other."""

    peer: PeerId
    reason: str


PeerEvent: TypeAlias = Admitted | Gone | TurnedAway
Handler: TypeAlias = Callable[[FrameStream, object], Awaitable[None]]
"""Serves one inbound stream; is given the stream and the admission of its connection. Its exceptions are contained."""
Validator: TypeAlias = Callable[[bytes, PeerId], Awaitable[Verdict]]
"""Judges a gossip message delivered by the given neighbour. Its exceptions count as IGNORE."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what peers can make this host spend. The defaults suit a mesh of hundreds of machines."""

    connections: int = 256
    """Connections at most, both directions together."""
    connections_per_peer: int = 4
    """Connections at most with one peer; two at once are normal when both sides dial."""
    connections_per_address: int = 64
    """Inbound connections at most from one IP address (many machines may share one behind NAT)."""
    handshakes: int = 32
    """Inbound connections at most that are not yet admitted; more are closed on arrival."""
    accepts_per_second: float = 32.0
    """Sustained rate of inbound connections from one IP address; bursts up to four times as many."""
    streams_per_peer: int = 64
    """Inbound streams at most that one peer may hold open."""
    streams_per_second: float = 200.0
    """Sustained rate of inbound streams of one peer; bursts up to twice as many."""
    buffered_per_connection: int = 8 << 20
    """Bytes received at most on one connection that no handler has read yet; beyond, the connection is closed."""
    stream_window: int = 1 << 20
    """Bytes that a peer may send ahead on one stream."""
    gossip_message: int = 64 << 10
    """Bytes of one gossip message at most."""
    gossip_rejections: int = 32
    """Rejected gossip messages of one forwarder within a minute after which it is disconnected."""
    hello_timeout: float = 5.0
    """Seconds for a connection to be admitted."""
    upgrade_timeout: float = 5.0
    """Seconds for the private network, Noise and Yamux handshakes together."""
    dial_timeout: float = 5.0
    """Seconds for a TCP connection to one address."""
    keepalive_interval: float = 5.0
    """Seconds between pings of a connection on which nothing arrives."""
    keepalive_timeout: float = 3.0
    """Seconds after which an unanswered ping closes the connection."""
    redial_min: float = 0.25
    """Seconds before the first redial of a wanted peer; doubles with each failure, with jitter."""
    redial_max: float = 15.0
    """Seconds between redials at most: a machine that returns is met again within this time."""
    refusal_backoff: float = 30.0
    """Seconds during which a peer that was refused is neither dialled nor greeted again."""
    restart_min: float = 0.1
    """Seconds before libp2p is started again after a fatal fault; doubles with each fault in a row."""
    restart_max: float = 10.0
    """Seconds between such starts at most."""


@dataclass(frozen=True, slots=True)
class HostConfig:
    """Everything a host needs to open."""

    identity_seed: bytes = field(repr=False)
    """Ed25519 seed, 32 bytes: the same seed is the same peer id."""
    private_network_key: bytes = field(repr=False)
    """Pre-shared key, 32 bytes: hosts with different keys cannot even begin a handshake."""
    listen: Sequence[str] = ()
    """Addresses to listen on, such as `/ip4/0.0.0.0/tcp/4001` or `/ip6/::/tcp/4001`."""
    announce: Sequence[str] = ()
    """Addresses to tell others instead of those listened on; may be names: `/dns4/a.example/tcp/4001`."""
    bootstrap: Sequence[str] = ()
    """Addresses, each ending in `/p2p/PEER`, that are dialled for ever."""
    light: bool = False
    """A command's host: does not listen, takes no part in gossip and Kademlia, starts quickly."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name, value in (("identity_seed", self.identity_seed), ("private_network_key", self.private_network_key)):
            if len(value) != 32:
                raise ValueError(f"{name} must be 32 bytes, not {len(value)}")
        if self.light and self.listen:
            raise ValueError("a light host does not listen: leave `listen` empty")


class Host(Protocol):
    """One member's presence on the network. Stays valid while libp2p is restarted underneath.

    No method bounds its own time unless it says so: callers put timeouts around.
    """

    @property
    def peer_id(self) -> PeerId:
        """Our own peer id."""
        ...

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened so far, by name: `refused.*`, `contained.*`, `connections.*`, `restarts` and more."""
        ...

    def addresses(self) -> Sequence[str]:
        """Addresses to tell others, each ending in `/p2p/` and our peer id; empty for a light host."""
        ...

    def serve(self, protocol: str, handler: Handler) -> None:
        """Serve `protocol` to admitted peers; replaces an earlier handler of the same protocol."""
        ...

    def open(self, peer: PeerId, protocol: str) -> AbstractAsyncContextManager[FrameStream]:
        """Open a stream to an admitted peer, dialling it first if it is not connected.

        The stream is closed when the block ends and reset when it ends in an exception. That the peer does not serve
        `protocol` shows when the first frame is read: `ProtocolRefused`.

        Raises:
            Unreachable: not connected, and no known address answered.
            Refused: one side refused the other.
            ConnectionLost: the connection was lost meanwhile.
        """
        ...

    async def connect(self, peer: PeerId, addresses: Sequence[str]) -> object:
        """Be connected to the peer, dialling the addresses if needed. Returns its admission.

        The addresses are remembered if they led to the peer, or if none was known: hints do not displace what is good.

        Raises:
            Unreachable: no address answered as that peer.
            Refused: one side refused the other.
        """
        ...

    async def disconnect(self, peer: PeerId, reason: str) -> None:
        """Close every connection to the peer and greet it no more until `Limits.refusal_backoff` is over."""
        ...

    @property
    def datagram_port(self) -> int:
        """The UDP port at which datagrams arrive; 0 if none do."""
        ...

    def on_datagram(self, handler: Callable[[bytes], None]) -> None:
        """Hand every datagram to `handler` from now on. It must not raise or wait; who sent it, it has to find out."""
        ...

    def send_datagram(self, peer: PeerId, port: int, data: bytes) -> None:
        """Send to this port of the machine from which the peer is, or was last, connected. It may be lost."""
        ...

    async def refuses(self, peer: PeerId, addresses: Sequence[str], within: float) -> bool:
        """Whether the machine from which the peer was last connected says that nobody listens there any more.

        Only those of `addresses` count that name that machine by the IP it had: what answers at others may be somebody
        else. False too if there is none, or no answer within so many seconds.
        """
        ...

    def peers(self) -> Mapping[PeerId, object]:
        """The admitted peers and their newest admissions, as of now."""
        ...

    def want(self, peers: Mapping[PeerId, Sequence[str]]) -> None:
        """Keep connected to these peers from now on (replacing the earlier set), besides the bootstrap addresses.

        Redials endlessly, with jittered back-off. Connections to peers no longer wanted are left alone.
        """
        ...

    def peer_events(self) -> trio.MemoryReceiveChannel[PeerEvent]:
        """A channel of what happens to connections from now on; close it to unsubscribe.

        A subscriber that falls 1,024 events behind loses the newest ones (counted): `peers()` is the truth.
        """
        ...

    async def publish(self, topic: str, data: bytes) -> None:
        """Send a message to all subscribers of `topic`. Not repeated to our own subscription.

        Raises:
            FrameTooLarge: more than `Limits.gossip_message` bytes.
            NetworkError: a light host does not gossip.
        """
        ...

    def subscribe(self, topic: str, validate: Validator) -> trio.MemoryReceiveChannel[Gossip]:
        """Take part in `topic` and get what `validate` accepts; close the channel to leave. One subscription a topic.

        A subscriber that falls 1,024 messages behind loses the newest ones (counted).
        """
        ...

    async def provide(self, cid: Cid) -> bool:
        """Announce in Kademlia that we hold a block; holds for a day. True if another peer took note."""
        ...

    async def find_providers(self, cid: Cid, limit: int = 8) -> Sequence[PeerId]:
        """Ask Kademlia who holds a block. A hint: what they say must be verified by the block's own hash."""
        ...

    async def find_addresses(self, peer: PeerId) -> Sequence[str]:
        """Ask Kademlia for addresses of a peer. A hint: only the peer's own hello proves who answers there."""
        ...
