"""Leased pods, with the real kernel and a real Podman: over at the end of the lease, whoever hangs, and not before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio

from beemesh_node.runtime import (
    GuardError,
    NoSuchPodError,
    Runtime,
    RuntimeConfig,
    StartError,
    boottime,
    open_runtime,
)
from beemesh_node.runtime.guard import Guard, Guards
from beemesh_node.runtime.processes import process_end
from beemesh_node.runtime.spec_codec import encode_spec
from beemesh_node.workloads.pod import Container, EmptyDir, PodPhase, PodSpec, PullPolicy, Volume, VolumeMount
from tests.node.runtime.leased_daemon import config_words
from tests.node.runtime.podman_service import IMAGE, PodmanService
from tests.node.runtime.pods import DEADLINE, bridged, idle, pod, run_in, shell, until

LATE = 0.25
"""Seconds after the deadline by which nothing of a pod may run, also on a busy machine."""
ROOT = Path(__file__).resolve().parents[3]


def leased(*containers: Container, **template: object) -> PodSpec:
    return replace(pod(*containers, **template), leased=True)


def processes(podman: PodmanService, spec: PodSpec) -> list[int]:
    """The main processes of a pod's containers."""
    ids = podman.run("ps", "-q", "--filter", f"label=io.beemesh.pod-uid={spec.identity.pod_uid}").split()
    found = [json.loads(podman.run("inspect", one))[0] for one in ids]
    return [one["State"]["Pid"] for one in found if not one.get("IsInfra")]


def monitors(podman: PodmanService, spec: PodSpec) -> list[int]:
    """The conmon processes of a pod's containers."""
    ids = podman.run("ps", "-aq", "--filter", f"label=io.beemesh.pod-uid={spec.identity.pod_uid}").split()
    return [json.loads(podman.run("inspect", one))[0]["State"]["ConmonPid"] for one in ids]


async def ends_at(pids: list[int], deadline: float) -> None:
    """Wait for the end of processes, which has to be at the deadline."""
    assert pids
    late = []
    with trio.fail_after(DEADLINE):
        for pid in pids:
            assert await process_end(pid)
            late.append(boottime() - deadline)
    print("late by", *(f"{one * 1000:.1f} ms" for one in late))
    assert min(late) >= 0
    assert max(late) < LATE


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    for one in pids:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in pids:
            if Path(f"/proc/{one}").exists():
                os.kill(one, signal.SIGCONT)


@dataclass
class LeasedDaemon:
    """A daemon that runs one leased pod, in a process of its own."""

    process: subprocess.Popen[str]
    deadline: float

    async def renew(self, deadline: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{deadline}\n")
        self.process.stdin.flush()
        self.deadline = await self.answer()
        assert self.deadline == pytest.approx(deadline, abs=1e-6)

    async def answer(self) -> float:
        assert self.process.stdout is not None
        with trio.fail_after(DEADLINE):
            return float(await trio.to_thread.run_sync(self.process.stdout.readline, abandon_on_cancel=True))


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@asynccontextmanager
async def daemon(config: RuntimeConfig, spec: PodSpec, seconds: float, directory: Path) -> AsyncIterator[LeasedDaemon]:
    file = directory / "spec.json"
    file.write_bytes(encode_spec(spec))
    command = [sys.executable, "-m", "tests.node.runtime.leased_daemon", config_words(config), str(file), str(seconds)]
    process = start(command)
    started = LeasedDaemon(process, 0.0)
    try:
        started.deadline = await started.answer()
        yield started
    finally:
        process.kill()
        process.communicate()


def guard_of(config: RuntimeConfig, spec: PodSpec) -> Guard:
    guard = Guards(config.secret_dir / "guards").find(spec.identity.pod_uid)
    assert guard is not None
    return guard


def left(config: RuntimeConfig) -> set[str]:
    """The files of guards; one says that guards work here, and stays."""
    return {path.name for path in (config.secret_dir / "guards").iterdir() if not path.name.startswith("works")}


async def cleared(
    config: RuntimeConfig, podman: PodmanService, spec: PodSpec, reasons: tuple[str, ...] = ("LeaseEnded",)
) -> None:
    """A later daemon finds a pod whose lease ended, keeps it not, and removes it without a trace."""
    async with open_runtime(config) as runtime:
        (found,) = await runtime.list()
        assert (found.identity, found.phase) == (spec.identity, PodPhase.UNKNOWN)
        assert found.reason in reasons
        assert runtime.pods() == ()
        with pytest.raises(NoSuchPodError, match="lease has ended"):
            await runtime.renew(spec.identity, boottime() + 5)
        await runtime.remove(spec.identity)
    assert spec.identity.pod_uid not in podman.names()
    assert left(config) == set()


async def test_a_pod_ends_in_time_when_everybody_hangs(
    config: RuntimeConfig, podman: PodmanService, tmp_path: Path
) -> None:
    """Daemon, guard, conmon and Podman are all stopped; the kernel alone is left."""
    spec = leased(idle("a"), idle("b"))
    async with daemon(config, spec, 6, tmp_path) as owner:
        guard = guard_of(config, spec)
        pids = processes(podman, spec)
        assert len(pids) == 2
        others = [owner.process.pid, guard.timer, guard.first, *monitors(podman, spec)]
        podman.freeze()
        try:
            with stopped(*others):
                assert boottime() < owner.deadline
                await ends_at(pids, owner.deadline)
        finally:
            podman.thaw()
    guard.close()
    # The daemon that hung may have written, once it went on, that the pod has ended.
    await cleared(config, podman, spec, ("LeaseEnded", "Ended"))


async def test_a_renewed_pod_outlives_its_daemon_until_its_deadline(
    config: RuntimeConfig, podman: PodmanService, tmp_path: Path
) -> None:
    spec = leased(idle())
    async with daemon(config, spec, 4, tmp_path) as owner:
        pids = processes(podman, spec)
        await owner.renew(boottime() + 5)
        owner.process.kill()
    await ends_at(pids, owner.deadline)
    await cleared(config, podman, spec)


async def test_a_later_daemon_renews_and_restarts_in_the_same_guard(
    config: RuntimeConfig, podman: PodmanService, tmp_path: Path
) -> None:
    spec = leased(idle())
    async with daemon(config, spec, 20, tmp_path) as owner:
        (before,) = processes(podman, spec)
        owner.process.kill()
    async with open_runtime(config) as runtime:
        assert [status.identity for status in runtime.pods()] == [spec.identity]
        assert before in processes(podman, spec)
        deadline = boottime() + 30
        assert await runtime.renew(spec.identity, deadline) == pytest.approx(deadline, abs=1e-6)
        namespace = os.readlink(f"/proc/{before}/ns/pid")
        os.kill(before, signal.SIGKILL)
        await until(runtime, spec, lambda status: status.containers[0].restart_count == 1)
        (after,) = processes(podman, spec)
        assert os.readlink(f"/proc/{after}/ns/pid") == namespace
        await runtime.stop(spec.identity)
        await runtime.remove(spec.identity)
    assert spec.identity.pod_uid not in podman.names()


async def test_nothing_is_left_of_a_removed_pod(runtime: Runtime, config: RuntimeConfig, podman: PodmanService) -> None:
    memory = Volume("memory", EmptyDir(medium_memory=True))
    spec = leased(idle("a"), idle("b", mounts=(VolumeMount("memory", "/m"),)), volumes=(memory,))
    await runtime.start(spec, boottime() + 60)
    await until(runtime, spec, lambda status: status.ready)
    guard = guard_of(config, spec)
    namespace = os.readlink(f"/proc/{guard.first}/ns/pid")
    assert await run_in(runtime, spec, "ps | grep -c sleep", "a") != "0"
    await runtime.remove(spec.identity)
    assert not guard.alive
    guard.close()
    assert left(config) == set()
    assert spec.identity.pod_uid not in podman.names()
    assert namespace not in namespaces()
    assert namespace not in held()


def held() -> set[str]:
    """What this process has open."""
    return {os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()}


def namespaces() -> set[str]:
    found = set()
    for process in Path("/proc").iterdir():
        try:
            found.add(os.readlink(process / "ns" / "pid"))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("network", ["host", "own"])
async def test_the_death_of_the_guard_is_the_death_of_the_pod(
    runtime: Runtime, config: RuntimeConfig, podman: PodmanService, network: str
) -> None:
    spec = leased(idle()) if network == "host" else replace(bridged(idle()), leased=True)
    await runtime.start(spec, boottime() + 60)
    guard = guard_of(config, spec)
    (process,) = processes(podman, spec)
    os.kill(guard.timer, signal.SIGKILL)
    await ends_at([process], boottime() - 0.001)
    guard.close()
    status = await until(runtime, spec, lambda status: status.phase is PodPhase.FAILED)
    assert status.reason == "LeaseEnded"
    with pytest.raises(NoSuchPodError, match="lease has ended"):
        await runtime.renew(spec.identity, boottime() + 60)


async def test_a_crashed_container_does_not_come_back_after_its_lease(
    runtime: Runtime, config: RuntimeConfig, podman: PodmanService
) -> None:
    """Its restart is under way as the lease ends; nor does Podman itself start it again by hand."""
    spec = leased(shell("exit 1"))
    deadline = boottime() + 2
    await runtime.start(spec, deadline)
    status = await until(runtime, spec, lambda status: status.phase is PodPhase.FAILED)
    assert boottime() >= deadline
    assert status.reason == "LeaseEnded"
    with pytest.raises(AssertionError, match="unable to start container"):
        podman.run("start", status.containers[0].container_id)


async def test_what_cannot_be_leased_is_refused(runtime: Runtime, config: RuntimeConfig, podman: PodmanService) -> None:
    init = Container("main", IMAGE, PullPolicy.NEVER, command=("/sbin/init",))
    with pytest.raises(StartError, match="must be process 1"):
        await runtime.start(leased(init), boottime() + 60)
    with pytest.raises(StartError, match="LeaseMissing"):
        await runtime.start(leased(idle()))
    with pytest.raises(GuardError, match="deadline came before"):
        await runtime.start(leased(idle()), boottime() - 1)
    plain = pod(idle())
    await runtime.start(plain)
    with pytest.raises(NoSuchPodError, match="has no guard"):
        await runtime.renew(plain.identity, boottime() + 60)
    assert [status.identity for status in await runtime.list()] == [plain.identity]
    assert left(config) == set()


async def test_a_failed_start_leaves_no_guard(runtime: Runtime, config: RuntimeConfig) -> None:
    with pytest.raises(StartError, match="RunContainerError"):
        await runtime.start(leased(idle("a"), Container("b", IMAGE, command=("/none",))), boottime() + 60)
    assert left(config) == set()


async def test_the_machine_says_whether_it_can_guard(runtime: Runtime) -> None:
    info = await runtime.info()
    assert (info.guards, info.guards_reason) == (True, "")


def lose(config: RuntimeConfig, spec: PodSpec) -> None:
    (config.secret_dir / "pods" / spec.identity.pod_uid / "spec.json").write_text("{")


async def test_the_specification_of_a_leased_pod_may_be_lost_but_not_its_lease(
    config: RuntimeConfig, podman: PodmanService
) -> None:
    spec = leased(idle())
    async with open_runtime(config) as runtime:
        await runtime.start(spec, boottime() + 60)
    lose(config, spec)
    async with open_runtime(config) as runtime:
        await runtime.adopt(replace(spec, leased=False))
        deadline = boottime() + 2
        os.kill(guard_of(config, spec).timer, signal.SIGKILL)
        await until(runtime, spec, lambda status: status.reason == "LeaseEnded")
        assert boottime() < deadline
        await runtime.remove(spec.identity)


def leaving_a_child() -> PodSpec:
    """A pod that begins a process which does not end with it, and writes down whether the former one still runs."""
    script = "ps -o args | grep -x 'sleep 4321' >>/s/seen; (trap '' TERM; exec sleep 4321) & "
    shared = VolumeMount("shared", "/s")
    main = shell(script + "while :; do sleep 1; done", mounts=(shared,))
    return leased(main, idle("other", mounts=(shared,)), volumes=(Volume("shared", EmptyDir()),))


async def test_what_a_crashed_container_leaves_running_ends_before_its_next_life(
    runtime: Runtime, podman: PodmanService
) -> None:
    """In a shared namespace the kernel does not end a program's children with it."""
    spec = leaving_a_child()
    await runtime.start(spec, boottime() + 60)
    status = await until(runtime, spec, lambda status: status.ready)
    (process,) = [
        int(podman.run("inspect", one.container_id, "--format", "{{.State.Pid}}"))
        for one in status.containers
        if one.name == "main"
    ]
    os.kill(process, signal.SIGKILL)
    await until(runtime, spec, lambda status: status.containers[0].restart_count == 1 and status.ready)
    assert await run_in(runtime, spec, "ps -o args | grep -cx 'sleep 4321'") == "1"
    assert await run_in(runtime, spec, "cat /s/seen", "other") == ""
    assert next(one for one in runtime.pods()).containers[1].restart_count == 0


async def test_namespaces_made_anew_before_the_first_container_leave_the_lease(
    runtime: Runtime, podman: PodmanService
) -> None:
    """What has not begun yet has no control group that could be looked for."""
    spec = leased(idle(), idle("other"), init_containers=(idle("first"),))
    await runtime.start(spec, boottime() + 60)
    await until(runtime, spec, lambda status: status.init_containers[0].state == "running")
    infra = podman.run("pod", "inspect", f"bmrt-{spec.identity.pod_uid}", "--format", "{{.InfraContainerID}}")
    os.kill(int(podman.run("inspect", infra, "--format", "{{.State.Pid}}")), signal.SIGKILL)
    status = await until(
        runtime,
        spec,
        lambda status: status.reason != "" or (status.init_containers[0].restart_count, status.phase) == (1, "Pending"),
    )
    assert status.reason == ""
    assert [one.restart_count for one in status.containers] == [0, 0]
    await until(runtime, spec, lambda status: status.init_containers[0].state == "running")


async def test_what_a_pod_that_died_unseen_leaves_running_ends_before_its_next_life(
    config: RuntimeConfig, podman: PodmanService
) -> None:
    spec = leaving_a_child()
    async with open_runtime(config) as runtime:
        await runtime.start(spec, boottime() + 60)
        await until(runtime, spec, lambda status: status.ready)
    for container_id in podman.run("ps", "-q").split():
        for pid in podman.run("inspect", container_id, "--format", "{{.State.ConmonPid}} {{.State.Pid}}").split():
            os.kill(int(pid), signal.SIGKILL)
    async with open_runtime(config) as runtime:
        await until(runtime, spec, lambda status: status.ready and status.containers[0].restart_count == 1)
        assert await run_in(runtime, spec, "ps -o args | grep -cx 'sleep 4321'") == "1"
        assert await run_in(runtime, spec, "cat /s/seen", "other") == ""
        await runtime.remove(spec.identity)
