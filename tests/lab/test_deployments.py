"""Deployments on machines of a lab: placed, asked over HTTP, and what is said when they cannot be placed."""

import json
from collections.abc import Callable

from labs import machines, mesh
from labs.run import run

Declare = Callable[..., str]


def _containers(pod: mesh.Pod) -> dict[str, str]:
    """When each of a pod's containers was started, as the machine's own Podman tells."""
    of_pod = f"label=io.beemesh.pod-name={pod.name}"
    podman = ["podman", "exec", machines.find(pod.machine).container, "podman"]
    listed = json.loads(run([*podman, "ps", "--filter", of_pod, "--format", "json"]))
    return {container["Id"]: container["StartedAt"] for container in listed}


def _describes(name: str, *words: str) -> None:
    def look() -> tuple[str, str | None]:
        text = mesh.beectl("describe", "deployment", name)
        lacking = [word for word in words if word.lower() not in text.lower()]
        return text, f"describe does not speak of {lacking}:\n{text}" if lacking else None

    mesh.until(60, f"the reason why {name} does not run", look)


def test_copies_run_on_different_machines_and_answer(declare: Declare) -> None:
    declare("spread")
    pods = mesh.wait_for_hello("spread")
    assert len({pod.machine for pod in pods}) == 2
    assert [mesh.ask(pod) for pod in pods] == [f"Hello from {pod.name}\n" for pod in pods]


def test_a_restart_of_the_daemon_restarts_no_container(declare: Declare) -> None:
    declare("steady")
    pod = mesh.wait_for_hello("steady")[0]
    before = _containers(pod)
    assert before
    run(["podman", "exec", machines.find(pod.machine).container, "systemctl", "restart", "beemeshd.service"])
    mesh.wait_for_hello("steady")
    assert _containers(pod) == before


def test_a_machine_too_small_says_so(declare: Declare) -> None:
    declare(
        "large",
        replicas=1,
        nodeSelector={"kubernetes.io/hostname": "small-1"},
        resources={"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    )
    _describes("large", "memory")
    assert mesh.pods("app=large") == [] or not any(pod.ready for pod in mesh.pods("app=large"))


def test_an_image_that_does_not_exist_is_named(declare: Declare) -> None:
    declare("imageless", replicas=1, image="localhost/no-such-image:latest")
    _describes("imageless", "localhost/no-such-image:latest")


def test_one_remaining_machine_takes_new_work(declare: Declare, all_machines: list[machines.Machine]) -> None:
    for machine in all_machines[1:]:
        machines.kill(machine)
    declare("alone")
    pods = mesh.wait_for_hello("alone", seconds=90)
    assert {pod.machine for pod in pods} == {all_machines[0].name}


def test_the_same_file_again_changes_nothing(declare: Declare) -> None:
    declare("same")
    before = {pod.name for pod in mesh.wait_for_hello("same")}
    assert "unchanged" in declare("same")
    assert {pod.name for pod in mesh.wait_for_hello("same")} == before
