"""Random walks of failure detectors: a pause is no death, whoever is dead is held so, and walks can fail."""

from __future__ import annotations

import math

import pytest

from beemesh_node.membership.watched import Watched
from tests.walks.detection import KINDS, Rules, scaled, walk

PAUSED = {count: Rules(machines=count, deaths_every=math.inf) for count in (2, 3, 5, 8)}


@pytest.mark.parametrize("count", PAUSED)
def test_pauses_of_a_second_beside_four_times_the_load_are_no_deaths(count: int) -> None:
    told = walk(7, 2.0, PAUSED[count])
    assert told.false == []
    assert told.counts["pauses"] >= 2 * count * 8
    assert told.counts["suspicions.false"] > told.counts["pauses"] / 5, "these pauses prove little"


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_whoever_is_dead_is_held_dead_by_all_in_time(count: int) -> None:
    told = walk(count, 5.0, Rules(machines=count, pauses=False, deaths_every=1.0))
    assert told.false == []
    assert told.counts["deaths measured"] >= 5
    assert told.counts["deaths not noticed by all"] == told.counts["not back in time"] == 0
    assert all(each < (0.45 if kind == "killed" else 1.7) for kind in KINDS for each in told.last[kind])


def test_among_pauses_the_dead_are_held_dead_too_and_come_back() -> None:
    told = walk(1, 6.0, Rules(deaths_every=1.0))
    assert told.false == []
    assert told.counts["deaths not noticed by all"] == told.counts["not back in time"] == 0
    assert told.counts["deaths measured"] >= 5


def test_bounds_that_are_too_short_are_found_out() -> None:
    rules = Rules(deaths_every=math.inf, config=scaled(0.6))
    assert walk(1, 2.0, rules).false


def test_a_watcher_that_does_not_judge_anew_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watched, "judge_anew", lambda self, now: None)
    assert any(walk(seed, 20.0, PAUSED[2]).false for seed in range(3))


def test_one_seed_decides_everything() -> None:
    told, again = walk(3, 1.0), walk(3, 1.0)
    assert told == again
    assert walk(4, 1.0).counts != told.counts
