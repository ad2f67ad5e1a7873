"""Labels that operators change on machines while they run: pods follow them, restarts keep them, others may not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.node.integration.grove import Grove, machines_of, roaming
from tests.node.integration.waiting import until

pytestmark = pytest.mark.long


@pytest.fixture
def as_before(grove: Grove) -> Iterator[None]:
    yield
    grove.admin.run("label", "--all", "disk-", "rack-")


def _labels(grove: Grove, name: str) -> dict[str, str]:
    node: dict[str, Any] = grove.admin.json("get", "machine", name)
    labels: dict[str, str] = node["metadata"]["labels"]
    return labels


@pytest.mark.usefixtures("as_before")
def test_a_pod_waits_for_a_label_which_outlives_the_daemon_and_whose_loss_ends_nothing(grove: Grove) -> None:
    admin = grove.admin
    on_ssd = {"nodeSelector": {"disk": "ssd"}}
    admin.apply(roaming("picky", 1, pod=on_ssd), wait=False)
    until(
        lambda: "3 do not match the node selector" in admin.run("describe", "deployment", "picky").out,
        "it is said what the replica waits for",
    )
    assert admin.run("label", "machine", "elm", "disk=ssd").out == "node/elm labeled\n"
    running = until(grove.elm.containers, "it runs where the label is")
    assert machines_of(grove.pods(admin, "-l", "app=picky")) == ["elm"]

    grove.elm.restart(signal.SIGKILL)
    grove.settle()
    until(lambda: _labels(grove, "elm").get("disk") == "ssd", "its presence still has it")
    assert admin.run("label", "elm", "disk=ssd").out == "node/elm not labeled\n"
    admin.apply(roaming("picky-too", 1, pod=on_ssd))
    assert machines_of(grove.pods(admin, "-l", "app=picky-too")) == ["elm"]
    admin.delete("deployment/picky-too")

    assert admin.run("label", "elm", "disk-").out == "node/elm unlabeled\n"
    until(lambda: "disk" not in _labels(grove, "elm"), "its presence has it no more")
    admin.apply(roaming("picky-late", 1, pod=on_ssd), wait=False)
    until(
        lambda: "3 do not match the node selector" in admin.run("describe", "deployment", "picky-late").out,
        "nothing new finds a place",
    )
    grove.elm.restart(signal.SIGKILL)
    grove.settle()
    assert "disk" not in _labels(grove, "elm")
    assert grove.elm.containers() == running, "what ran goes on as it was"
    admin.delete("deployment/picky", "deployment/picky-late")


@pytest.mark.usefixtures("as_before")
def test_labels_take_their_verb_and_a_machine_that_answers(grove: Grove) -> None:
    admin = grove.admin
    local = grove.operator("shelver", ["*"], ["get", "cordon"])
    local.enter_by(*grove.machines)
    assert "node/oak: shelver may not label machines" in local.run("label", "oak", "rack=r1", code=3).err
    assert "machine yew not found" in admin.run("label", "yew", "rack=r1", code=1).err
    fixed = admin.run("label", "oak", "kubernetes.io/os=plan9", "--overwrite", code=2).err
    assert "label kubernetes.io/os cannot be changed: the machine finds it out itself" in fixed

    grove.fir.stop(signal.SIGKILL)
    told = admin.run("label", "oak", "fir", "rack=r1", code=None)
    grove.fir.start()
    grove.settle()
    assert told.out == "node/oak labeled\n"
    assert told.code in (1, 4)
    assert "node/fir: " in told.err
    assert "run it again" in told.err
    assert _labels(grove, "oak")["rack"] == "r1"
    taken = admin.run("label", "oak", "rack=r2", code=1).err
    assert "node/oak: 'rack' already has a value (r1), and --overwrite is false" in taken
    ran = admin.run("label", "machines", "-l", "rack=r1", "rack=r2", "--overwrite").out
    assert ran == "node/oak labeled\n"
