"""What the daemon makes of its pods: those of a former daemon go on, and what goes wrong with one stays with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from beemesh_node.daemon.pods import Pods
from beemesh_node.daemon.registry import Registry
from beemesh_node.healing.events import Event, PodEnded, PodStartFailed
from beemesh_node.runtime import Runtime, RuntimeConfig, open_runtime
from beemesh_node.workloads.pod import PodSpec, PodStatus, PodTemplate
from tests.node.runtime.podman_service import PodmanService
from tests.node.runtime.pods import DEADLINE, idle, pod, until


class Daemon:
    """The pods of a daemon whose registry holds the given specifications."""

    def __init__(self, config: RuntimeConfig, *known: PodSpec) -> None:
        self._known = known
        self._send, self._events = trio.open_memory_channel[Event](1000)
        self._opened, self._found = trio.open_memory_channel[tuple[PodStatus, ...]](10)
        self.faults: list[Exception] = []
        """Raised, one each, by who is told that Podman was reached."""
        self.pods = Pods(config, cast(Registry, self), self._send.send)

    def specification(self, uid: str, revision: str) -> Any:
        """As the registry has it."""
        for spec in self._known:
            if (spec.identity.uid, spec.identity.revision) == (uid, revision):
                return SimpleNamespace(template=spec.template)
        return None

    async def run(self) -> None:
        await self.pods.run(self._told)

    async def found(self) -> tuple[PodStatus, ...]:
        """The pods that are kept once Podman is reached."""
        with trio.fail_after(DEADLINE):
            return await self._found.receive()

    async def event(self, holds: Callable[[Event], bool]) -> Any:
        with trio.fail_after(DEADLINE):
            async for event in self._events:
                if holds(event):
                    return event
        raise AssertionError("no such event")

    async def _told(self, runtime: Runtime, found: tuple[PodStatus, ...]) -> None:
        if self.faults:
            raise self.faults.pop()
        await self._opened.send(found)


@asynccontextmanager
async def running(daemon: Daemon) -> AsyncIterator[Daemon]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(daemon.run)
        yield daemon
        nursery.cancel_scope.cancel()


async def test_pods_whose_specification_is_not_understood_run_on_by_their_record(
    config: RuntimeConfig, podman: PodmanService
) -> None:
    alone, several, unknown = pod(idle()), pod(idle("a"), idle("b")), pod(idle())
    async with open_runtime(config) as runtime:
        for spec in (alone, several, unknown):
            await runtime.start(spec)
            await until(runtime, spec, lambda status: status.ready)
        before = {one.container_id for status in runtime.pods() for one in status.containers}
    for spec in (alone, several, unknown):
        (config.secret_dir / "pods" / spec.identity.pod_uid / "spec.json").write_bytes(b'{"": "PodSpecOfTomorrow"}')
    async with running(Daemon(config, alone, several)) as daemon:
        found = await daemon.found()
        assert {status.identity for status in found} == {alone.identity, several.identity}
        after = {one.container_id for status in found for one in status.containers}
        assert after < before
        assert len(after) == 3
        assert unknown.identity.pod_uid not in podman.names()
    async with open_runtime(config) as runtime:
        assert {status.identity for status in runtime.pods()} == {alone.identity, several.identity}
        for spec in (alone, several):
            await runtime.remove(spec.identity)


async def test_a_pod_that_was_told_to_end_is_not_adopted_by_its_record(
    config: RuntimeConfig, podman: PodmanService
) -> None:
    spec = pod(idle())
    async with open_runtime(config) as runtime:
        await runtime.start(spec)
    directory = config.secret_dir / "pods" / spec.identity.pod_uid
    (directory / "spec.json").write_bytes(b"{}")
    (directory / "ended").touch()
    async with running(Daemon(config, spec)) as daemon:
        assert await daemon.found() == ()
    assert spec.identity.pod_uid not in podman.names()


async def test_what_nobody_foresaw_while_a_pod_starts_is_that_pods_failure(config: RuntimeConfig) -> None:
    broken = replace(pod(idle()), template=cast(PodTemplate, None))
    good = pod(idle())
    async with running(Daemon(config, broken, good)) as daemon:
        await daemon.found()
        await daemon.pods.start(broken.identity)
        failed = await daemon.event(lambda event: isinstance(event, PodStartFailed))
        assert (failed.pod_uid, failed.reason) == (broken.identity.pod_uid, "InternalError")
        await daemon.pods.start(good.identity)
        assert daemon.pods.runtime is not None
        await until(daemon.pods.runtime, good, lambda status: status.ready)
        await daemon.pods.stop(good.identity)


async def test_what_nobody_foresaw_while_a_pod_ends_does_not_keep_it(
    config: RuntimeConfig, podman: PodmanService, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = pod(idle())

    async def broken(*_: object) -> None:
        raise KeyError("Id")

    async with running(Daemon(config, spec)) as daemon:
        await daemon.found()
        await daemon.pods.start(spec.identity)
        monkeypatch.setattr(Runtime, "stop", broken)
        await daemon.pods.stop(spec.identity)
        ended = await daemon.event(lambda event: isinstance(event, PodEnded))
        assert ended.pod_uid == spec.identity.pod_uid
        assert spec.identity.pod_uid not in podman.names()


async def test_a_runtime_that_stops_unforeseen_is_opened_again_and_pods_go_on(config: RuntimeConfig) -> None:
    spec = pod(idle())
    async with open_runtime(config) as runtime:
        await runtime.start(spec)
        (before,) = (await until(runtime, spec, lambda status: status.ready)).containers
    daemon = Daemon(config, spec)
    daemon.faults.append(KeyError("Id"))
    async with running(daemon):
        (found,) = await daemon.found()
        assert [one.container_id for one in found.containers] == [before.container_id]
        await daemon.pods.stop(spec.identity)
