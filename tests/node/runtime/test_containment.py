"""What goes wrong with one pod stays with it, and its containers go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from beemesh_node.runtime import RuntimeConfig, RuntimeUnavailableError
from beemesh_node.runtime.container_spec import Surroundings
from beemesh_node.runtime.containers import Containers, Wakeups
from beemesh_node.runtime.driver import Driver
from beemesh_node.runtime.errors import PodmanRefusedError
from beemesh_node.runtime.pod_files import PodFiles
from beemesh_node.runtime.podman_api import PodmanApi
from beemesh_node.runtime.supervisor import FAULT_RETRY, PodSupervisor
from beemesh_node.workloads.pod import ContainerStatus, PodPhase, PodSpec, PodStatus
from tests.node.runtime.pods import idle, pod

RUNNING = ContainerStatus("main", "image", "running", container_id="c-0")


class Faulty:
    """Containers that run for ever, but of which one look goes wrong in a way that nobody foresaw."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.ended_ids: list[str] = []

    async def ended(self, container_id: str, unheard: Callable[[], None] | None = None) -> Any:
        await trio.sleep(1)
        if self.faults:
            raise self.faults.pop()
        await trio.sleep_forever()

    async def inspect(self, container_id: str) -> None:
        return None

    async def end(self, container_id: str, grace_seconds: float) -> None:
        self.ended_ids.append(container_id)


def supervisor_of(spec: PodSpec, containers: Faulty, directory: Path) -> tuple[PodSupervisor, list[PodStatus]]:
    config = RuntimeConfig("mesh", directory / "state", directory / "memory", "node")
    seen: list[PodStatus] = []
    driver = Driver(spec, Surroundings(config, 0), cast(Any, None), cast(Containers, containers), cast(Any, None))
    files = PodFiles(config, spec.identity.pod_uid)
    return PodSupervisor(driver, files, seen.append, {"main": RUNNING}), seen


async def test_a_fault_of_one_pod_is_shown_and_its_container_is_kept_again(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    containers = Faulty(OSError(28, "No space left on device"))
    supervisor, seen = supervisor_of(pod(idle()), containers, tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await trio.sleep(2)
        status = supervisor.status()
        assert (status.phase, status.ready, status.reason) == (PodPhase.RUNNING, True, "InternalError")
        assert "No space left" in status.message
        assert seen[-1] == status
        await trio.sleep(FAULT_RETRY + 1)
        assert supervisor.status().reason == seen[-1].reason == ""
        await supervisor.halt()
    assert containers.ended_ids == []


async def test_a_pod_can_be_halted_while_its_fault_waits(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    supervisor, _ = supervisor_of(pod(idle()), Faulty(KeyError("Id")), tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await trio.sleep(2)
        with trio.fail_after(1):
            await supervisor.halt()


async def test_cancelling_ends_a_pod_that_is_kept(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    supervisor, _ = supervisor_of(pod(idle()), Faulty(), tmp_path)
    with trio.move_on_after(1) as scope:
        await supervisor.run()
    assert scope.cancelled_caught


def test_the_mark_of_an_end_needs_no_room(tmp_path: Path) -> None:
    """The specification becomes the mark: it is gone, and no other file has come."""
    config = RuntimeConfig("mesh", tmp_path / "state", tmp_path / "memory", "node")
    spec = pod(idle())
    files = PodFiles(config, spec.identity.pod_uid)
    files.create(spec)
    directory = config.secret_dir / "pods" / spec.identity.pod_uid
    before = len(list(directory.iterdir()))
    for _ in range(2):
        files.mark_ended()
        assert files.ended()
        assert files.read_spec() is None
        assert len(list(directory.iterdir())) == before


def test_an_end_that_cannot_be_marked_is_the_documented_error(tmp_path: Path) -> None:
    config = RuntimeConfig("mesh", tmp_path / "state", tmp_path / "memory", "node")
    spec = pod(idle())
    files = PodFiles(config, spec.identity.pod_uid)
    files.create(spec)
    in_the_way = config.secret_dir / "pods" / spec.identity.pod_uid / "ended"
    in_the_way.mkdir()
    with pytest.raises(RuntimeUnavailableError, match=r"its end cannot be noted.*df -h"):
        files.mark_ended()


class Refusing:
    """A Podman that has a running container and refuses to signal it with a status that is not expected."""

    socket = Path("/run/podman.sock")

    async def get(self, path: str) -> Any:
        return {
            "Id": "c",
            "State": {"Status": "running", "Running": True, "Pid": 1},
            "Config": {},
            "NetworkSettings": {},
        }

    async def post(self, path: str, body: object = None, params: object = None) -> Any:
        raise PodmanRefusedError(400, "bad signal")


async def test_a_signal_that_podman_refuses_is_the_documented_error() -> None:
    containers = Containers(cast(PodmanApi, Refusing()), Wakeups(), "net")
    with pytest.raises(RuntimeUnavailableError, match=r"takes no SIGKILL .bad signal"):
        await containers.end("c", 0)
    with pytest.raises(RuntimeUnavailableError, match="bad signal"):
        await containers.end_all(["c", "d"], 0)
