"""A restart of the daemon does not restart a container; a Podman that stops in the middle of a start loses nothing."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.node.integration.machine import Machine
from tests.node.integration.manifests import deployment
from tests.node.integration.mesh import Operator
from tests.node.integration.shared import SharedMesh
from tests.node.integration.waiting import until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_containers_outlive_the_daemon(mesh: SharedMesh, admin: Operator, number: signal.Signals) -> None:
    name = f"survivor-{number.name.lower()}"
    admin.apply(deployment(name, replicas=2))
    before = {**mesh.alpha.containers(), **mesh.beta.containers()}
    assert {identity for identity, _ in before.values()} == _container_ids(mesh, admin)
    assert len(before) == 2

    mesh.alpha.restart(number)
    mesh.settle(mesh.alpha, mesh.beta)

    # Who does not say that it leaves counts as dead soon: its pods may have been replaced, but win their slots back.
    until(lambda: {**mesh.alpha.containers(), **mesh.beta.containers()} == before, f"{before} run, and nothing else")
    pods = mesh.pods(admin)
    assert [pod["status"]["phase"] for pod in pods] == ["Running", "Running"]
    assert [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods] == [0, 0]
    admin.delete(f"deployment/{name}")
    assert {**mesh.alpha.containers(), **mesh.beta.containers()} == {}


def test_sigterm_ends_the_daemon_with_success(mesh: SharedMesh) -> None:
    assert mesh.beta.stop(signal.SIGTERM) == 0
    assert not mesh.beta.local_socket.exists()
    mesh.alpha.until(lambda status: "beta" not in status["members"], "has heard that beta leaves")
    mesh.beta.start()
    mesh.settle(mesh.alpha, mesh.beta)


@pytest.mark.parametrize("moment", ["when it is asked", "while it creates"])
def test_podman_that_stops_in_the_middle_of_a_start_comes_back(
    mesh: SharedMesh, admin: Operator, moment: str, frozen_beta: None
) -> None:
    podman = mesh.alpha.podman
    assert podman is not None
    begun, scheduled = _storage(mesh.alpha), _scheduled(mesh)
    with admin.begin("apply", "-f", "-", stdin=json.dumps(deployment("halfway", replicas=2))):
        if moment == "when it is asked":
            until(lambda: _scheduled(mesh) > scheduled, "it is scheduled")
        else:
            until(lambda: _storage(mesh.alpha) - begun, "Podman has begun to create a container")
        podman.kill()
    podman.start()

    pods = until(_when_ready(mesh, admin, 2), "both pods run")
    assert {identity for identity, _ in mesh.alpha.containers().values()} == _container_ids(mesh, admin)
    assert len({pod["metadata"]["name"] for pod in pods}) == 2
    admin.delete("deployment/halfway")
    assert podman.run("ps", "-a", "--external", "--format", "{{.Names}}") == ""
    mesh.alpha.until(lambda status: status["runtime"]["ready"], "runs pods again")


@pytest.fixture
def frozen_beta(mesh: SharedMesh) -> Iterator[None]:
    """Beta takes no pods: its Podman does not answer."""
    assert mesh.beta.podman is not None
    mesh.beta.podman.kill()
    mesh.beta.until(lambda status: not status["runtime"]["ready"], "has noticed that Podman is gone")
    yield
    mesh.beta.podman.start()
    mesh.settle(mesh.alpha, mesh.beta)


def _scheduled(mesh: SharedMesh) -> int:
    """How often a coordinator has given slots away."""
    return sum(machine.log.count('"reason": "Scheduled"') for machine in (mesh.alpha, mesh.beta))


def _storage(machine: Machine) -> set[Path]:
    """The containers that Podman has on disk, finished or not."""
    assert machine.podman is not None
    return set((machine.podman.directory / "root" / "overlay-containers").glob("[0-9a-f]*"))


def _when_ready(mesh: SharedMesh, operator: Operator, count: int) -> Callable[[], list[dict[str, Any]]]:
    def ready() -> list[dict[str, Any]]:
        pods = mesh.pods(operator)
        run = [pod for pod in pods if pod["status"]["phase"] == "Running"]
        return run if len(run) == count == len(pods) else []

    return ready


def _container_ids(mesh: SharedMesh, operator: Operator) -> set[str]:
    pods = mesh.pods(operator)
    return {
        status["containerID"].removeprefix("podman://") for pod in pods for status in pod["status"]["containerStatuses"]
    }
