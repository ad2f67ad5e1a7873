"""How a declaration is doing is told when there is news, not over and over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio

from beemesh_node.daemon.decisions import Decisions
from beemesh_node.daemon.listing import HOLD, Listing
from beemesh_node.healing.core import Core
from beemesh_node.healing.events import ClaimsReported, TimeSet
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import ClaimRef, ClaimReport, ListReply, ListRequest, Resource

ME, RUNNER = MachineId("a" * 52), MachineId("b" * 52)
UID = "0b6f7f0e-1d0c-5a55-9d1f-1f6f1a4f2b11"
ANYBODY = SimpleNamespace(allows=lambda verb, namespace: True, name="anybody")
NOBODY = SimpleNamespace(allows=lambda verb, namespace: False, name="nobody")


class Held(dict[str, Any]):
    """The registry of a machine that holds no record of what it is told about."""

    def __iter__(self) -> Any:
        return iter(())


def report(version: int, *, ready: bool = False) -> ClaimReport:
    claim = ClaimRef(UID, 1, 0, 0, RUNNER, "r")
    names = ("default", "hello", "hello-0", f"{UID}-0", "Running")
    return ClaimReport(claim, *names, ready, "", "", "", "", 0, 0, (), (), gone=False, version=version)


@pytest.fixture
def decisions() -> Decisions:
    return Decisions(Core(ME))


@pytest.fixture
def listing(decisions: Decisions, monkeypatch: pytest.MonkeyPatch) -> Listing:
    told: dict[str, ClaimReport] = {}
    handle = decisions.core.handle

    def take(event: Any, now: float) -> Any:
        if isinstance(event, ClaimsReported):
            told.update({each.pod_uid: each for each in event.reports})
        return handle(event, now)

    # The core forgets claims of what nobody declared: what it would know of a declared one is kept here.
    monkeypatch.setattr(decisions.core, "handle", take)
    monkeypatch.setattr(decisions.core, "own_claims", lambda: tuple(told.values()))
    return Listing(decisions, Held(), None, None, None)  # type: ignore[arg-type]


async def ask(listing: Listing, known: bytes = b"", asker: Any = ANYBODY) -> ListReply:
    request = ListRequest(Resource.ROLLOUT, uid=UID, known=known)
    return await listing.answer(SimpleNamespace(payload=request, sender=SimpleNamespace(certificate=asker)))  # type: ignore[arg-type]


async def nothing(effects: Any) -> None:
    """Perform no effect."""


async def test_an_answer_that_is_known_waits_for_news(
    listing: Listing, decisions: Decisions, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(decisions.run, nothing)
        await decisions.put(ClaimsReported(RUNNER, (report(1),)))
        await decisions.decided()
        first = await ask(listing)
        assert [pod.ready for pod in first.pods] == [False]

        async def later() -> None:
            await trio.sleep(HOLD / 4)
            await decisions.put(TimeSet(0))  # an event, and no news
            await trio.sleep(HOLD / 4)
            await decisions.put(ClaimsReported(RUNNER, (report(2, ready=True),)))

        nursery.start_soon(later)
        asked_at = trio.current_time()
        second = await ask(listing, first.state)
        assert [pod.ready for pod in second.pods] == [True]
        assert second.state != first.state
        assert trio.current_time() - asked_at == pytest.approx(HOLD / 2, abs=0.1)
        nursery.cancel_scope.cancel()


async def test_without_news_the_same_is_told_after_a_while(
    listing: Listing, autojump_clock: trio.testing.MockClock
) -> None:
    first = await ask(listing)
    asked_at = trio.current_time()
    assert await ask(listing, first.state) == first
    assert trio.current_time() - asked_at == pytest.approx(HOLD)


async def test_who_may_not_look_is_told_of_no_pod_and_no_change(listing: Listing, decisions: Decisions) -> None:
    before = await ask(listing, asker=NOBODY)
    decisions.core.handle(ClaimsReported(RUNNER, (report(1),)), 0.0)
    assert await ask(listing, asker=NOBODY) == before == ListReply(state=before.state)
