"""What somebody takes away by hand comes back at once."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import pytest
import trio

from beemesh_node.runtime import Runtime, RuntimeConfig, open_runtime
from beemesh_node.workloads.pod import ContainerPort, PodPhase, PodSpec, PodStatus, RestartPolicy
from tests.node.runtime.podman_service import PodmanService
from tests.node.runtime.pods import bridged, idle, pod, run_in, shell, until

HOST_PORT = 27_420
AT_ONCE = 9.0
"""Seconds, less than the first back-off: this computer does much else meanwhile."""


async def back(runtime: Runtime, spec: PodSpec, restarts: int) -> PodStatus:
    """Wait until every container of a pod is in a later life, and ready."""
    with trio.fail_after(AT_ONCE):
        return await until(
            runtime,
            spec,
            lambda status: status.ready and all(one.restart_count >= restarts for one in status.containers),
        )


async def in_thread(podman: PodmanService, *words: str) -> None:
    await trio.to_thread.run_sync(podman.run, *words)


async def test_a_removed_container_comes_back_however_often(runtime: Runtime, podman: PodmanService) -> None:
    spec = pod(idle())
    await runtime.start(spec)
    for restarts in (1, 2, 3):
        (container,) = (await until(runtime, spec, lambda status: status.ready)).containers
        await in_thread(podman, "rm", "-f", "-t", "0", container.container_id)
        status = await back(runtime, spec, restarts)
        assert status.containers[0].last_exit_code == 137


async def test_one_removed_container_of_several_comes_back_and_the_others_go_on(
    runtime: Runtime, podman: PodmanService
) -> None:
    spec = pod(idle("a"), idle("b"))
    await runtime.start(spec)
    before = (await until(runtime, spec, lambda status: status.ready)).containers
    await in_thread(podman, "rm", "-f", "-t", "0", before[0].container_id)
    with trio.fail_after(AT_ONCE):
        status = await until(runtime, spec, lambda status: status.ready and status.containers[0].restart_count == 1)
    assert status.containers[1].container_id == before[1].container_id


async def test_a_removed_pod_comes_back_from_its_first_container_on(runtime: Runtime, podman: PodmanService) -> None:
    spec = bridged(idle("a"), idle("b"), init_containers=(shell("true", "first"),))
    await runtime.start(spec)
    before = await until(runtime, spec, lambda status: status.ready)
    await in_thread(podman, "pod", "rm", "-f", "-t", "0", f"bmrt-{spec.identity.pod_uid}")
    status = await back(runtime, spec, 1)
    assert status.phase is PodPhase.RUNNING
    assert status.init_containers[0].restart_count == 1
    assert (status.reason, status.message) == ("", "")
    assert status.pod_ip
    assert await run_in(runtime, spec, "ip addr show dev eth0 | grep -o 'inet [0-9.]*'", "b") == f"inet {status.pod_ip}"
    assert not {one.container_id for one in before.containers} & {one.container_id for one in status.containers}


async def test_namespaces_that_died_are_made_anew_and_what_had_succeeded_stays_so(
    runtime: Runtime, podman: PodmanService
) -> None:
    spec = pod(shell("exit 0", "done"), idle("b"), restart_policy=RestartPolicy.ON_FAILURE)
    await runtime.start(spec)
    await until(runtime, spec, lambda status: status.containers[0].state == "terminated")
    name = f"bmrt-{spec.identity.pod_uid}"
    infra = podman.run("pod", "inspect", name, "--format", "{{.InfraContainerID}}")
    os.kill(int(podman.run("inspect", infra, "--format", "{{.State.Pid}}")), signal.SIGKILL)
    with trio.fail_after(AT_ONCE):
        status = await until(
            runtime,
            spec,
            lambda status: status.containers[1].restart_count == 1 and status.containers[1].state == "running",
        )
    assert (status.containers[0].reason, status.containers[0].restart_count) == ("Completed", 0)
    assert podman.run("pod", "inspect", name, "--format", "{{.InfraContainerID}}") != infra


async def test_a_pod_that_loses_its_namespaces_again_and_again_waits(runtime: Runtime, podman: PodmanService) -> None:
    """Something is wrong with this machine then; it must not be kept busy."""
    spec = pod(idle("a"), idle("b"))
    await runtime.start(spec)
    await until(runtime, spec, lambda status: status.ready)
    began = trio.current_time()
    for restarts in (1, 2):
        await in_thread(podman, "pod", "rm", "-f", "-t", "0", f"bmrt-{spec.identity.pod_uid}")
        await until(
            runtime,
            spec,
            lambda status: status.ready and status.containers[0].restart_count >= restarts,  # noqa: B023 - used at once
        )
    assert trio.current_time() - began >= 10


def pids_of(podman: PodmanService, container_id: str) -> tuple[int, int]:
    """Who would tell Podman of a container's end, and the container's process."""
    form = "{{.State.ConmonPid}} {{.State.Pid}}"
    monitor, process = map(int, podman.run("inspect", container_id, "--format", form).split())
    return monitor, process


def kill_all_of(podman: PodmanService, container_id: str) -> None:
    for pid in pids_of(podman, container_id):
        os.kill(pid, signal.SIGKILL)


async def test_a_container_whose_monitor_died_with_it_comes_back(runtime: Runtime, podman: PodmanService) -> None:
    spec = pod(idle())
    await runtime.start(spec)
    before = await until(runtime, spec, lambda status: status.ready)
    kill_all_of(podman, before.containers[0].container_id)
    status = await back(runtime, spec, 1)
    (container,) = status.containers
    assert (container.last_exit_code, container.last_reason) == (137, "ContainerStatusUnknown")
    with trio.fail_after(AT_ONCE):
        while before.containers[0].container_id in podman.run("ps", "-q", "--no-trunc"):  # noqa: ASYNC110
            await trio.sleep(0.1)


async def test_a_monitor_that_is_slow_is_waited_for(runtime: Runtime, podman: PodmanService) -> None:
    spec = pod(shell("trap 'exit 3' TERM; while :; do sleep 1000 & wait $!; done"))
    await runtime.start(spec)
    before = await until(runtime, spec, lambda status: status.ready)
    monitor, process = pids_of(podman, before.containers[0].container_id)
    os.kill(monitor, signal.SIGSTOP)
    os.kill(process, signal.SIGTERM)
    with trio.move_on_after(4):  # twice what it takes to look for the monitor
        await until(runtime, spec, lambda status: status.containers[0].restart_count > 0)
        raise AssertionError("it was not waited for")
    os.kill(monitor, signal.SIGCONT)
    status = await back(runtime, spec, 1)
    assert (status.containers[0].last_exit_code, status.containers[0].last_reason) == (3, "Error")


@pytest.mark.parametrize("network", [pod, bridged])
async def test_what_died_with_its_monitor_while_nobody_looked_is_not_taken_for_running(
    config: RuntimeConfig, podman: PodmanService, network: Callable[..., PodSpec]
) -> None:
    spec = network(idle("a"), idle("b"))
    async with open_runtime(config) as runtime:
        await runtime.start(spec)
        before = await until(runtime, spec, lambda status: status.ready)
    for container in before.containers:
        kill_all_of(podman, container.container_id)
    infra = podman.run("ps", "-q", "--filter", "name=infra").split()
    for container_id in infra:
        kill_all_of(podman, container_id)
    async with open_runtime(config) as runtime:
        (found,) = runtime.pods()
        running = {one.container_id for one in found.containers if one.state == "running"}
        assert not running & {one.container_id for one in before.containers}
        status = await back(runtime, spec, 1)
        assert {one.last_reason for one in status.containers} == {"ContainerStatusUnknown"}
        await runtime.remove(spec.identity)


@pytest.mark.parametrize("network", [pod, bridged])
@pytest.mark.parametrize("count", [1, 2])
async def test_what_died_with_its_monitor_while_nobody_looked_is_removed(
    config: RuntimeConfig, podman: PodmanService, network: Callable[..., PodSpec], count: int
) -> None:
    spec = network(*(idle(name) for name in "ab"[:count]))
    async with open_runtime(config) as runtime:
        await runtime.start(spec)
        await until(runtime, spec, lambda status: status.ready)
    for container_id in podman.run("ps", "-q").split():
        kill_all_of(podman, container_id)
    async with open_runtime(config) as runtime:
        await runtime.remove(spec.identity)
    assert podman.run("ps", "-aq") == podman.run("pod", "ps", "-q") == ""


async def test_what_had_succeeded_before_its_namespaces_died_unseen_stays_so(
    config: RuntimeConfig, podman: PodmanService
) -> None:
    spec = pod(shell("exit 0", "done"), idle("b"), restart_policy=RestartPolicy.ON_FAILURE)
    async with open_runtime(config) as runtime:
        await runtime.start(spec)
        await until(runtime, spec, lambda status: status.containers[0].state == "terminated")
    infra = podman.run("pod", "inspect", f"bmrt-{spec.identity.pod_uid}", "--format", "{{.InfraContainerID}}")
    kill_all_of(podman, infra)
    async with open_runtime(config) as runtime:
        with trio.fail_after(AT_ONCE):
            status = await until(
                runtime,
                spec,
                lambda status: status.containers[1].restart_count == 1 and status.containers[1].state == "running",
            )
        assert (status.containers[0].reason, status.containers[0].restart_count) == ("Completed", 0)
        await runtime.remove(spec.identity)


async def taken(port: int) -> socket.socket:
    """Hold a port as soon as nobody else does."""
    while True:
        try:
            return socket.create_server(("", port))
        except OSError:
            await trio.sleep(0.1)


async def test_namespaces_that_cannot_be_made_at_first_are_made_later(
    config: RuntimeConfig, podman: PodmanService
) -> None:
    port = ContainerPort(80, host_port=HOST_PORT)
    spec = bridged(idle("a", ports=(port,)), idle("b"))
    async with open_runtime(config) as runtime:
        await runtime.start(spec)
        await until(runtime, spec, lambda status: status.ready)
    podman.run("pod", "kill", f"bmrt-{spec.identity.pod_uid}")
    with trio.fail_after(AT_ONCE):
        other = await taken(HOST_PORT)
    async with open_runtime(config) as runtime:
        with other:
            status = await until(runtime, spec, lambda status: status.reason == "InternalError")
            assert "ss -ltnup" in status.message
        await until(runtime, spec, lambda status: status.ready)
        await runtime.remove(spec.identity)


async def test_a_pod_that_is_over_needs_no_namespaces(config: RuntimeConfig, podman: PodmanService) -> None:
    spec = pod(shell("exit 0", "a"), shell("exit 0", "b"), restart_policy=RestartPolicy.NEVER)
    async with open_runtime(config) as runtime:
        await runtime.start(spec)
        await until(runtime, spec, lambda status: status.phase is PodPhase.SUCCEEDED)
    infra = podman.run("pod", "inspect", f"bmrt-{spec.identity.pod_uid}", "--format", "{{.InfraContainerID}}")
    kill_all_of(podman, infra)
    async with open_runtime(config) as runtime:
        (status,) = runtime.pods()
        assert status.phase is PodPhase.SUCCEEDED
        await runtime.remove(spec.identity)
