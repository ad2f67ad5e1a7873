from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.membership import detection as d
from beemesh_node.membership.closeness import position
from beemesh_node.membership.detector import Detector
from beemesh_node.membership.neighbourhood import Neighbourhood
from beemesh_node.protocol.ids import MachineId
from tests.node.membership.wires import Wires

COUNTS = [2, 3, 5, 12]


def settled(count: int, seed: int = 0) -> Wires:
    wires = Wires(count, seed)
    wires.run(2.0)
    assert wires.dead == []
    return wires


@pytest.mark.parametrize("count", COUNTS)
def test_whoever_closes_and_refuses_is_dead_in_a_third_of_a_second(count: int) -> None:
    wires = settled(count)
    began = wires.now
    wires.kill(wires.ids[0])
    wires.run(0.4)
    assert wires.believed_dead(wires.ids[0]) == set(wires.ids[1:])
    assert all(0.3 <= at - began < 0.4 and machine == wires.ids[0] for at, _, machine, _ in wires.dead)


@pytest.mark.parametrize("count", COUNTS)
def test_whoever_falls_silent_is_dead_in_a_second_and_a_half(count: int) -> None:
    wires = settled(count)
    began, victim = wires.now, wires.ids[0]
    wires.silence(victim)
    wires.run(1.6)
    assert wires.believed_dead(victim) == set(wires.ids[1:])
    assert all(1.2 <= at - began <= 1.6 for at, _, machine, _ in wires.dead if machine == victim)
    assert {machine for _, by, machine, _ in wires.dead if by != victim} == {victim}


def test_all_but_one_die_at_once_and_that_one_knows() -> None:
    wires = settled(5)
    for victim in wires.ids[1:]:
        wires.silence(victim)
    wires.run(3.0)
    assert {machine for _, by, machine, _ in wires.dead if by == wires.ids[0]} == set(wires.ids[1:])


@pytest.mark.parametrize("count", COUNTS)
def test_pauses_of_a_second_are_no_deaths(count: int) -> None:
    for seed in range(1 if count > 5 else 4):
        wires = settled(count, seed)
        for _ in range(60):
            for machine in wires.ids:
                if wires.random.random() < 0.4 and wires.asleep.get(machine, 0.0) < wires.now - 1.0:
                    wires.pause(machine, 1.0)
            wires.run(wires.random.uniform(0.1, 1.0))
        assert wires.dead == []


def test_a_watcher_that_slept_judges_anew() -> None:
    wires = settled(3)
    sleeper, victim = wires.ids[0], wires.ids[1]
    wires.pause(sleeper, 4.0)
    wires.run(4.5)
    assert victim not in {machine for _, by, machine, _ in wires.dead if by == sleeper}
    assert wires.detectors[sleeper].counts["late"] >= 1


def test_a_watcher_that_slept_vouches_only_for_what_it_heard() -> None:
    wires = settled(3)
    sleeper, victim = wires.ids[0], wires.ids[1]
    wires.silence(victim)
    wires.pause(sleeper, 1.0)
    wires.run(1.1)
    assert wires.detectors[sleeper].counts["late"] >= 1
    silence = wires.detectors[sleeper].silence(victim, wires.now)
    assert silence is not None
    assert silence > 0.9


def test_a_cut_between_two_is_no_death_while_a_third_hears_it() -> None:
    wires = settled(3)
    wires.cut.add(frozenset(wires.ids[:2]))
    wires.run(10.0)
    assert wires.dead == []


def test_one_liar_kills_nobody_and_is_contradicted() -> None:
    wires = settled(3)
    liar, victim, other = wires.ids
    lie = d.Accused(liar, (d.Accusation(victim, wires.life[victim], "I say so"),))
    for machine in (victim, other):
        wires.tell(machine, lie)
    wires.run(5.0)
    assert wires.dead == []
    assert wires.life[victim] == d.Life(1, 1)


def test_two_liars_are_contradicted_at_once() -> None:
    wires = settled(5)
    victim = wires.ids[0]
    for liar in wires.ids[1:3]:
        for machine in wires.ids:
            lie = d.Accused(liar, (d.Accusation(victim, d.Life(1, 0), "we say so"),))
            if machine != liar:
                wires.tell(machine, lie)
    assert wires.dead
    wires.run(0.2)
    assert wires.believed_dead(victim) == set()


def test_who_is_not_close_does_not_count() -> None:
    wires = settled(20)
    victim = wires.ids[0]
    near = wires.detectors[victim].watchers(victim)
    far = sorted(wires.ids, key=lambda m: position(m) ^ position(victim))[-6:]
    witness = wires.detectors[near[0]]
    for liar in far:
        witness.handle(d.Accused(liar, (d.Accusation(victim, d.Life(1, 0), "far"),)), wires.now)
    assert wires.detectors[near[0]].counts["accusations.ignored"] == len(far)
    assert wires.dead == []


def test_presences_from_before_the_death_revive_nobody_later_ones_do() -> None:
    detector = Detector(MachineId("a"))
    b = MachineId("b")
    detector.handle(d.Present(MachineId("a"), d.Life(1, 0), 1), 0.0)
    detector.handle(d.Present(b, d.Life(1, 0), 7), 0.0)
    detector.handle(d.Opened(b), 0.0)
    effects = detector.handle(d.Closed(b), 1.0)
    assert d.Redial(b) in effects
    detector.handle(d.Redialled(b, True), 1.01)
    assert d.Redial(b) in detector.handle(d.Pulse(), 1.3)
    effects = detector.handle(d.Redialled(b, True), 1.31)
    assert any(isinstance(effect, d.Dead) for effect in effects)
    assert detector.handle(d.Present(b, d.Life(1, 0), 8), 1.4) == [d.Refute(1)]
    assert detector.handle(d.Present(b, d.Life(1, 0), 8), 1.5) == [], "it has said that it is here"
    assert detector.handle(d.Present(b, d.Life(1, 0), 7), 9.0) == []
    assert d.Alive(b) in detector.handle(d.Present(b, d.Life(1, 0), 9), 9.1)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_who_was_cut_off_counts_again_as_soon_as_it_hears_of_another(count: int) -> None:
    wires = settled(count)
    lost, *others = wires.ids
    wires.silence(lost)
    wires.run(1.6)
    assert wires.believed_dead(lost) == set(others)
    wires.cut.clear()
    wires.announce(others[0])
    wires.run(0.1)
    assert wires.believed_dead(lost) == set(), "long before presences from before the cut are surely gone"
    assert wires.life[lost].incarnation == 1
    assert all(wires.life[other].incarnation == (count == 2) for other in others), "they have lost but one"


def test_who_refuses_connections_and_still_beats_is_alive() -> None:
    detector, b = Detector(MachineId("a")), MachineId("b")
    detector.handle(d.Present(MachineId("a"), d.Life(1, 0), 1), 0.0)
    detector.handle(d.Present(b, d.Life(1, 0), 7), 0.0)
    detector.handle(d.Opened(b), 0.0)
    detector.handle(d.Closed(b), 1.0)
    for beat in range(5, 15):
        detector.heard(b, beat * 0.2)
        effects = detector.handle(d.Redialled(b, True), beat * 0.2 + 0.1)
        assert not any(isinstance(effect, d.Accuse | d.Dead) for effect in effects)
    assert not any(isinstance(effect, d.Accuse) for effect in detector.handle(d.Pulse(), 3.0))
    due = detector.next_wakeup()
    assert due is not None
    assert due <= 3.1
    assert any(isinstance(effect, d.Dead) for effect in detector.handle(d.Pulse(), 3.1)), "0.3 s after the last beat"


def test_a_machine_whose_clock_went_back_is_believed_after_a_while() -> None:
    detector, b = Detector(MachineId("a")), MachineId("b")
    detector.handle(d.Present(b, d.Life(5000, 0), 7), 0.0)
    detector.handle(d.Left(b), 1.0)
    assert detector.handle(d.Present(b, d.Life(4000, 0), 1), 1.5) == []
    assert d.Alive(b) in detector.handle(d.Present(b, d.Life(4000, 0), 2), 5.0)


def test_a_restart_is_another_life() -> None:
    wires = settled(3)
    victim = wires.ids[0]
    wires.kill(victim)
    wires.run(1.0)
    assert wires.believed_dead(victim) == set(wires.ids[1:])
    wires.down.clear()
    wires.detectors[victim] = Detector(victim)
    wires.life[victim] = d.Life(2, 0)
    for machine in wires.ids:
        wires.announce(machine)
    wires.run(1.0)
    assert wires.believed_dead(victim) == set()


@given(st.integers(1, 60), st.integers(1, 6), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_watchers_and_watched_agree(count: int, k: int, seed: int) -> None:
    random = Random(seed)
    machines = [MachineId(f"{random.random()}") for _ in range(count)]
    around = Neighbourhood()
    for machine in machines:
        assert around.add(machine)
    for machine in random.sample(machines, count // 3):
        assert around.discard(machine)
        machines.remove(machine)
    for machine in machines:
        others = sorted((m for m in machines if m != machine), key=lambda m: position(m) ^ position(machine))
        assert list(around.closest(machine, k)) == others[:k]
        watched = {m for m in machines if m != machine and machine in around.closest(m, k)}
        assert around.watched_by(machine, k) == watched
