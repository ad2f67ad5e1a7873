"""A Podman that is gone, that stops half way, or that is something else: a clear error in bounded time."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from beemesh_node.runtime import RuntimeConfig, RuntimeUnavailableError, StartError, open_runtime
from beemesh_node.workloads.pod import Container, PodPhase
from tests.node.runtime.podman_service import IMAGE, PodmanService
from tests.node.runtime.pods import DEADLINE, idle, pod, until

NEXT_STEP = "systemctl status podman.socket"
ANSWERS = {
    "rubbish": b"\x00\xff\x00 SSH-2.0 \r\n\r\n",
    "html": b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>",
    "other json": b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"host": "x"}',
    "list": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "error page": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nsorry",
    "broken chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    "hang up": b"",
    "deep": b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000,
    "half": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
}


@contextmanager
def server(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[Path]:
    """Something that listens on a Unix socket, and treats each connection in its way."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)


async def opening_fails(config: RuntimeConfig, words: str | None = None) -> None:
    with trio.fail_after(DEADLINE), pytest.raises(RuntimeUnavailableError, match=words) as failed:
        async with open_runtime(config):
            raise AssertionError("opened without a Podman")
    assert str(config.socket) in str(failed.value)
    assert NEXT_STEP in str(failed.value)


@pytest.mark.parametrize("answer", ANSWERS)
async def test_what_answers_is_not_podman(config: RuntimeConfig, tmp_path: Path, answer: str) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(ANSWERS[answer])

    with server(tmp_path / "other.sock", serve) as path:
        await opening_fails(replace(config, socket=path))


async def test_answers_without_end_and_answers_that_drip_are_cut(
    config: RuntimeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beemesh_node.runtime.podman_api.MAX_BODY", 1 << 20)
    monkeypatch.setattr("beemesh_node.runtime.podman_api.QUERY_TIMEOUT", 0.5)
    tick = threading.Event()

    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                connection.sendall(b"[" * 65536)
        except OSError:
            return

    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while not tick.wait(0.05):
                connection.sendall(b"1\r\n[\r\n")
        except OSError:
            return

    with server(tmp_path / "flood.sock", flood) as path:
        await opening_fails(replace(config, socket=path), "more than 1048576 bytes")
    with server(tmp_path / "drip.sock", drip) as path:
        await opening_fails(replace(config, socket=path), "in time")
    tick.set()


async def test_a_socket_that_nobody_answers(
    config: RuntimeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beemesh_node.runtime.podman_api.QUERY_TIMEOUT", 0.3)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "silent.sock"))
        listener.listen()
        await opening_fails(replace(config, socket=tmp_path / "silent.sock"), "no answer to GET /info in time")
    await opening_fails(replace(config, socket=tmp_path / "silent.sock"), "nobody listens")
    await opening_fails(replace(config, socket=tmp_path / "none.sock"), "no such socket")
    (tmp_path / "file.sock").write_text("")
    await opening_fails(replace(config, socket=tmp_path / "file.sock"), "nobody listens")


async def test_a_podman_that_dies_in_a_start_leaves_nothing_when_it_is_back(
    config: RuntimeConfig, podman: PodmanService
) -> None:
    running, broken = pod(idle()), pod(idle())
    async with open_runtime(config) as runtime:
        await runtime.start(running)
        await until(runtime, running, lambda status: status.ready)
        podman.freeze()

        async def start_fails() -> None:
            with pytest.raises(RuntimeUnavailableError, match=NEXT_STEP):
                await runtime.start(broken)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_fails)
            await trio.testing.wait_all_tasks_blocked(0.2)
            podman.kill()
        with pytest.raises(RuntimeUnavailableError, match=NEXT_STEP):
            await runtime.list()
        assert [status.identity for status in runtime.pods()] == [running.identity]
        with trio.fail_after(DEADLINE):
            while runtime.available:
                await trio.lowlevel.checkpoint()

        # What a request that was on its way when Podman died may have made.
        podman.run(
            "create", "--name", f"bmrt-{broken.identity.pod_uid}-main-0", "--net=host",
            "--label", f"io.beemesh.mesh={config.mesh}", "--label", f"io.beemesh.pod-uid={broken.identity.pod_uid}",
            IMAGE, "true",
        )  # fmt: skip
        podman.start()
        with trio.fail_after(DEADLINE):
            while broken.identity.pod_uid in podman.names():
                await trio.lowlevel.checkpoint()
        (status,) = await runtime.list()
        assert status.containers[0].restart_count == 0
        assert status.phase is PodPhase.RUNNING
        await runtime.remove(running.identity)
    assert running.identity.pod_uid not in podman.names()


async def test_a_container_that_dies_while_podman_is_gone_is_restarted_when_it_is_back(
    config: RuntimeConfig, podman: PodmanService
) -> None:
    spec = pod(idle())
    async with open_runtime(config) as runtime:
        await runtime.start(spec)
        status = await until(runtime, spec, lambda status: status.ready)
        podman.kill()
        podman.run("kill", status.containers[0].container_id)
        podman.start()
        await until(runtime, spec, lambda status: status.containers[0].restart_count == 1 and status.ready)
        await runtime.remove(spec.identity)


async def test_a_half_started_pod_of_a_dead_daemon_is_shown(config: RuntimeConfig, podman: PodmanService) -> None:
    spec = pod(idle())
    async with open_runtime(config) as runtime:
        await runtime.start(spec)
        name = (await until(runtime, spec, lambda status: status.ready)).containers[0].container_id
        labels = json.loads(podman.run("inspect", name, "--format", "{{json .Config.Labels}}"))
        await runtime.remove(spec.identity)
        options = [word for label, value in labels.items() for word in ("--label", f"{label}={value}")]
        podman.run("create", "--name", "bmrt-half", "--net=host", *options, IMAGE, "true")
        (found,) = await runtime.list()
        assert (found.identity, found.phase, found.reason) == (spec.identity, PodPhase.UNKNOWN, "SpecLost")
        await runtime.remove(spec.identity)
        assert await runtime.list() == ()


async def test_a_full_disk_is_named(config: RuntimeConfig, tmp_path: Path) -> None:
    """A tmpfs of four pages takes the place of a full disk; /dev/full cannot hold directories."""
    state = tmp_path / "small"
    state.mkdir()
    await trio.run_process(["mount", "-t", "tmpfs", "-o", "nr_inodes=3", "bmrt-small", str(state)])
    try:
        async with open_runtime(replace(config, state_dir=state)) as runtime:
            spec = pod(Container("main", IMAGE))
            with pytest.raises(StartError, match="No space left on device") as failed:
                await runtime.start(spec)
            assert failed.value.reason == "FailedMount"
            assert "df -h" in failed.value.message
            assert await runtime.list() == ()
    finally:
        await trio.run_process(["umount", str(state)])
