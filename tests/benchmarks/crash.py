"""From the crash of a container to its replacement running, beside Podman's own start of the same container.

python -m tests.benchmarks.crash --rounds 20        # as root; needs podman, busybox
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from beemesh_node.runtime import Runtime, RuntimeConfig, boottime, open_runtime
from beemesh_node.runtime.container_spec import Surroundings, container_spec
from beemesh_node.runtime.inspection import Inspection, read_inspection
from beemesh_node.runtime.labels import Role
from beemesh_node.runtime.podman_api import PodmanApi
from beemesh_node.runtime.processes import process_end
from beemesh_node.workloads.pod import PodSpec, Resources
from tests.node.runtime.podman_service import INTERFACE, SUBNET, PodmanService, drop_service, make_service
from tests.node.runtime.pods import pod, shell, until

DAEMON_NICENESS = -10
"""That of beemeshd's unit; Podman and the containers have none."""
LEASE = 100.0
KINDS = ("host network", "bridge", "leased")


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds from a SIGKILL, or a request, to the start of the program as Podman notes it."""

    floor: float
    """Podman's start of a container that has crashed, made from the same specification."""
    crash: float
    told: float
    """Until the node's own status says so."""


class Bench:
    """A Podman of its own, and a runtime on it."""

    def __init__(self, runtime: Runtime, config: RuntimeConfig, memory: int) -> None:
        self._runtime, self._config, self._memory = runtime, config, memory
        self._api = PodmanApi(config.socket)

    async def round(self, kind: str) -> Round:
        """One crash, and one start beside it."""
        spec = pod(shell("exec sleep 1000", requests=Resources(cpu_millis=1000)), host_network=kind != "bridge")
        floor = await self._floor(spec)
        spec = replace(spec, leased=kind == "leased")
        await self._runtime.start(spec, boottime() + LEASE if spec.leased else None)
        # The node has seen the start through: what comes with it is not measured here.
        status = await until(self._runtime, spec, lambda status: status.containers[0].image_id != "")
        found = await self._inspect(status.containers[0].container_id)
        began = time.time()
        os.kill(found.pid, signal.SIGKILL)
        status = await until(self._runtime, spec, lambda status: status.containers[0].restart_count == 1)
        told = time.time() - began
        again = await self._inspect(status.containers[0].container_id)
        await self._runtime.remove(spec.identity)
        return Round(floor, again.started_at_ms / 1000 - began, told)

    async def _floor(self, spec: PodSpec) -> float:
        around = Surroundings(self._config, self._memory)
        made = container_spec(spec, spec.template.containers[0], Role.MAIN, 0, (), around)
        # Nobody keeps this one.
        made |= {"name": f"bmrt-bare-{uuid.uuid4()}", "labels": {}}
        container = str((await self._api.post("/containers/create", made))["Id"])
        await self._api.post(f"/containers/{container}/start")
        pid = (await self._inspect(container)).pid
        os.kill(pid, signal.SIGKILL)
        await process_end(pid)
        while (await self._inspect(container)).running:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.01)
        began = time.time()
        await self._api.post(f"/containers/{container}/start")
        started = (await self._inspect(container)).started_at_ms / 1000
        await self._api.delete(f"/containers/{container}", {"force": True, "timeout": 0})
        return started - began

    async def _inspect(self, container: str) -> Inspection:
        return read_inspection(await self._api.get(f"/containers/{container}/json"), self._config.network)


@asynccontextmanager
async def bench(podman: PodmanService, directory: Path) -> AsyncIterator[Bench]:
    """A runtime with the daemon's priority; Podman has its own already."""
    config = RuntimeConfig(
        mesh=uuid.uuid4().hex,
        state_dir=podman.directory / "state",
        secret_dir=directory,
        node_name="node-1",
        socket=podman.socket,
        name_prefix="bmrt-",
        network="bmrt-net",
        network_interface=INTERFACE,
        subnet=SUBNET,
    )
    os.setpriority(os.PRIO_PROCESS, 0, DAEMON_NICENESS)
    async with open_runtime(config) as runtime:
        yield Bench(runtime, config, (await runtime.info()).memory_bytes)


async def measure(podman: PodmanService, directory: Path, rounds: int) -> None:
    """Print the table."""
    results: dict[str, list[Round]] = {kind: [] for kind in KINDS}
    loads = []
    async with bench(podman, directory) as running:
        for kind in KINDS:
            await running.round(kind)  # images and caches of the first time are nobody's business here
        for _ in range(rounds):
            for kind in KINDS:
                results[kind].append(await running.round(kind))
            loads.append(os.getloadavg()[0])
    print(f"{rounds} rounds, {len(os.sched_getaffinity(0))} processors, load {min(loads):.1f} to {max(loads):.1f}")
    print("Times in ms, median / worst.\n")
    print("| container | Podman's start | crash to running | told | crash ÷ start |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for kind, measured in results.items():
        columns = [[each.floor * 1000 for each in measured], [each.crash * 1000 for each in measured]]
        columns.append([each.told * 1000 for each in measured])
        cells = [f"{statistics.median(values):.0f} / {max(values):.0f}" for values in columns]
        ratios = [each.crash / each.floor for each in measured]
        print(f"| {kind} | {' | '.join(cells)} | {statistics.median(ratios):.2f} / {max(ratios):.2f} |")


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description="Time from a crash to the next life, against bare Podman.")
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    podman = make_service()
    directory = Path(tempfile.mkdtemp(prefix="bmrt-", dir="/dev/shm"))  # Secrets need a tmpfs
    try:
        trio.run(measure, podman, directory, rounds)
    finally:
        shutil.rmtree(directory)
        drop_service(podman)


if __name__ == "__main__":
    main()
