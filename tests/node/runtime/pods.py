"""Pods for tests, and waiting for what they do."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import trio

from beemesh_node.runtime import Runtime
from beemesh_node.workloads.pod import Container, PodIdentity, PodSpec, PodStatus, PodTemplate, PullPolicy
from tests.node.runtime.podman_service import IMAGE

DEADLINE = 30.0
"""Seconds after which a test gives up waiting."""


def shell(script: str, name: str = "main", **fields: Any) -> Container:
    """A container that runs a shell script as its first process."""
    container = Container(name, IMAGE, PullPolicy.NEVER, command=("sh", "-c", script))
    return replace(container, **fields)


def idle(name: str = "main", **fields: Any) -> Container:
    """A container that does nothing, and ends at once on SIGTERM."""
    return shell("trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done", name, **fields)


def pod(*containers: Container, **template: Any) -> PodSpec:
    """A pod that is quick to make: on the machine's network, and with a short grace.

    (A shell that is signalled before its trap is set hears nothing.)
    """
    uid = str(uuid.uuid4())
    identity = PodIdentity("default", "Deployment", "web", str(uuid.uuid4()), 0, 1, 1, "r1", f"web-{uid[:5]}", uid)
    quick = {"host_network": True, "termination_grace_seconds": 1}
    return PodSpec(identity, PodTemplate(containers=containers, **{**quick, **template}))


def bridged(*containers: Container, **template: Any) -> PodSpec:
    """A pod with a network of its own."""
    return pod(*containers, host_network=False, **template)


async def until(runtime: Runtime, spec: PodSpec, holds: Callable[[PodStatus], bool]) -> PodStatus:
    """The first status of a pod for which something holds."""
    last: PodStatus | None = None
    with trio.move_on_after(DEADLINE):
        while True:
            for status in runtime.pods():
                if status.identity == spec.identity:
                    last = status
                    if holds(status):
                        return status
            await runtime.changes.receive()
    raise AssertionError(f"not reached within {DEADLINE} s; last seen: {last}")


async def run_in(runtime: Runtime, spec: PodSpec, script: str, container: str = "main") -> str:
    """What a shell script prints in a container; fails if the script does."""
    output = b""
    with trio.fail_after(DEADLINE):
        async with runtime.exec(spec.identity, container, ["sh", "-c", script]) as session:
            async for _, piece in session:
                output += piece
            code = await session.exit_code()
    assert code == 0, output.decode()
    return output.decode().strip()


async def log_of(runtime: Runtime, spec: PodSpec, container: str = "main", *, previous: bool = False) -> str:
    output = b""
    async with runtime.logs(spec.identity, container, previous=previous) as pieces:
        async for _, piece in pieces:
            output += piece
    return output.decode()
