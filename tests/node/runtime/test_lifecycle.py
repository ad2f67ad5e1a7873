from __future__ import annotations

import os
from dataclasses import replace

import pytest
import trio
import trio.testing

from beemesh_node.runtime import LogOptions, NoSuchPodError, Runtime, RuntimeConfig, StartError, open_runtime
from beemesh_node.workloads.pod import (
    Container,
    ContainerPort,
    EmptyDir,
    PodPhase,
    PodSpec,
    PullPolicy,
    RestartPolicy,
    Volume,
    VolumeMount,
)
from tests.node.runtime.podman_service import IMAGE, PodmanService
from tests.node.runtime.pods import DEADLINE, bridged, idle, log_of, pod, run_in, shell, until


async def test_one_container_is_started_shown_stopped_and_removed(
    runtime: Runtime, podman: PodmanService, config: RuntimeConfig
) -> None:
    spec = bridged(shell("trap 'exit 0' TERM; echo set; while :; do sleep 1000 & wait $!; done"))
    await runtime.start(spec)
    running = await until(runtime, spec, lambda status: status.ready and status.pod_ip != "")
    async with runtime.logs(spec.identity, "main", LogOptions(follow=True)) as pieces:
        async for _ in pieces:  # it has set its trap: what is signalled sooner ends by the signal
            break
    assert running.phase is PodPhase.RUNNING
    assert running.containers[0].state == "running"
    assert running.containers[0].image_id
    assert podman.run("pod", "ls", "--format", "{{.Name}}") == ""

    await runtime.stop(spec.identity, 10)
    (stopped,) = await runtime.list()
    assert stopped.phase is PodPhase.SUCCEEDED
    assert stopped.containers[0].exit_code == 0

    await runtime.remove(spec.identity)
    assert await runtime.list() == ()
    assert spec.identity.pod_uid not in podman.names()
    assert not list(config.state_dir.glob("pods/*"))
    assert not list(config.secret_dir.glob("pods/*"))
    await runtime.remove(spec.identity)


async def test_a_container_that_ignores_sigterm_is_killed_after_its_grace(runtime: Runtime) -> None:
    spec = pod(shell("trap '' TERM; while :; do sleep 1; done"))
    await runtime.start(spec)
    began = trio.current_time()
    await runtime.stop(spec.identity, 1)
    assert 1 <= trio.current_time() - began < DEADLINE
    assert runtime.pods()[0].containers[0].exit_code == 137


async def test_init_containers_run_in_order_before_the_others_which_share_a_network(runtime: Runtime) -> None:
    spec = bridged(
        idle("first", ports=(ContainerPort(8080),)),
        idle("second"),
        init_containers=(shell("echo one", "a"), shell("echo two; exit 0", "b")),
    )
    await runtime.start(spec)
    status = await until(runtime, spec, lambda status: status.ready)
    one, two = status.init_containers
    assert (one.exit_code, two.exit_code) == (0, 0)
    assert one.finished_at_ms <= two.started_at_ms
    assert all(two.finished_at_ms <= main.started_at_ms for main in status.containers)
    assert status.pod_ip
    first, second = [
        await run_in(runtime, spec, "ip -4 addr show eth0; hostname", name) for name in ("first", "second")
    ]
    assert first == second
    assert status.pod_ip in first


async def test_an_init_container_that_fails_for_good_fails_the_pod(runtime: Runtime) -> None:
    spec = pod(idle(), init_containers=(shell("exit 7", "a"),), restart_policy=RestartPolicy.NEVER)
    await runtime.start(spec)
    status = await until(runtime, spec, lambda status: status.phase is PodPhase.FAILED)
    assert status.init_containers[0].exit_code == 7
    assert status.containers[0].state == "waiting"


@pytest.mark.parametrize(("script", "phase"), [("exit 0", PodPhase.SUCCEEDED), ("exit 3", PodPhase.FAILED)])
async def test_a_pod_that_is_never_restarted_ends(runtime: Runtime, script: str, phase: PodPhase) -> None:
    spec = pod(shell(script), restart_policy=RestartPolicy.NEVER)
    await runtime.start(spec)
    status = await until(runtime, spec, lambda status: status.phase is phase)
    assert status.containers[0].restart_count == 0


async def test_a_crashed_container_starts_again_with_a_clean_file_system_and_its_last_log_is_kept(
    runtime: Runtime,
) -> None:
    spec = pod(shell("ls /mark 2>&1; touch /mark; echo life; exec sleep 1000"))
    await runtime.start(spec)
    await run_in(runtime, spec, "until test -e /mark; do :; done")
    await kill_main(runtime, spec)
    status = await until(runtime, spec, lambda one: one.containers[0].restart_count == 1 and one.ready)
    assert (status.containers[0].last_exit_code, status.containers[0].last_reason) == (137, "Error")
    assert "life" in await log_of(runtime, spec, previous=True)
    async with runtime.logs(spec.identity, "main", LogOptions(follow=True)) as pieces:
        async for _, piece in pieces:
            assert b"No such file" in piece
            break


async def test_a_second_crash_waits_in_crash_loop_back_off(runtime: Runtime) -> None:
    spec = pod(
        shell("test -e /w/first && echo second life; touch /w/first; exit 1", mounts=(VolumeMount("w", "/w"),)),
        volumes=(Volume("w", EmptyDir()),),
    )
    await runtime.start(spec)
    status = await until(runtime, spec, lambda status: status.containers[0].reason == "CrashLoopBackOff")
    assert await log_of(runtime, spec, previous=True) == await log_of(runtime, spec) == "second life\n"
    assert status.containers[0].restart_count == 1
    assert "back-off 10 s" in status.containers[0].message
    assert status.phase is PodPhase.RUNNING
    runtime.restart_container(spec.identity, "main")
    await until(runtime, spec, lambda status: status.containers[0].restart_count == 2)


async def test_restart_container_begins_another_life(runtime: Runtime) -> None:
    spec = pod(idle(), restart_policy=RestartPolicy.NEVER)
    await runtime.start(spec)
    before = await until(runtime, spec, lambda status: status.ready)
    runtime.restart_container(spec.identity, "main")
    after = await until(runtime, spec, lambda status: status.containers[0].restart_count == 1 and status.ready)
    assert after.containers[0].container_id != before.containers[0].container_id


BAD_STARTS = [
    (Container("main", "localhost/bmrt-none:1", PullPolicy.NEVER), "ErrImageNeverPull", "load it first"),
    (Container("main", "localhost/NONE:1", PullPolicy.NEVER), "InvalidImageName", "lowercase"),
    (Container("main", IMAGE, PullPolicy.NEVER, command=("/none",)), "RunContainerError", "/none"),
    (idle("../x"), "CreateContainerConfigError", "path"),
]


@pytest.mark.parametrize(("container", "reason", "words"), BAD_STARTS)
async def test_a_start_that_fails_says_why_and_leaves_nothing(
    runtime: Runtime, podman: PodmanService, config: RuntimeConfig, container: Container, reason: str, words: str
) -> None:
    for spec in (pod(container), pod(idle("other"), container)):
        with pytest.raises(StartError, match=words) as failed:
            await runtime.start(spec)
        assert failed.value.reason == reason
        assert await runtime.list() == ()
        assert spec.identity.pod_uid not in podman.names()
        assert not list(config.state_dir.glob("pods/*"))
        assert not list(config.secret_dir.glob("pods/*"))


async def test_an_image_that_no_registry_gives_is_named(runtime: Runtime, podman: PodmanService) -> None:
    spec = pod(Container("main", "localhost:1/none:1", PullPolicy.ALWAYS))
    with pytest.raises(StartError, match="localhost:1/none:1") as failed:
        await runtime.start(spec)
    assert failed.value.reason == "ErrImagePull"
    assert spec.identity.pod_uid not in podman.names()


@pytest.mark.parametrize("others", [(), (idle("other"),)])
async def test_two_pods_cannot_have_one_host_port(
    runtime: Runtime, podman: PodmanService, others: tuple[Container, ...]
) -> None:
    container = idle(ports=(ContainerPort(80, host_port=27401),))
    await runtime.start(bridged(container))
    second = bridged(container, *others)
    with pytest.raises(StartError, match="ss -ltnup") as failed:
        await runtime.start(second)
    assert failed.value.reason == "PortConflict"
    assert second.identity.pod_uid not in podman.names()


async def test_a_restart_gets_its_host_port_back(runtime: Runtime) -> None:
    spec = bridged(idle(ports=(ContainerPort(80, host_port=27402),)))
    await runtime.start(spec)
    status = await until(runtime, spec, lambda status: status.ready)
    await kill_main(runtime, spec)
    await until(runtime, spec, lambda status: status.containers[0].restart_count == 1 and status.ready)
    assert status.identity == spec.identity


async def test_a_cancelled_start_leaves_nothing(runtime: Runtime, podman: PodmanService, config: RuntimeConfig) -> None:
    for spec in (pod(idle()), pod(idle("a"), idle("b"))):
        async with trio.open_nursery() as nursery:
            podman.freeze()
            nursery.start_soon(runtime.start, spec)
            await trio.testing.wait_all_tasks_blocked(0.1)
            nursery.cancel_scope.cancel()
            podman.thaw()
        assert runtime.pods() == ()
        assert spec.identity.pod_uid not in podman.names()
        assert not list(config.secret_dir.glob("pods/*"))


async def test_a_new_daemon_knows_its_pods_again(config: RuntimeConfig, podman: PodmanService) -> None:
    alone, several = bridged(idle()), bridged(idle("a"), idle("b"), init_containers=(shell("true", "i"),))
    ended = pod(idle())
    async with open_runtime(config) as runtime:
        for spec in (alone, several, ended):
            await runtime.start(spec)
        await kill_main(runtime, alone)
        await until(runtime, alone, lambda status: status.containers[0].restart_count == 1 and status.ready)
        await until(runtime, several, lambda status: status.ready)
        await runtime.stop(ended.identity, 0)
        ids = {one.container_id for status in runtime.pods() for one in status.containers}
    async with open_runtime(replace(config, mesh="another")) as stranger:
        assert await stranger.list() == ()
    async with open_runtime(config) as runtime:
        found = await until(runtime, alone, lambda status: status.ready and status.pod_ip != "")
        assert found.containers[0].restart_count == 1
        again = await until(runtime, several, lambda status: status.ready)
        assert [one.exit_code for one in again.init_containers] == [0]
        assert again.pod_ip
        (orphan,) = [status for status in await runtime.list() if status.identity == ended.identity]
        assert (orphan.phase, orphan.reason) == (PodPhase.UNKNOWN, "Ended")
        assert ids == {one.container_id for status in await runtime.list() for one in status.containers}
        await kill_main(runtime, alone)
        await until(runtime, alone, lambda status: status.containers[0].reason == "CrashLoopBackOff")
        for status in await runtime.list():
            await runtime.remove(status.identity)
    names = podman.names()
    assert not any(spec.identity.pod_uid in names for spec in (alone, several, ended))


async def test_a_pod_whose_specification_is_lost_is_shown_and_can_be_removed(
    config: RuntimeConfig, podman: PodmanService
) -> None:
    spec = pod(idle())
    async with open_runtime(config) as runtime:
        await runtime.start(spec)
    (config.secret_dir / "pods" / spec.identity.pod_uid / "spec.json").write_bytes(b"\xff")
    async with open_runtime(config) as runtime:
        (found,) = await runtime.list()
        assert (found.identity, found.phase, found.reason) == (spec.identity, PodPhase.UNKNOWN, "SpecLost")
        await runtime.stop(spec.identity, 5)
        (found,) = await runtime.list()
        assert found.containers[0].state == "terminated"
        await runtime.remove(spec.identity)
    assert spec.identity.pod_uid not in podman.names()


async def test_the_death_of_the_sandbox_fails_a_pod_that_is_never_restarted(
    runtime: Runtime, podman: PodmanService
) -> None:
    spec = pod(idle("a"), idle("b"), restart_policy=RestartPolicy.NEVER)
    await runtime.start(spec)
    infra = podman.run("pod", "inspect", f"bmrt-{spec.identity.pod_uid}", "--format", "{{.InfraContainerID}}")
    os.kill(int(podman.run("inspect", infra, "--format", "{{.State.Pid}}")), 9)
    status = await until(runtime, spec, lambda status: status.phase is PodPhase.FAILED)
    assert status.reason == "SandboxDied"
    await until(runtime, spec, lambda status: all(one.state == "terminated" for one in status.containers))


async def test_exec_has_both_hands_a_terminal_and_an_exit_code(runtime: Runtime) -> None:
    spec = pod(idle())
    await runtime.start(spec)
    with trio.fail_after(DEADLINE):
        async with runtime.exec(spec.identity, "main", ["sh", "-c", "cat; echo no >&2; exit 4"], stdin=True) as session:
            await session.send(b"hello\n")
            await session.send_eof()
            pieces = [piece async for piece in session]
            assert sorted(pieces) == [(1, b"hello\n"), (2, b"no\n")]
            assert await session.exit_code() == 4
        async with runtime.exec(spec.identity, "main", ["/none"]) as session:
            assert [piece async for piece in session] != [(1, b"")]
            assert await session.exit_code() in (126, 127)
        async with runtime.exec(spec.identity, "main", ["sh"], tty=True, stdin=True) as session:
            await session.resize(101, 31)
            await session.send(b"stty size; exit\n")
            output = b"".join([piece async for _, piece in session])
            assert b"31 101" in output


async def test_leaving_an_exec_ends_the_command(runtime: Runtime) -> None:
    spec = pod(idle())
    await runtime.start(spec)
    async with runtime.exec(spec.identity, "main", ["sleep", "4321"]):
        await run_in(runtime, spec, "until ps | grep 'sleep 432[1]'; do :; done")
    await run_in(runtime, spec, "while ps | grep 'sleep 432[1]'; do :; done")


async def test_exec_and_logs_of_what_is_not_there_are_refused_by_name(runtime: Runtime) -> None:
    spec = pod(idle())
    with pytest.raises(NoSuchPodError, match=spec.identity.pod_name):
        await run_in(runtime, spec, "true")
    await runtime.start(spec)
    with pytest.raises(NoSuchPodError, match="it has: main"):
        await run_in(runtime, spec, "true", "other")
    with pytest.raises(NoSuchPodError, match="not been restarted"):
        await log_of(runtime, spec, previous=True)


async def test_logs_can_be_cut_and_stamped(runtime: Runtime) -> None:
    spec = pod(shell("echo one; echo two; echo three; echo no >&2"), restart_policy=RestartPolicy.NEVER)
    await runtime.start(spec)
    await until(runtime, spec, lambda status: status.phase is PodPhase.SUCCEEDED)
    async with runtime.logs(spec.identity, "main") as pieces:
        lines = [piece async for piece in pieces]
    assert [text for stream, text in lines if stream == 1] == [b"one\n", b"two\n", b"three\n"]
    assert [text for stream, text in lines if stream == 2] == [b"no\n"]
    async with runtime.logs(spec.identity, "main", LogOptions(tail=2, timestamps=True)) as pieces:
        stamped = [text async for _, text in pieces]
    assert len(stamped) == 2
    assert all(text.startswith(b"20") for text in stamped)
    async with runtime.logs(spec.identity, "main", LogOptions(since_ms=4_000_000_000_000)) as pieces:
        assert [piece async for piece in pieces] == []


async def kill_main(runtime: Runtime, spec: PodSpec) -> None:
    """Kill a container's first process from outside, as the kernel would."""
    status = await until(runtime, spec, lambda status: status.ready)
    api = runtime._api
    found = await api.get(f"/containers/{status.containers[0].container_id}/json")
    os.kill(found["State"]["Pid"], 9)
