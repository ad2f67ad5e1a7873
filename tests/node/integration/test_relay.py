"""A relay that tampers with what it passes on: each time it is noticed, told clearly, and harms nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from beemesh_node.protocol.messages import ExecRequest, ListRequest
from tests.node.integration.machine import Machine
from tests.node.integration.mesh import Operator
from tests.node.integration.shared import SharedMesh, shared_pod
from tests.node.integration.waiting import until

LINES = 20_000
"""Of output: several frames of a sealed stream."""
SCRIPT = f"seq 1 {LINES}"


@pytest.fixture
def victim(mesh: SharedMesh) -> Iterator[Operator]:
    """An operator whose only way into the mesh is the relay. The relay is honest again afterwards."""
    yield mesh.admin.enter_by(mesh.relay)
    mesh.be_honest()


@pytest.mark.parametrize(
    ("trick", "counter", "told"),
    [
        ("flip question", {"bad_signature": 1}, "closed the stream without an answer: it refused the message"),
        ("truncate question", {"wrong_length": 1}, "closed the stream without an answer: it refused the message"),
        ("answer instead", {}, "somebody else answered in its place"),
        ("flip answer", {}, "its answer is not believed: message refused (bad_signature)"),
        ("truncate answer", {}, "its answer is not believed: message refused (wrong_length)"),
        ("flip stream", {}, "the stream was altered on the way"),
        ("replay stream", {}, "the stream was altered on the way"),
        ("reorder stream", {}, "the stream was altered on the way"),
        ("cut stream", {}, "the stream was cut before its end: what was shown may be incomplete"),
    ],
)
def test_tampering_is_refused_and_told(
    mesh: SharedMesh, pod: Machine, victim: Operator, trick: str, counter: dict[str, int], told: str
) -> None:
    counted = pod.counted()
    mesh.order(trick, ExecRequest)
    ran = victim.run("exec", "deployment/talker", "--", "sh", "-c", SCRIPT, code=None)
    assert ran.code == 1, ran.err
    assert told in ran.err
    assert "Traceback" not in ran.err
    assert not ran.out.endswith(f"{LINES}\n")
    assert counted.grown() == counter
    assert pod.status() is not None


def test_a_replayed_question_has_no_second_effect(mesh: SharedMesh, pod: Machine, victim: Operator) -> None:
    counted = pod.counted()
    mesh.order("replay question", ExecRequest)
    victim.run("exec", "deployment/talker", "--", "sh", "-c", "echo once >> /tmp/effects")
    until(lambda: counted.grown() == {"replayed": 1}, "the replay is counted", why=counted.grown)
    mesh.be_honest()
    assert victim.run("exec", "deployment/talker", "--", "cat", "/tmp/effects").out == "once\n"


def test_answers_given_to_each_others_questions_are_not_taken(mesh: SharedMesh, victim: Operator) -> None:
    mesh.order("swap answers", ListRequest)
    ran = victim.run("get", "pods")
    assert ran.err.count("somebody else answered in its place") == 2
    assert "talker" not in ran.out


@pytest.fixture(scope="module")
def pod(mesh: SharedMesh) -> Iterator[Machine]:
    """The machine that runs the only pod of Deployment talker."""
    with shared_pod(mesh, "talker") as machine:
        yield machine
