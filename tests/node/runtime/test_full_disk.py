"""Podman's own disk is full: what runs goes on, what cannot start says why, and goes on when there is room again."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beemesh_node.runtime import RuntimeConfig, StartError, open_runtime
from tests.node.runtime.podman_service import PodmanService, drop_service, make_service
from tests.node.runtime.pods import idle, pod, until

ROOM = "24m"


@pytest.fixture
def small() -> Iterator[PodmanService]:
    """A Podman whose storage is a small file system of its own."""
    directory = Path(tempfile.mkdtemp(prefix="bmrt-"))
    (directory / "root").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "bmrt-disk", str(directory / "root")], check=True)
    service = make_service(directory)
    yield service
    room(service, True)
    drop_service(service)


def room(service: PodmanService, free: bool) -> None:
    """Fill the disk to its last byte, or make room again."""
    file = service.directory / "root" / "filler"
    if free:
        file.unlink(missing_ok=True)
        return
    with file.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            pass


async def test_a_full_disk_of_podman_is_named_and_all_goes_on_when_there_is_room(
    config: RuntimeConfig, small: PodmanService
) -> None:
    kept, other = pod(idle("a"), idle("b")), pod(idle())
    async with open_runtime(replace(config, socket=small.socket)) as runtime:
        await runtime.start(kept)
        before = await until(runtime, kept, lambda status: status.ready)
        pid = int(small.run("inspect", before.containers[0].container_id, "--format", "{{.State.Pid}}"))
        room(small, False)
        with pytest.raises(StartError, match=r"no space left on device.*podman system df") as refused:
            await runtime.start(other)
        assert refused.value.reason == "DiskPressure"
        os.kill(pid, signal.SIGKILL)
        status = await until(runtime, kept, lambda status: status.containers[0].reason == "DiskPressure")
        assert status.containers[0].last_exit_code == 137
        assert status.containers[1].state == "running"
        room(small, True)
        status = await until(runtime, kept, lambda status: status.ready)
        assert [one.restart_count for one in status.containers] == [1, 0]
        await runtime.start(other)
        await until(runtime, other, lambda status: status.ready)
        for spec in (kept, other):
            await runtime.remove(spec.identity)
    assert small.names().split() == []
