"""What the runtime costs on top of Podman, measured against Podman itself in the same run and in turn."""

from __future__ import annotations

import json
import os
import statistics
import uuid
from typing import Any

import pytest
import trio
from podman.api.client import APIClient

from beemesh_node.runtime import Runtime, RuntimeConfig
from beemesh_node.workloads.pod import Resources
from tests.node.runtime.podman_service import IMAGE, PodmanService
from tests.node.runtime.pods import idle, pod, shell, until

ROUNDS, MOST_ROUNDS = 5, 15
WEIGHT = Resources(cpu_millis=1000)
"""Podman's own weight for a container, so that the kernel treats both alike while other work runs beside tests."""
MAX_START_RATIO = 1.5
MAX_RESTART_RATIO = 3.0
"""Of the quickest rounds, for the same reason: what else runs only ever adds. The medians are printed with `-s`."""


class BarePodman:
    """Create and start by two requests, and nothing else."""

    def __init__(self, podman: PodmanService, config: RuntimeConfig) -> None:
        self._client = APIClient(base_url=f"unix://{podman.socket}", timeout=60)
        self._network = config.network

    def start(self, network: str) -> str:
        spec: dict[str, Any] = {
            "name": f"bmrt-bare-{uuid.uuid4()}",
            "image": IMAGE,
            "command": ["sleep", "1000"],
            "netns": {"nsmode": network},
        }
        if network == "bridge":
            spec["networks"] = {self._network: {}}
        headers = {"Content-Type": "application/json"}
        made = self._client.post("/containers/create", data=json.dumps(spec), headers=headers)
        container = str(made.json()["Id"])
        assert self._client.post(f"/containers/{container}/start").status_code == 204
        return container

    def remove(self, container: str) -> None:
        self._client.delete(f"/containers/{container}", params={"force": "true", "timeout": 0})


@pytest.mark.parametrize("network", ["host", "bridge"])
async def test_a_start_costs_little_more_than_podmans_own(
    runtime: Runtime, podman: PodmanService, config: RuntimeConfig, network: str
) -> None:
    bare = BarePodman(podman, config)
    own: list[float] = []
    ours: list[float] = []
    while unsure(own, ours, MAX_START_RATIO):
        began = trio.current_time()
        container = await trio.to_thread.run_sync(bare.start, network)
        own.append(trio.current_time() - began)
        spec = pod(shell("exec sleep 1000", requests=WEIGHT), host_network=network == "host")
        began = trio.current_time()
        await runtime.start(spec)
        ours.append(trio.current_time() - began)
        await trio.to_thread.run_sync(bare.remove, container)
        await runtime.remove(spec.identity)
    report(network, "start", own, ours)
    assert min(ours) / min(own) < MAX_START_RATIO


@pytest.mark.parametrize("network", ["host", "bridge"])
async def test_a_crashed_container_runs_again_at_once(
    runtime: Runtime, podman: PodmanService, config: RuntimeConfig, network: str
) -> None:
    bare = BarePodman(podman, config)
    own: list[float] = []
    ours: list[float] = []
    while unsure(own, ours, MAX_RESTART_RATIO):
        began = trio.current_time()
        container = await trio.to_thread.run_sync(bare.start, network)
        own.append(trio.current_time() - began)
        await trio.to_thread.run_sync(bare.remove, container)
        spec = pod(idle(requests=WEIGHT), host_network=network == "host")
        await runtime.start(spec)
        status = await until(runtime, spec, lambda status: status.containers[0].image_id != "")
        process = int(podman.run("inspect", status.containers[0].container_id, "--format", "{{.State.Pid}}"))
        began = trio.current_time()
        os.kill(process, 9)
        await until(runtime, spec, lambda status: status.containers[0].restart_count == 1)
        ours.append(trio.current_time() - began)
        await runtime.remove(spec.identity)
    report(network, "restart", own, ours)
    assert min(ours) / min(own) < MAX_RESTART_RATIO


def unsure(own: list[float], ours: list[float], bound: float) -> bool:
    """Whether another round is needed: there were few, or the quickest are over the bound and there may be more."""
    return len(own) < ROUNDS or (len(own) < MOST_ROUNDS and min(ours) / min(own) >= bound)


def report(network: str, what: str, own: list[float], ours: list[float]) -> None:
    first, second = statistics.median(own) * 1000, statistics.median(ours) * 1000
    print(f"\n{network}: p50 of Podman's create and start {first:.0f} ms, {what} {second:.0f} ms, {second / first:.2f}")
