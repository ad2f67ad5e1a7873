"""Metrics: what is counted is shown, nobody is named, and whoever asks badly gets an answer and does no harm."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from beemesh_node.daemon.metrics import http
from beemesh_node.daemon.metrics.exposition import Exposition
from beemesh_node.daemon.metrics.http import MAX_HEAD, MetricsServer
from beemesh_node.daemon.metrics.sources import Sources
from beemesh_node.daemon.registry import Holding
from beemesh_node.healing.core import Core
from beemesh_node.healing.effects import StartPod
from beemesh_node.healing.events import DeclarationStored, PodChanged
from beemesh_node.protocol.counters import Refusal
from beemesh_node.protocol.record import AttestedRecord, Record
from tests.node.healing.support import WEB, core_of, of, status

GET = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n"


def holding(deleted: bool) -> Holding:
    record = Record(b"m" * 32, "default", "Deployment", "web", "u", bytes(16), 1, 9, b"", deleted, "", b"", (), 0)
    return Holding(AttestedRecord(record, None, b"raw"), None, {})  # type: ignore[arg-type]


def sources(core: Core) -> Sources:
    return Sources(
        core=core,
        registry=[holding(False), holding(True), holding(False)],
        detection=lambda: {"watched": 4, "heard": 3, "suspicions": 5, "suspicions.false": 2, "beats.sent.datagram": 70},
        refused=lambda: {Refusal.REPLAYED.value: 6},
        network=lambda: {"refused.hello": 7, "contained.kad_protocol": 8, "connections.admitted": 9},
        peers=lambda: 3,
        runtime_ready=lambda: True,
        faults=lambda: 1,
        not_after=lambda: 1_800_000_000_500,
    )


def families(text: bytes) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def values(text: bytes) -> Mapping[str, float]:
    """Every sample: its value by name and labels, as they are written."""
    found = {}
    for family in families(text).values():
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def at_work() -> Core:
    """A machine that is alone, was given one replica, and has had it ready 0.4 s later."""
    core = core_of()
    (begun,) = of(core.handle(DeclarationStored(WEB, True), 10.0), StartPod)
    core.handle(PodChanged(status(begun.identity)), 10.4)
    return core


def test_what_happened_is_shown() -> None:
    found = values(Exposition(sources(at_work())).text())
    expected = {
        "beemesh_members{state=ready}": 1,
        "beemesh_workloads_coordinated{state=complete}": 1,
        "beemesh_claims{phase=running}": 1,
        "beemesh_claims_ready": 1,
        "beemesh_placement_duration_seconds_count": 1,
        "beemesh_placement_duration_seconds_bucket{le=0.35}": 0,
        "beemesh_placement_duration_seconds_bucket{le=0.5}": 1,
        "beemesh_placement_duration_seconds_bucket{le=+Inf}": 1,
        "beemesh_placement_rounds_total{outcome=placed}": 1,
        "beemesh_bids_total": 1,
        "beemesh_bid_refusals_total{reason=cpu}": 0,
        "beemesh_slots_accepted_total": 1,
        "beemesh_suspicions_total": 5,
        "beemesh_false_suspicions_total": 2,
        "beemesh_deaths_total": 0,
        "beemesh_beats_sent_total{way=datagram}": 70,
        "beemesh_beats_sent_total{way=stream}": 0,
        "beemesh_watched_members": 4,
        "beemesh_heard_members": 3,
        "beemesh_connected_peers": 3,
        "beemesh_refused_messages_total{reason=replayed}": 6,
        "beemesh_refused_messages_total{reason=stale}": 0,
        "beemesh_network_refusals_total{reason=hello}": 7,
        "beemesh_network_contained_faults_total{guard=kad_protocol}": 8,
        "beemesh_network_events_total{event=connections.admitted}": 9,
        "beemesh_lease_renewals_total": 0,
        "beemesh_lease_answers_total{answer=held}": 0,
        "beemesh_records{state=declared}": 2,
        "beemesh_records{state=deleted}": 1,
        "beemesh_runtime_ready": 1,
        "beemesh_faults_total": 1,
        "beemesh_certificate_not_after_seconds": 1_800_000_000.5,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert abs(found["beemesh_placement_duration_seconds_sum"] - 0.4) < 1e-9
    assert found["beemesh_pq_operations_total{operation=verify}"] >= 0
    assert found["process_cpu_seconds_total"] > 0
    assert found["process_resident_memory_bytes"] > 0


def test_nobody_is_named() -> None:
    text = Exposition(sources(at_work())).text()
    allowed = {"state", "phase", "le", "outcome", "reason", "way", "guard", "event", "answer", "operation", "version"}
    for family in families(text).values():
        for sample in family.samples:
            assert set(sample.labels) <= allowed, sample
            assert not {"u", "web", "me", "default"} & set(sample.labels.values()), sample
    assert len(text.splitlines()) < 400


def test_every_metric_has_a_help_text() -> None:
    for name, family in families(Exposition(sources(core_of())).text()).items():
        assert family.documentation.endswith(".") or name.startswith("process_"), name


# ---- the port


@asynccontextmanager
async def served(expose: Callable[[], bytes] = lambda: b"up 1\n") -> AsyncIterator[int]:
    """A server on a port of its own, told once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(MetricsServer(expose).run, "127.0.0.1", port)
        await connected(port)
        yield port
        nursery.cancel_scope.cancel()


async def connected(port: int) -> None:
    with trio.fail_after(10):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.01)
            else:
                await stream.aclose()
                return


async def ask(port: int, request: bytes, *, end: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Send, read until the server closes, and return status, header fields and body."""
    with trio.fail_after(10):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(request)
            if end:
                await stream.send_eof()
            answer = b"".join([part async for part in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    assert line.startswith("HTTP/1.1 ")
    header = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
    assert int(header["content-length"]) == len(body)
    return int(line.split(" ")[1]), header, body


async def test_metrics_are_read() -> None:
    async with served(Exposition(sources(at_work())).text) as port:
        for request in (GET, b"GET /metrics?x=1 HTTP/1.0\r\n\r\n"):
            code, header, body = await ask(port, request)
            assert (code, header["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
            assert values(body)["beemesh_bids_total"] == 1


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 900000\r\n\r\n" + bytes(900_000), 405),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/../state HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics HTTP/2.0\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /metrics\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /" + b"a" * MAX_HEAD + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 50_000 + b"\r\n", 431),
    ],
)
async def test_a_bad_request_is_told_so_and_the_next_one_served(request_: bytes, code: int) -> None:
    async with served() as port:
        found, header, body = await ask(port, request_)
        assert found == code
        assert body.endswith(b"\n")
        assert header.get("allow") == ("GET" if code == 405 else None)
        assert (await ask(port, GET))[0] == 200


async def test_half_a_request_is_no_request() -> None:
    async with served() as port:
        assert (await ask(port, GET[:20], end=True))[0] == 400


async def test_who_is_slow_is_cut_off_and_keeps_nobody_waiting_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WITHIN", 0.3)
    answers: list[int] = []

    async def dawdle(port: int) -> None:
        answers.append((await ask(port, b"GET /metr"))[0])

    async with served() as port:
        async with trio.open_nursery() as slow:
            for _ in range(12):
                slow.start_soon(dawdle, port)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert (await ask(port, GET))[0] == 200
        assert answers == [408] * 12


async def test_who_hangs_up_does_no_harm() -> None:
    async with served() as port:
        for sent in (b"", b"GET", GET):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closes with a reset
            await stream.send_all(sent)
            await stream.aclose()
        assert (await ask(port, GET))[0] == 200


async def test_a_fault_is_an_answer_too() -> None:
    faults: Iterator[bytes] = iter((b"up 1\n",))

    def expose() -> bytes:
        if not broken:
            return next(faults)
        broken.clear()
        raise ZeroDivisionError

    broken = [True]
    async with served(expose) as port:
        assert (await ask(port, GET))[0] == 500
        assert (await ask(port, GET))[::2] == (200, b"up 1\n")


async def test_asking_often_costs_little(autojump_clock: trio.testing.MockClock) -> None:
    calls = []

    def expose() -> bytes:
        calls.append(None)
        return b"%d\n" % len(calls)

    server = MetricsServer(expose)
    assert [server._current() for _ in range(3)] == [b"1\n"] * 3
    await trio.sleep(1.1)
    assert server._current() == b"2\n"


async def test_a_port_that_is_taken_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BIND_AGAIN", 0.05)
    other = socket.socket()
    other.bind(("127.0.0.1", 0))
    other.listen(1)
    port = other.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(MetricsServer(lambda: b"up 1\n").run, "127.0.0.1", port)
        await trio.sleep(0.1)
        other.close()
        await connected(port)
        assert (await ask(port, GET))[0] == 200
        nursery.cancel_scope.cancel()
