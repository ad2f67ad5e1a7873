"""Guardians are told of claims in bundles; the one on the same machine at once, and never over the network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from beemesh_node.healing.config import Config
from beemesh_node.healing.effects import Tell
from beemesh_node.healing.outbox import Outbox
from beemesh_node.healing.reporter import Reporter
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import ClaimRef, ClaimReport, ClaimReports

REPEAT = Config().report_repeat
ME, OTHER = MachineId("me"), MachineId("other")


def report(pod_uid: str) -> ClaimReport:
    claim = ClaimRef("uid", 1, 0, 0, ME, "r")
    names = ("default", "hello", "hello-0", pod_uid, "Running")
    return ClaimReport(claim, *names, True, "", "", "", "", 0, 0, (), (), gone=False, version=1)


CLAIM: Any = SimpleNamespace(pod_uid="pod", path=("default", "Deployment", "hello"))


class Desk:
    """A reporter, what it has its own guardian hear, and what it tells others."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.members = {ME, OTHER}
        self.outbox = Outbox(ME, Config())
        context: Any = SimpleNamespace(
            me=ME, config=Config(), outbox=self.outbox, guardians=lambda path: (ME, OTHER), members=self.members
        )
        self.reporter = Reporter(context, report, self._hear)

    def _hear(self, reports: Any, now: float) -> None:
        self.heard.extend(each.pod_uid for each in reports)

    def told(self, now: float) -> list[Tell]:
        self.outbox.timers.fire(now)
        self.reporter.flush(now)
        return [effect for effect in self.outbox.take() if isinstance(effect, Tell)]


def test_what_changes_when_a_bundle_is_due_is_not_told_to_oneself_over_the_network() -> None:
    desk = Desk()
    desk.reporter.changed(CLAIM)
    assert [effect.machine for effect in desk.told(1.0)] == [OTHER]
    assert desk.heard == ["pod"]


def test_what_did_not_reach_a_guardian_is_told_again_after_a_moment_until_it_does() -> None:
    desk = Desk()
    desk.reporter.changed(CLAIM)
    for now in (1.0, 1.0 + REPEAT, 1.0 + 2 * REPEAT):
        (told,) = desk.told(now)
        assert isinstance(told.payload, ClaimReports)
        assert [each.pod_uid for each in told.payload.reports] == ["pod"]
        desk.reporter.untold(told.machine, told.payload, now)
        assert desk.told(now + REPEAT / 2) == []
    desk.told(1.0 + 3 * REPEAT)
    assert desk.told(100.0) == [], "nobody said that the last one was lost"


def test_a_guardian_that_is_gone_is_not_told_again() -> None:
    desk = Desk()
    desk.reporter.changed(CLAIM)
    (told,) = desk.told(1.0)
    assert isinstance(told.payload, ClaimReports)
    desk.reporter.untold(OTHER, told.payload, 1.0)
    desk.members.discard(OTHER)
    assert desk.told(1.0 + REPEAT) == []
