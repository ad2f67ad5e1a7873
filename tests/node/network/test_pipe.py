"""A relay splices two streams."""

import os

import pytest
import trio

from beemesh_node.network.api import FrameStream, StreamBroken, StreamEnded
from beemesh_node.network.host import MeshHost
from beemesh_node.network.pipe import pipe

from .meshing import ECHO, FRAME, host, link

RELAY = "/beemesh/relay/1"


def relay_to(relay: MeshHost, target: MeshHost, limit: int = FRAME) -> None:
    async def handler(stream: FrameStream, admission: object) -> None:
        async with relay.open(target.peer_id, ECHO) as onward:
            await pipe(stream, onward, limit)

    relay.serve(RELAY, handler)


async def test_frames_pass_both_ways_and_the_end_too() -> None:
    async with host("a") as a, host("relay") as relay, host("b") as b:
        await link(a, relay)
        await link(relay, b)
        relay_to(relay, b)
        async with a.open(relay.peer_id, RELAY) as stream:
            for size in (0, 10, 1 << 20):
                data = os.urandom(size)
                await stream.write_frame(data)
                assert await stream.read_frame(FRAME) == data
            await stream.close()
            with pytest.raises(StreamEnded):
                await stream.read_frame(FRAME)


async def test_a_broken_side_breaks_the_other() -> None:
    async with host("a") as a, host("relay") as relay, host("b") as b:
        await link(a, relay)
        await link(relay, b)
        relay_to(relay, b)
        async with a.open(relay.peer_id, RELAY) as stream:
            await stream.write_frame(b"x")
            assert await stream.read_frame(FRAME) == b"x"
            await relay.disconnect(b.peer_id, "test")
            with trio.fail_after(5), pytest.raises((StreamBroken, StreamEnded)):
                await stream.read_frame(FRAME)


async def test_a_frame_beyond_the_limit_ends_the_relay() -> None:
    async with host("a") as a, host("relay") as relay, host("b") as b:
        await link(a, relay)
        await link(relay, b)
        relay_to(relay, b, limit=1000)
        async with a.open(relay.peer_id, RELAY) as stream:
            await stream.write_frame(bytes(1001))
            with trio.fail_after(5), pytest.raises(StreamBroken):
                await stream.read_frame(FRAME)
