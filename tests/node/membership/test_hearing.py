from __future__ import annotations

import pytest

from beemesh_node.membership.hearing import BEAT_EVERY, ENOUGH_DATAGRAMS, RETRY_FIRST, RETRY_MOST, Retry, Rhythm, Way


def test_beats_keep_their_rhythm_though_each_is_a_little_late() -> None:
    rhythm = Rhythm(10.0)
    assert [rhythm.beaten(10.0 + n * BEAT_EVERY + 0.05) for n in range(3)] == pytest.approx(
        [10.0 + n * BEAT_EVERY for n in (1, 2, 3)]
    )


def test_who_was_stopped_does_not_make_up_for_all_that_it_missed() -> None:
    rhythm = Rhythm(0.0)
    rhythm.beaten(0.0)
    assert rhythm.beaten(5.0) == 5.0
    assert rhythm.beaten(5.0) == 5.0 + BEAT_EVERY


def test_who_is_asked_beats_at_once_and_goes_on_from_there() -> None:
    rhythm = Rhythm(0.0)
    rhythm.beaten(0.0)
    rhythm.hurry(0.13)
    assert rhythm.beaten(0.13) == 0.13 + BEAT_EVERY


def test_the_stream_is_given_up_only_for_datagrams_that_come() -> None:
    way = Way()
    assert [way.came_by_datagram() for _ in range(ENOUGH_DATAGRAMS)] == [False] * (ENOUGH_DATAGRAMS - 1) + [True]
    assert way.choose(False)
    assert not way.on_stream
    assert not way.came_by_datagram()
    assert not way.choose(False), "it was told already"
    assert way.choose(True)
    assert way.choose(True), "who missed it is told again"
    assert not way.came_by_datagram(), "they are counted anew"


def test_attempts_become_rarer_until_one_succeeds() -> None:
    retry = Retry()
    waits = [retry.wait() for _ in range(8)]
    assert waits[:3] == [RETRY_FIRST, 2 * RETRY_FIRST, 4 * RETRY_FIRST]
    assert waits[-1] == RETRY_MOST
    retry.opened()
    assert retry.wait() == RETRY_FIRST
