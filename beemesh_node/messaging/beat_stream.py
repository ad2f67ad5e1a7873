"""A long-lived stream of session frames between a machine and its watcher: see `protocol.beats`."""

from __future__ import annotations

from typing import final

import trio

from beemesh_node.messaging.directory import Contact
from beemesh_node.network.api import FrameStream, ProtocolRefused
from beemesh_node.protocol.beats import MAX_BEAT_FRAME, NONCE_SIZE, BeatSession, Said, new_nonce
from beemesh_node.protocol.counters import RefusalCounters
from beemesh_node.protocol.ids import PeerId

BEATS = "/beemesh/beats/1"
"""Protocol of these streams. Who opens one watches, or asks; who answers beats."""


@final
class BeatStream:
    """One end. Several tasks may send."""

    def __init__(self, stream: FrameStream, session: BeatSession) -> None:
        self._stream = stream
        self._session = session
        self._sending = trio.Lock()

    @property
    def peer(self) -> PeerId:
        """The peer at the other end."""
        return self._stream.peer

    @property
    def id(self) -> bytes:
        """With which the datagrams of this stream begin."""
        return self._session.id

    def datagram(self) -> bytes:
        """Return the next beat as a datagram; for who answered the stream."""
        return self._session.datagram()

    def is_beat(self, datagram: bytes) -> bool:
        """Whether a datagram with this stream's id is a new beat; for who opened the stream."""
        return self._session.is_beat(datagram)

    async def send(self, said: Said) -> None:
        """Say something. Raises `NetworkError` as `FrameStream.write_frame`."""
        async with self._sending:
            await self._stream.write_frame(self._session.seal(said))

    async def receive(self) -> Said:
        """Wait for what the other end says.

        Raises `NetworkError` as `FrameStream.read_frame`, and `protocol.beats.REFUSALS`: then close the stream.
        """
        return self._session.open(await self._stream.read_frame(MAX_BEAT_FRAME))


async def begin(stream: FrameStream, counters: RefusalCounters) -> BeatStream:
    """Agree on keys as the side that opened the stream. Raises `NetworkError` and `protocol.beats.REFUSALS`."""
    ours = new_nonce()
    await stream.write_frame(ours)
    return _stream(stream, ours, await stream.read_frame(NONCE_SIZE), counters, opener=True)


async def accept(stream: FrameStream, counters: RefusalCounters) -> BeatStream:
    """Agree on keys as the other side. Raises as `begin`."""
    ours, theirs = new_nonce(), await stream.read_frame(NONCE_SIZE)
    await stream.write_frame(ours)
    return _stream(stream, theirs, ours, counters, opener=False)


def _stream(
    stream: FrameStream, opener_nonce: bytes, answerer_nonce: bytes, counters: RefusalCounters, *, opener: bool
) -> BeatStream:
    admission = stream.admission
    if not isinstance(admission, Contact) or admission.session_keys is None:
        raise ProtocolRefused(f"{stream.peer}: no hello has agreed on keys for this connection")
    keys = admission.session_keys
    return BeatStream(stream, BeatSession(keys, opener_nonce, answerer_nonce, counters, opener=opener))
