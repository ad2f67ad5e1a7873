"""The sealed stream after an answer: its end is told from a cut, and no frame can be altered, repeated or left out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from beemesh_node.messaging.duplex import SealedDuplex
from beemesh_node.messaging.errors import PeerRefused
from beemesh_node.messaging.exchange import Continued, Question
from beemesh_node.messaging.wire import MAX_STREAM_FRAME
from beemesh_node.network.api import FrameStream
from beemesh_node.protocol.messages import Ack, BlockRequest
from beemesh_node.protocol.sealed_stream import FrameKind, SealedStream, StreamFrame
from tests.node.messaging.party import QUERY, SECONDS, party, until
from tests.node.protocol.mesh import Mesh

SECRET = bytes(range(32))
Serve = Callable[[FrameStream, bytes], Awaitable[None]]


@asynccontextmanager
async def asked(mesh: Mesh, serve: Serve) -> AsyncIterator[SealedDuplex]:
    """The asker's end of a stream of which `serve` has the other; it is given the question's id."""

    async def answer(question: Question) -> Continued:
        return Continued(Ack(), lambda stream: serve(stream, question.message_id))

    async with party(mesh) as alice, party(mesh, handlers={BlockRequest: answer}) as bob:
        contact = await alice.meet(bob)
        async with (
            alice.exchange.open(contact, QUERY, Ack) as (_, stream, message_id),
            SealedDuplex(stream, SECRET, message_id, asker=True) as duplex,
        ):
            yield duplex


async def test_both_ways_and_an_end(mesh: Mesh) -> None:
    heard: list[tuple[FrameKind, bytes]] = []

    async def serve(stream: FrameStream, message_id: bytes) -> None:
        async with SealedDuplex(stream, SECRET, message_id, asker=False) as duplex:
            heard.append(await duplex.receive())
            await duplex.send(FrameKind.STDOUT, b"heard")
        heard.append(await duplex.receive())

    async with asked(mesh, serve) as duplex:
        await duplex.send(FrameKind.STDIN, b"said")
        assert await duplex.receive() == (FrameKind.STDOUT, b"heard")
        assert await duplex.receive() == (FrameKind.END, b"")
        await duplex.end()
        await duplex.end()
        await until(lambda: len(heard) == 2)
    assert heard == [(FrameKind.STDIN, b"said"), (FrameKind.END, b"")]


def sealed(message_id: bytes, count: int) -> list[bytes]:
    end = SealedStream(SECRET, message_id, asker=False)
    return [end.seal(StreamFrame(FrameKind.STDOUT, b"%d" % number)) for number in range(count)]


def altered(frames: list[bytes]) -> list[bytes]:
    return [frames[0], frames[1][:-1] + bytes([frames[1][-1] ^ 1])]


def repeated(frames: list[bytes]) -> list[bytes]:
    return [frames[0], frames[0]]


def left_out(frames: list[bytes]) -> list[bytes]:
    return [frames[0], frames[2]]


@pytest.mark.parametrize("change", [altered, repeated, left_out], ids=lambda change: change.__name__)
async def test_what_is_changed_on_the_way_is_noticed(mesh: Mesh, change: Callable[[list[bytes]], list[bytes]]) -> None:
    async def serve(stream: FrameStream, message_id: bytes) -> None:
        for frame in change(sealed(message_id, 3)):
            await stream.write_frame(frame)

    async with asked(mesh, serve) as duplex:
        assert await duplex.receive() == (FrameKind.STDOUT, b"0")
        with pytest.raises(PeerRefused, match="the stream was altered on the way"):
            await duplex.receive()


@pytest.mark.parametrize("clean", [True, False])
async def test_a_cut_is_told_from_an_end(mesh: Mesh, clean: bool) -> None:
    async def serve(stream: FrameStream, message_id: bytes) -> None:
        await stream.read_frame(MAX_STREAM_FRAME)
        await (stream.close() if clean else stream.reset())

    async with asked(mesh, serve) as duplex:
        await duplex.send(FrameKind.STDIN, b"")
        with pytest.raises(PeerRefused, match="cut before its end: what was shown may be incomplete"):
            await duplex.receive()


async def test_sending_to_who_is_gone(mesh: Mesh) -> None:
    async def serve(stream: FrameStream, message_id: bytes) -> None:
        await stream.read_frame(MAX_STREAM_FRAME)
        await stream.reset()

    async def send_for_ever(duplex: SealedDuplex) -> None:
        while True:
            await duplex.send(FrameKind.STDIN, bytes(10_000))

    async with asked(mesh, serve) as duplex:
        with trio.fail_after(SECONDS), pytest.raises(PeerRefused, match="the stream was cut"):
            await send_for_ever(duplex)
