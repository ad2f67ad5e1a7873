"""In a mesh of more machines than guardians, a name is told to its guardians only."""

import pytest
import trio

from beemesh_node.protocol.messages import Commit, ListRequest, Resource
from beemesh_node.workloads.manifest import WORKLOADS
from tests.node.cli.conftest import make_mesh

MACHINES = [f"m{number}" for number in range(30)]


@pytest.fixture
def grove(beectl, mesh_dir, tmp_path, monkeypatch, hello):
    """Thirty machines, and `hello` running on some of them."""
    mesh = make_mesh(mesh_dir, tmp_path, monkeypatch, MACHINES)

    def run(fake, declaration):
        mesh.declaration = declaration
        mesh.run_pods(declaration)

    mesh.after_commit = run
    beectl("apply", "-f", hello)
    mesh.asked.clear()
    return mesh


def guardians(mesh, kind="Deployment", name="hello"):
    return {mesh.fakes[machine].name for machine in mesh.guardians("default", kind, name)}


def any_kind(mesh, name="hello"):
    return set().union(*(guardians(mesh, kind, name) for kind in WORKLOADS))


def told_names(mesh):
    return {name for name, payload in mesh.asked if isinstance(payload, ListRequest) and payload.name}


def pods(mesh):
    return [pod for fake in mesh.fakes.values() for pod in fake.pods]


def test_a_change_goes_to_the_guardians_of_the_name(beectl, grove, hello):
    assert len(guardians(grove)) == 5
    beectl("scale", "deployment/hello", "--replicas", "3")
    assert {name for name, payload in grove.asked if isinstance(payload, Commit)} == guardians(grove)
    assert {name for name, _ in grove.asked} == guardians(grove)


@pytest.mark.parametrize(
    "words",
    [
        ["get", "deployment", "hello"],
        ["get", "deployment", "hello", "-o", "yaml"],
        ["describe", "deployment", "hello"],
        ["rollout", "status", "deployment/hello"],
        ["delete", "deployment", "hello", "--wait"],
    ],
)
def test_asking_by_name_tells_it_to_its_guardians_only(beectl, grove, words):
    assert "hello" in beectl(*words).stdout
    assert told_names(grove) <= any_kind(grove)
    assert told_names(grove) & guardians(grove)


@pytest.mark.parametrize("verb", ["get", "describe"])
def test_a_pod_is_asked_for_at_the_guardians_of_its_workload(beectl, grove, verb):
    pod = pods(grove)[0]
    assert pod.pod_name in beectl(verb, "pod", pod.pod_name).stdout
    of_pod = any_kind(grove, pod.pod_name) | guardians(grove, "StatefulSet", pod.pod_name.rsplit("-", 1)[0])
    assert told_names(grove) <= any_kind(grove) | of_pod
    assert told_names(grove) & guardians(grove)


def test_describing_asks_runners_for_what_happened_there_and_nobody_else(beectl, grove):
    runner = next(fake for fake in grove.fakes.values() if fake.pods)
    runner.events = [grove.event(grove.declaration, "Failed", "the disk is full")]
    assert "the disk is full" in beectl("describe", "deployment", "hello").stdout
    runners = {fake.name for fake in grove.fakes.values() if fake.pods}
    asked = {name for name, payload in grove.asked if payload.resource is Resource.EVENTS}
    assert asked == guardians(grove) | runners


def test_a_list_asks_all(beectl, grove):
    assert "hello" in beectl("get", "deployments").stdout
    assert {name for name, _ in grove.asked} == set(MACHINES)


def test_if_no_guardian_answers_all_others_are_asked(beectl, grove):
    machines = grove.guardians("default", "Deployment", "hello")
    other = next(fake for fake in grove.fakes.values() if fake.machine not in machines)
    trio.run(hand_over, grove.fakes[machines[0]], other)
    for machine in machines:
        grove.fakes[machine].silent = True
    assert beectl("get", "deployment", "hello", "--no-headers").stdout.split()[0] == "hello"
    assert told_names(grove) == set(MACHINES)


async def hand_over(holder, other):
    for holding in holder.registry:
        for commit in holding.commits():
            reply, _ = await other.registry.submit(commit, from_operator=False)
            assert reply.accepted
