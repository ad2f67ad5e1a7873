"""A Podman that hangs: containers go on, what cannot go on is told within seconds, and all recovers by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import trio
import trio.testing

from beemesh_node.healing.events import PodEnded
from beemesh_node.runtime import Runtime, RuntimeConfig, RuntimeUnavailableError, boottime
from beemesh_node.runtime.health import ANSWER_WITHIN, ASK_EVERY
from beemesh_node.runtime.podman_api import PodmanApi
from beemesh_node.runtime.processes import process_end
from tests.node.runtime.podman_service import PodmanService
from tests.node.runtime.pods import idle, pod, until
from tests.node.runtime.test_pods_of_a_daemon import Daemon, running

NOTICED = 2 * (ASK_EVERY + ANSWER_WITHIN)
"""Seconds, with as much again for a busy machine."""


@pytest.fixture
async def frozen(podman: PodmanService) -> AsyncIterator[PodmanService]:
    """Podman, which a test may freeze; it is thawed before anything is tidied up."""
    yield podman
    podman.thaw()


async def until_available(runtime: Runtime, available: bool) -> None:
    with trio.fail_after(NOTICED):
        while runtime.available is not available:
            await trio.lowlevel.checkpoint()


async def test_a_podman_that_hangs_is_noticed_and_recovers(runtime: Runtime, frozen: PodmanService) -> None:
    spec = pod(idle())
    await runtime.start(spec)
    before = await until(runtime, spec, lambda status: status.ready)
    frozen.freeze()
    await until_available(runtime, False)
    assert runtime.pods() == (before,)
    with pytest.raises(RuntimeUnavailableError):
        await runtime.images()
    frozen.thaw()
    await until_available(runtime, True)
    assert runtime.pods() == (before,)


async def test_a_container_that_dies_meanwhile_is_not_ready_and_restarts_afterwards(
    runtime: Runtime, frozen: PodmanService
) -> None:
    spec = pod(idle())
    await runtime.start(spec)
    (container,) = (await until(runtime, spec, lambda status: status.containers[0].image_id != "")).containers
    await runtime.list()  # By now it is known which process to look at.
    pid = int(frozen.run("inspect", container.container_id, "--format", "{{.State.Pid}}"))
    frozen.freeze()
    await until_available(runtime, False)
    os.kill(pid, signal.SIGKILL)
    with trio.fail_after(NOTICED):
        status = await until(runtime, spec, lambda status: not status.ready)
    assert (status.containers[0].reason, status.containers[0].restart_count) == ("RuntimeUnavailable", 0)
    frozen.thaw()
    status = await until(runtime, spec, lambda status: status.ready)
    assert status.containers[0].restart_count == 1
    assert status.containers[0].last_exit_code == 137


async def test_a_leased_pod_is_renewed_and_ended_without_podman(config: RuntimeConfig, frozen: PodmanService) -> None:
    spec = replace(pod(idle()), leased=True)
    async with running(Daemon(config, spec)) as daemon:
        await daemon.found()
        await daemon.pods.start(spec.identity, boottime() + 20)
        runtime = daemon.pods.runtime
        assert runtime is not None
        (container,) = (await until(runtime, spec, lambda status: status.ready)).containers
        pid = int(frozen.run("inspect", container.container_id, "--format", "{{.State.Pid}}"))
        frozen.freeze()
        await until_available(runtime, False)
        deadline = boottime() + 60
        assert await runtime.renew(spec.identity, deadline) == pytest.approx(deadline, abs=1e-6)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(daemon.pods.stop, spec.identity)
            ended = await daemon.event(lambda event: isinstance(event, PodEnded))
            assert ended.pod_uid == spec.identity.pod_uid
            assert boottime() < deadline
            assert await process_end(pid)
            frozen.thaw()
    assert spec.identity.pod_uid not in frozen.names()


async def test_much_work_does_not_make_podman_look_silent(runtime: Runtime, frozen: PodmanService) -> None:
    """More requests wait for an answer than are asked at a time; the question after its health does not."""
    api = PodmanApi(frozen.socket)
    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(api.get, "/events")  # An answer without end
        await trio.testing.wait_all_tasks_blocked(0.2)
        with trio.fail_after(ANSWER_WITHIN):
            await api.ping()
        assert runtime.available
        nursery.cancel_scope.cancel()
    api.close()
