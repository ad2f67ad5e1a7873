"""The faults of the library's Yamux: each is shown without its guard, and gone with it."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from beemesh_node.network import life
from beemesh_node.network.counting import Counters
from beemesh_node.network.guards import guarded, paused_reader, receive_window, substitute
from beemesh_node.network.library import ID, BaseLibp2pError, Yamux, yamux

PEER = ID.from_string("12D3KooWGSrXQQXYp31AUbZ64eJMb3hGywN4dmzpaZW3rWW22EfF")
NONE: tuple[str, ...] = ()


class Wire:
    """One end of a connection in memory that holds so many bytes on the way, as a socket's buffers do."""

    def __init__(self, capacity: int, *, is_initiator: bool) -> None:
        self.is_initiator = is_initiator
        self.capacity = capacity
        self.arrived = bytearray()
        self.other: Wire = self
        self.closed = False
        self.frozen = False
        self.changed = trio.Event()

    def _wake(self) -> None:
        for end in (self, self.other):
            end.changed.set()
            end.changed = trio.Event()

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), self.capacity):
            piece = data[start : start + self.capacity]
            while len(self.other.arrived) + len(piece) > self.capacity and not (self.closed or self.other.closed):
                await self.changed.wait()
            if self.closed or self.other.closed:
                raise OSError("closed")
            self.other.arrived += piece
            self._wake()
        await trio.lowlevel.checkpoint()

    async def read(self, n: int | None = None) -> bytes:
        while self.frozen or not (self.arrived or self.closed or self.other.closed):
            await self.changed.wait()
        taken = bytes(self.arrived[:n])
        del self.arrived[: len(taken)]
        self._wake()
        await trio.lowlevel.checkpoint()
        return taken

    async def close(self) -> None:
        self.closed = True
        self._wake()


@asynccontextmanager
async def connection(
    *, capacity: int = 4096, without: tuple[str, ...] = NONE, **settings: Any
) -> AsyncIterator[tuple[Any, Any, Counters]]:
    """Two started muxers and the counters of both."""
    counters = Counters()
    substitute((*life.SUBSTITUTIONS, receive_window.window_limit(1 << 20)), without)
    muxer = guarded(Yamux, life.MUXER_GUARDS, counters, without)
    for name, value in {"keepalive_interval": 3600.0, **settings}.items():
        setattr(muxer, name, value)
    left, right = Wire(capacity, is_initiator=True), Wire(capacity, is_initiator=False)
    left.other, right.other = right, left
    a, b = muxer(left, PEER), muxer(right, PEER)
    async with trio.open_nursery() as nursery:
        for side in (a, b):
            nursery.start_soon(side.start)
            await side.event_started.wait()
        yield a, b, counters
        nursery.cancel_scope.cancel()


async def exchange(a: Any, b: Any, data: bytes = b"hello") -> bool:
    """Whether a new stream carries data within 2 s."""
    with trio.move_on_after(2):
        stream = await a.open_stream()
        accepted = await b.accept_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write, data)
            received = b""
            while len(received) < len(data):
                received += await accepted.read(65536)
        return received == data
    return False


PINGS = struct.pack("!BBHII", 0, yamux.TYPE_PING, yamux.FLAG_SYN, 0, 1) * 1000


@pytest.mark.parametrize("without", [NONE, ("single-writer",)])
async def test_full_buffers_both_ways_do_not_deadlock(autojump_clock: object, without: tuple[str, ...]) -> None:
    async with connection(without=without) as (a, b, _), trio.open_nursery() as nursery:
        for side in (a, b):
            nursery.start_soon(side._write_frame, PINGS)
        await trio.sleep(1)
        assert await exchange(a, b) is not bool(without)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("without", [NONE, ("single-writer",)])
async def test_who_is_cancelled_leaves_a_whole_frame(autojump_clock: object, without: tuple[str, ...]) -> None:
    """The wire here takes a frame in pieces, as a socket does whose buffer is nearly full."""
    async with connection(without=without, capacity=1 << 14) as (a, b, _):
        stream = await a.open_stream()
        accepted = await b.accept_stream()
        b.secured_conn.frozen = True
        with trio.move_on_after(1):
            await stream.write(bytes(60_000))
        b.secured_conn.frozen = False
        b.secured_conn.changed.set()
        assert await exchange(a, b) is not bool(without)
        if not without:
            received = b""
            while len(received) < 60_000:
                received += await accepted.read(65536)
            assert received == bytes(60_000)


async def test_a_writer_does_not_wait_for_a_connection_that_is_lost(autojump_clock: object) -> None:
    async def write() -> None:
        with pytest.raises(BaseLibp2pError, match="the connection is lost"):
            await a._write_frame(bytes(60_000))

    async with connection(capacity=1 << 14) as (a, b, _):
        b.secured_conn.frozen = True
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(write)
                await trio.testing.wait_all_tasks_blocked()
                await a.secured_conn.close()
            await write()


async def test_a_peer_that_takes_no_answers_is_cut_off(autojump_clock: object) -> None:
    async with connection() as (a, b, _):
        a.secured_conn.frozen = True
        with trio.move_on_after(60):
            while not b.event_closed.is_set():
                try:
                    await a.secured_conn.write(PINGS)
                except OSError:
                    await b.event_closed.wait()
        assert b.event_closed.is_set()


@pytest.mark.parametrize("without", [NONE, ("blocking-close",)])
async def test_closing_towards_a_frozen_peer_ends(autojump_clock: object, without: tuple[str, ...]) -> None:
    async with connection(without=without) as (a, b, _):
        b.secured_conn.frozen = True
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                try:
                    await a._write_frame(bytes(1 << 20))
                except (OSError, BaseLibp2pError):
                    return

            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(30) as waited:
                await a.close()
            assert waited.cancelled_caught is bool(without)
            nursery.cancel_scope.cancel()


async def test_who_is_cancelled_closes_all_the_same_and_waits_for_nothing_else(autojump_clock: object) -> None:
    async with connection() as (a, _, _):
        began = trio.current_time()
        with trio.CancelScope() as cancelled:
            cancelled.cancel()
            await a.close()
        assert cancelled.cancelled_caught
        assert a.event_closed.is_set()
        assert trio.current_time() == began


@pytest.mark.parametrize("without", [NONE, ("silent-connections",)])
async def test_silence_closes_the_connection(autojump_clock: object, without: tuple[str, ...]) -> None:
    async with connection(without=without, keepalive_interval=5.0, keepalive_timeout=3.0) as (a, b, counters):
        await trio.sleep(60)
        assert not a.event_closed.is_set()
        b.secured_conn.frozen = True
        frozen_at = trio.current_time()
        with trio.move_on_after(600):
            await a.event_closed.wait()
        assert a.event_closed.is_set() is not bool(without)
        if not without:
            assert 6.0 <= trio.current_time() - frozen_at <= 11.0, "it was asked twice"
        assert ("contained.silent-connections" in counters.view) is not bool(without)


@pytest.mark.parametrize("without", [NONE, ("receive-window",)])
async def test_what_nobody_reads_is_bounded(autojump_clock: object, without: tuple[str, ...]) -> None:
    async with connection(without=without, buffered_per_connection=1 << 20, capacity=1 << 16) as (a, b, counters):
        stream = await a.open_stream()
        await b.accept_stream()
        with trio.move_on_after(10):
            try:
                for _ in range(64):
                    stream.send_window = 1 << 20  # a peer that takes no notice of the window
                    await stream.write(bytes(1 << 16))
            except (BaseLibp2pError, OSError):
                await b.event_closed.wait()
        assert b.event_closed.is_set() is not bool(without)
        assert (sum(map(len, b.stream_buffers.values())) > 1 << 20) is bool(without)
        assert ("contained.receive-window" in counters.view) is not bool(without)


@pytest.mark.parametrize("without", [NONE, ("receive-window",)])
async def test_windows_do_not_grow_beyond_their_limit(autojump_clock: object, without: tuple[str, ...]) -> None:
    async with connection(without=without, capacity=1 << 20) as (a, b, _):
        assert await exchange(a, b, bytes(4 << 20))
        grown = max(stream.target_recv_window for stream in b.streams.values())
        assert (grown > 1 << 20) is bool(without)


@pytest.mark.parametrize("without", [NONE, ("paused-reader",)])
async def test_reading_bytewise_sends_no_update_for_every_byte(without: tuple[str, ...]) -> None:
    async with connection(without=without) as (a, b, _):
        stream = await a.open_stream()
        accepted = await b.accept_stream()
        await stream.write(bytes(100))
        window = stream.send_window
        for _ in range(100):
            await accepted.read(1)
        # Of the same connection, so that it arrives after any update.
        await accepted.write(b"read")
        assert await stream.read(4) == b"read"
        assert (stream.send_window > window) is bool(without)


async def test_a_window_held_back_is_given_before_it_is_used_up() -> None:
    async with connection(capacity=1 << 16) as (a, b, _):
        assert await exchange(a, b, bytes(1 << 20))


@pytest.mark.parametrize("without", [NONE, ("paused-reader",)])
async def test_a_reader_may_pause(autojump_clock: object, without: tuple[str, ...]) -> None:
    async with connection(without=without, capacity=1 << 20) as (a, b, _):
        stream = await a.open_stream()
        accepted = await b.accept_stream()
        broken = False

        async def write() -> None:
            nonlocal broken
            try:
                await stream.write(bytes(1 << 20))
            except BaseLibp2pError:
                broken = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await trio.sleep(30)
            received = 0
            with trio.move_on_after(10):
                while received < 1 << 20:
                    received += len(await accepted.read(65536))
        assert broken is bool(without)
        assert (received == 1 << 20) is not bool(without)


async def test_a_reader_that_never_returns_ends_the_write(autojump_clock: object) -> None:
    async with connection(capacity=1 << 20) as (a, b, _):
        stream = await a.open_stream()
        await b.accept_stream()
        started = trio.current_time()
        with pytest.raises(BaseLibp2pError, match="read nothing"):
            await stream.write(bytes(1 << 20))
        assert trio.current_time() - started < paused_reader.PATIENCE + 1


@pytest.mark.parametrize("without", [NONE, ("paused-reader",)])
async def test_reading_a_few_bytes_is_not_announced(autojump_clock: object, without: tuple[str, ...]) -> None:
    async with connection(without=without) as (a, b, _):
        stream = await a.open_stream()
        accepted = await b.accept_stream()
        announced: list[int] = []
        updating = b.streams[accepted.stream_id].send_window_update

        async def update(size: int, **options: Any) -> None:
            announced.append(size)
            await updating(size, **options)

        accepted.send_window_update = update
        for _ in range(100):
            await stream.write(b"beat")
            assert await accepted.read(4) == b"beat"
        assert (len(announced) == 100) is bool(without)
        assert bool(announced) is bool(without)


@pytest.mark.parametrize("size", [100, 65536])
async def test_windows_open_again_however_much_is_read_at_once(autojump_clock: object, size: int) -> None:
    async with connection(capacity=1 << 20) as (a, b, _), trio.open_nursery() as nursery:
        stream = await a.open_stream()
        accepted = await b.accept_stream()
        total = 600_000
        nursery.start_soon(stream.write, bytes(total))
        received = 0
        with trio.fail_after(60):
            while received < total:
                received += len(await accepted.read(size))
