"""Who is admitted: the state of every connection, from its handshake to its end. Imports libp2p; see `library`."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import trio

from beemesh_node.network.api import (
    HELLO,
    Admitted,
    ConnectionLost,
    Gatekeeper,
    Gone,
    Limits,
    NetworkError,
    PeerEvent,
    ProtocolRefused,
    Refused,
    StreamBroken,
    TurnedAway,
)
from beemesh_node.network.counting import Counters
from beemesh_node.network.frames import FAILURES, STREAM_ERRORS, Libp2pFrameStream
from beemesh_node.network.library import (
    MultiselectClient,
    MultiselectCommunicator,
    ProtocolNotSupportedError,
    SwarmException,
)
from beemesh_node.protocol.ids import PeerId

_LAST_WORD = 0.5
"""Seconds that a refused peer gets to read why."""


_PLACES = 4096
"""Peers of which that is remembered at most."""


class AdmissionRefused(SwarmException):  # type: ignore[misc]
    """Carries a refusal through libp2p's dialling, which wraps every other exception."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(eq=False, slots=True)
class Link:
    """One connection."""

    connection: Any
    peer: PeerId
    initiator: bool
    admission: object = None
    admitted: bool = False
    decided: trio.Event = field(default_factory=trio.Event)
    hello: Libp2pFrameStream | None = None
    hello_arrived: trio.Event = field(default_factory=trio.Event)

    @property
    def alive(self) -> bool:
        """Whether nothing has shown yet that the connection is lost."""
        return not (self.connection.is_closed or self.connection.muxed_conn.event_shutting_down.is_set())


class Links:
    """The connections of one life of the stack."""

    def __init__(
        self,
        local: PeerId,
        gatekeeper: Gatekeeper,
        limits: Limits,
        counters: Counters,
        emit: Callable[[PeerEvent], None],
        shunned: dict[PeerId, float],
    ) -> None:
        self._local = local
        self._gatekeeper = gatekeeper
        self._limits = limits
        self.counters = counters
        self._emit = emit
        self._shunned = shunned
        self.tell_nobody()
        self._stopping = False
        self._links: dict[Any, Link] = {}
        self._admitted: dict[PeerId, list[Link]] = {}
        self._client = MultiselectClient()
        self.places: dict[PeerId, str] = {}
        """IP address from which each peer was last connected, also of peers that are gone."""

    def tell_nobody(self) -> None:
        """Tell neither gossip nor Kademlia of connections: they do not run yet, or end."""
        self.on_admitted: Callable[[PeerId], None] = lambda peer: None
        self.on_lost: Callable[[Any], None] = lambda connection: None

    def of(self, connection: Any) -> Link:
        """The link of a libp2p connection."""
        link = self._links.get(connection)
        if link is None:
            link = Link(connection, PeerId(str(connection.muxed_conn.peer_id)), connection.direction.name == "OUTBOUND")
            self._links[connection] = link
        return link

    def newest(self, peer: PeerId) -> Link | None:
        """The newest admitted connection to the peer."""
        return next((link for link in reversed(self._admitted.get(peer, [])) if link.alive), None)

    def admissions(self) -> dict[PeerId, object]:
        """The admitted peers, each with its newest admission."""
        return {peer: links[-1].admission for peer, links in self._admitted.items()}

    def _note_place(self, link: Link) -> None:
        remote = link.connection.muxed_conn.get_remote_address()
        if remote is not None:
            self.places.pop(link.peer, None)
            self.places[link.peer] = str(remote[0])
            while len(self.places) > _PLACES:
                del self.places[next(iter(self.places))]

    def admitted_inbound(self) -> int:
        """Admitted connections that the other side dialled."""
        return sum(not link.initiator for links in self._admitted.values() for link in links)

    def shun(self, peer: PeerId) -> None:
        """Neither dial nor greet the peer until the back-off is over."""
        now = trio.current_time()
        for known in [known for known, until in self._shunned.items() if until <= now]:
            del self._shunned[known]
        self._shunned[peer] = now + self._limits.refusal_backoff

    def stop(self) -> None:
        """Admit nobody any more."""
        self._stopping = True

    def check_not_shunned(self, peer: PeerId) -> None:
        """Raise AdmissionRefused if the peer was refused a moment ago."""
        if self._shunned.get(peer, 0.0) > trio.current_time():
            self.counters.refuse("shunned", peer)
            raise AdmissionRefused("refused a moment ago")

    async def admit(self, connection: Any) -> Link:
        """Run hello on a new connection.

        Raises:
            AdmissionRefused: the gatekeeper's answer, or none in time. The caller closes the connection.
        """
        link = self.of(connection)
        try:
            self.check_not_shunned(link.peer)
            link.admission = await self._greet(link)
            if self._stopping or not link.alive:
                raise AdmissionRefused("the connection was lost during hello")
            link.admitted = True
            self._note_place(link)
            self._admitted.setdefault(link.peer, []).append(link)
        finally:
            link.decided.set()
        self.counters.add("connections.admitted")
        self._emit(Admitted(link.peer, link.admission))
        self.on_admitted(link.peer)
        return link

    async def _greet(self, link: Link) -> object:
        with trio.move_on_after(self._limits.hello_timeout):
            try:
                if link.initiator:
                    link.hello = await self.open_on(link, HELLO)
                else:
                    await link.hello_arrived.wait()
                assert link.hello is not None  # noqa: S101 - the event is set after the stream
                admission = await self._gatekeeper.greet(
                    link.hello, local=self._local, remote=link.peer, initiator=link.initiator
                )
                await link.hello.close()
                return admission
            except Refused as refusal:
                return await self._turn_away(link, refusal.reason)
            except FAILURES as error:
                self.counters.refuse("hello-broken", link.peer)
                raise AdmissionRefused(f"hello broke off: {error}") from error
            except Exception as error:  # noqa: BLE001
                self.counters.contain("gatekeeper", error)
                return await self._turn_away(link, f"the gatekeeper failed: {error!r}")
        self.counters.refuse("hello-timeout", link.peer)
        raise AdmissionRefused(f"hello was not finished within {self._limits.hello_timeout} s")

    async def _turn_away(self, link: Link, reason: str) -> object:
        self.counters.refuse("hello", link.peer)
        self.shun(link.peer)
        self._emit(TurnedAway(link.peer, reason))
        if link.hello is not None:
            await link.hello.close()
            with trio.move_on_after(_LAST_WORD), suppress(NetworkError):
                while True:
                    await link.hello.read_frame(1 << 16)
        raise AdmissionRefused(reason)

    async def offer_hello(self, link: Link, stream: Libp2pFrameStream) -> None:
        """Take the hello stream that the dialling side opened, and keep it until the decision."""
        if link.initiator or link.hello is not None:
            self.counters.refuse("second-hello", link.peer)
            await stream.reset()
            return
        link.hello = stream
        link.hello_arrived.set()
        await link.decided.wait()

    async def wait_admitted(self, link: Link) -> bool:
        """Whether the link's peer may be served; waits while a hello is being exchanged, but not for one to begin."""
        if not link.decided.is_set() and (link.initiator or link.hello is not None):
            await link.decided.wait()
        return link.admitted

    async def open_on(self, link: Link, protocol: str) -> Libp2pFrameStream:
        """Open a stream for `protocol` on this connection; whether the other side serves it shows when it answers.

        Raises:
            ConnectionLost: the connection is lost.
            StreamBroken: it is silent.
        """
        stream = await self._new_stream(link)
        stream.set_protocol(protocol)
        return Libp2pFrameStream(stream, link.peer, link.admission, proposed=protocol)

    async def open_raw(self, link: Link, protocols: list[str]) -> Any:
        """Open a libp2p stream for the first of `protocols` that the other side serves.

        Raises:
            ProtocolRefused: the other side serves none of them.
            StreamBroken: the connection is lost or silent.
        """
        stream = await self._new_stream(link)
        communicator = MultiselectCommunicator(stream)
        try:
            await self._client.handshake(communicator)
            for protocol in protocols:
                with suppress(ProtocolNotSupportedError):
                    stream.set_protocol(await self._client.try_select(communicator, protocol))
                    return stream
            raise ProtocolRefused(f"{link.peer} does not serve {' or '.join(protocols)}")
        except BaseException as error:
            await Libp2pFrameStream(stream, link.peer).reset()
            if isinstance(error, STREAM_ERRORS):
                raise StreamBroken(f"{link.peer} did not agree on {protocols[0]}: {error}") from error
            raise

    async def _new_stream(self, link: Link) -> Any:
        try:
            return await link.connection.new_stream()
        except STREAM_ERRORS as error:
            if not link.alive:
                raise ConnectionLost(f"the connection to {link.peer} was lost") from error
            raise StreamBroken(f"cannot open a stream to {link.peer}: {error or type(error).__name__}") from error

    async def close_all(self, peer: PeerId) -> None:
        """Close every connection to the peer."""
        async with trio.open_nursery() as nursery:
            for link in [link for link in self._links.values() if link.peer == peer]:
                nursery.start_soon(link.connection.close)

    def closed(self, connection: Any) -> None:
        """Forget a connection that is closed or lost."""
        link = self._links.pop(connection, None)
        if link is None:
            return
        link.decided.set()
        if not link.admitted:
            return
        self.counters.add("connections.ended")
        remaining = self._admitted[link.peer]
        was_newest = remaining[-1] is link
        remaining.remove(link)
        if not remaining:
            del self._admitted[link.peer]
            self._emit(Gone(link.peer))
        elif was_newest:
            self._emit(Admitted(link.peer, remaining[-1].admission))
        self.on_lost(connection)
