"""Guardians are told of claims in bundles; the one on the same machine at once, and never over the network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from beemesh_node.healing.config import Config
from beemesh_node.healing.effects import Tell
from beemesh_node.healing.outbox import Outbox
from beemesh_node.healing.reporter import Reporter
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import ClaimRef, ClaimReport

ME, OTHER = MachineId("me"), MachineId("other")


def report(pod_uid: str) -> ClaimReport:
    claim = ClaimRef("uid", 1, 0, 0, ME, "r")
    names = ("default", "hello", "hello-0", pod_uid, "Running")
    return ClaimReport(claim, *names, True, "", "", "", "", 0, 0, (), (), gone=False, version=1)


def test_what_changes_when_a_bundle_is_due_is_not_told_to_oneself_over_the_network() -> None:
    heard: list[str] = []

    def hear(reports: Any, now: float) -> None:
        heard.extend(each.pod_uid for each in reports)

    outbox = Outbox(ME, Config())
    context: Any = SimpleNamespace(me=ME, config=Config(), outbox=outbox, guardians=lambda path: (ME, OTHER))
    reporter = Reporter(context, report, hear)
    claim: Any = SimpleNamespace(pod_uid="pod", path=("default", "Deployment", "hello"))
    reporter.changed(claim)
    reporter.flush(1.0)
    told = [effect for effect in outbox.take() if isinstance(effect, Tell)]
    assert [effect.machine for effect in told] == [OTHER]
    assert heard == ["pod"]
