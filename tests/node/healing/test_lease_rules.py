"""The rules of leases, one at a time: a voter, a pod's lease, and how voter sets follow each other."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.healing.leases.lease import Lease, Question
from beemesh_node.healing.leases.reform import successor
from beemesh_node.healing.leases.times import LONG_TTL, MARGIN, STRETCH, TTL, voter_seconds
from beemesh_node.healing.leases.voter import Voter
from beemesh_node.healing.leases.voters import Voters, first_voters, merged
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import LeaseRefusal, LeaseReply, LeaseRequest, VoterProposal
from beemesh_node.protocol.voters import SlotMark

A, B, C, D, E = (MachineId(name) for name in "abcde")
SET = Voters(0, frozenset((A, B, C)))
UID = Uid("u")
GRANTED, HELD = LeaseRefusal.NONE, LeaseRefusal.HELD


def voter(voters: Voters = SET, me: MachineId = A, now: float = 0.0) -> Voter:
    return Voter(me, UID, voters, now)


def request(
    pod: str = "p", number: int = 0, ttl: float = TTL, term: int = 0, round_: int = 1, *, binds: bool = False
) -> LeaseRequest:
    return LeaseRequest("u", 0, pod, number, round(ttl * 1000), term, binds, round_)


def lease(pod: str = "p", voters: Voters = SET) -> Lease:
    return Lease(UID, 0, pod, False, voters, itertools.count(1).__next__)


def grant_all(one: Lease, questions: list[Question], now: float, term: int = 0) -> None:
    for question in questions:
        one.answered(question, LeaseReply(GRANTED, 0, term), now)


def taken(one: Lease, now: float = 0.0) -> None:
    grant_all(one, one.questions(now), now)
    grant_all(one, one.questions(now), now)
    assert one.held(now)


# ---- a voter


def test_a_grant_lasts_longer_for_its_voter_than_for_its_runner() -> None:
    one = voter()
    assert one.requested(A, request(), 0).refusal is GRANTED
    assert one.requested(B, request("q"), STRETCH * TTL - 0.01).refusal is HELD
    assert one.requested(B, request("q"), STRETCH * TTL).refusal is GRANTED
    for ttl in (TTL, LONG_TTL):
        assert (ttl - MARGIN) * 1.01 < voter_seconds(ttl) * 0.99, "with both clocks 1 % wrong"


def test_the_same_name_of_a_pod_on_another_machine_is_another_pod() -> None:
    one = voter()
    one.requested(A, request(), 0)
    assert one.requested(B, request(), 1).refusal is HELD


def test_a_release_ends_what_was_granted_before_it_and_nothing_else() -> None:
    one = voter()
    one.requested(A, request(round_=5), 0)
    release = lease().release()
    others = ((B, replace(release, round=9)), (A, replace(release, round=4)), (A, replace(release, pod_uid="q")))
    for stranger, said in others:
        one.released(stranger, said)
        assert one.requested(B, request("q"), 1).refusal is HELD
    one.released(A, replace(release, round=5))
    assert one.requested(A, request(round_=5), 1).refusal is LeaseRefusal.OVER, "asked before, arrived after"
    assert one.requested(B, request("q"), 1).refusal is GRANTED


def test_a_restarted_voter_is_silent_about_slots_that_it_may_have_granted() -> None:
    one = voter()
    one.requested(A, request(), 0)
    again = Voter.restarted(A, one.held, 100.0)
    assert again.requested(B, request("q"), 100.0).refusal is LeaseRefusal.RESTARTED
    assert again.requested(B, replace(request("q"), slot=1), 100.0).refusal is GRANTED
    assert again.requested(B, request("q"), 100.0 + voter_seconds(TTL)).refusal is GRANTED


def test_a_restarted_voter_remembers_a_long_grant_and_what_it_signed() -> None:
    one = voter()
    one.requested(A, request(ttl=LONG_TTL), 0)
    one.proposed(VoterProposal("u", 1, (A, B, C, D)), 0)
    again = Voter.restarted(A, one.held, 100.0)
    assert again.requested(A, request(), 100.0).refusal is GRANTED
    assert again.requested(B, request("q"), 100.0 + voter_seconds(LONG_TTL) - 1).refusal is HELD
    assert again.proposed(VoterProposal("u", 1, (A, B)), 1000.0) is LeaseRefusal.SIGNED


def test_nobody_gets_a_grant_longer_than_a_restart_takes() -> None:
    for ttl in (0.0, LONG_TTL + 1):
        assert voter().requested(A, request(ttl=ttl), 0).refusal is LeaseRefusal.INVALID


def test_where_volumes_are_is_known_for_good_once_the_lease_was_taken() -> None:
    one = voter()
    one.requested(A, request(binds=True), 0)
    assert one.requested(B, request("q", binds=True), 50).refusal is GRANTED, "only asked for, never taken"
    one.requested(B, request("q", term=1, binds=True), 50)
    reply = one.requested(A, request(binds=True), 1000)
    assert (reply.refusal, reply.holder) == (LeaseRefusal.ELSEWHERE, B)
    again = Voter.restarted(A, one.held, 2000)
    assert again.requested(A, request(binds=True), 3000).refusal is LeaseRefusal.ELSEWHERE


def test_a_voter_follows_voter_sets_one_by_one_and_refuses_older_ones() -> None:
    one = voter()
    second = Voters(2, frozenset((A, B, C, D, E)))
    assert not one.shown([second], 0)
    assert one.requested(A, request(number=2), 0).refusal is LeaseRefusal.BEHIND
    assert one.shown([Voters(1, frozenset((A, B, C, D)), (SlotMark(0, 7),)), second], 0)
    reply = one.requested(A, request(number=1), 0)
    assert (reply.refusal, reply.number) == (LeaseRefusal.OUTDATED, 2)
    assert one.requested(A, request(number=2), 0).term == 7, "what the signers knew"
    left = Voters(1, frozenset((B, C)))
    gone = voter()
    gone.shown([left], 0)
    assert gone.requested(A, request(number=1), 0).refusal is LeaseRefusal.NO_VOTER


def test_a_voter_signs_one_successor_and_the_next_only_later() -> None:
    one, first = voter(), (A, B, C, D)
    assert one.proposed(VoterProposal("u", 1, first), 0) is GRANTED
    assert one.proposed(VoterProposal("u", 1, first), 0) is GRANTED
    assert one.proposed(VoterProposal("u", 1, (A, B)), 0) is LeaseRefusal.SIGNED
    assert one.proposed(VoterProposal("u", 2, (A, B)), 0) is LeaseRefusal.BEHIND
    one.shown([Voters(1, frozenset(first))], 5)
    assert one.proposed(VoterProposal("u", 1, (A, B)), 500) is LeaseRefusal.OUTDATED
    assert one.proposed(VoterProposal("u", 2, (A, B, C)), 5 + TTL) is LeaseRefusal.EARLY
    assert one.proposed(VoterProposal("u", 2, (A, B, D, E)), 500) is LeaseRefusal.INVALID
    assert one.proposed(VoterProposal("u", 2, (A, B, C)), 5 + voter_seconds(TTL)) is GRANTED


@pytest.mark.parametrize("restarted", [False, True])
def test_a_long_grant_of_the_former_set_is_waited_for_though_short_ones_have_followed(restarted: bool) -> None:
    one, members = voter(), (A, B, C, D)
    long_until = 1 + voter_seconds(LONG_TTL)
    assert one.requested(A, request(ttl=LONG_TTL, term=1), 1).refusal is GRANTED
    one.shown([Voters(1, frozenset(members))], 5)
    now, round_ = 6.0, 2
    while now + voter_seconds(TTL) < long_until + 1:
        assert one.requested(A, request(number=1, term=1, round_=round_), now).refusal is GRANTED
        now, round_ = now + 2.5, round_ + 1
        if restarted and now > 30:
            one, restarted = Voter.restarted(A, one.held, now), False
            long_until = now + voter_seconds(LONG_TTL)
    assert one.proposed(VoterProposal("u", 2, (A, B, C)), long_until - 0.1) is LeaseRefusal.EARLY
    assert one.proposed(VoterProposal("u", 2, (A, B, C)), long_until + 0.1) is GRANTED


# ---- a pod's lease


def test_a_lease_takes_a_majority_twice_and_ends_with_the_time_it_was_asked_at() -> None:
    one = lease()
    first = one.questions(0)
    assert [question.voter for question in first] == [A, B, C]
    one.answered(first[0], LeaseReply(GRANTED, 0, 4), 1)
    assert one.term == 0
    one.answered(first[1], LeaseReply(GRANTED, 0, 6), 1)
    assert one.term == 7
    second = one.questions(1)
    one.answered(second[0], LeaseReply(GRANTED), 3)
    assert not one.held(3)
    one.answered(second[1], LeaseReply(GRANTED), 4)
    assert one.end == 1 + TTL - MARGIN


def test_grants_of_different_voter_sets_are_not_added_up() -> None:
    one = lease()
    grant_all(one, one.questions(0), 0)
    questions = one.questions(0)
    one.answered(questions[0], LeaseReply(GRANTED), 0)
    assert one.follow(Voters(1, frozenset((A, B, C, D))))
    for question in questions[1:]:
        one.answered(question, LeaseReply(GRANTED), 0)
    assert not one.held(0)


def test_what_was_got_in_vain_is_given_back_but_never_what_may_be_running() -> None:
    for runs in (False, True):
        one = replace(lease(), runs=runs)
        questions = one.questions(0)
        one.answered(questions[0], LeaseReply(GRANTED), 0)
        told = [one.answered(question, LeaseReply(HELD, remaining_ms=9000), 0) for question in questions[1:]][-1]
        assert bool(told) is not runs


def test_a_lease_that_is_held_is_renewed_and_its_pod_ends_in_time_if_not() -> None:
    one = lease()
    taken(one)
    assert one.questions(1) == []
    again = one.questions(3.0)
    assert len(again) == 3
    assert one.end_pod_at == pytest.approx(0.6 * TTL)
    grant_all(one, again[:2], 3.1)
    assert one.end == 3.0 + TTL - MARGIN
    one.lengthen()
    grant_all(one, one.questions(4.0), 4.0)
    assert one.end == 4.0 + LONG_TTL - MARGIN


# ---- voter sets


@given(st.integers(1, 12))
def test_first_voters_are_an_odd_number_of_the_best(count: int) -> None:
    machines = [MachineId(f"m{number:02}") for number in range(count)]
    chosen = first_voters(machines)
    assert len(chosen) % 2 == 1
    assert len(chosen) == min(5, count - 1 + count % 2)
    assert set(chosen) == set(machines[: len(chosen)])


@given(st.integers(1, 8), st.sets(st.integers(0, 9)), st.data())
def test_replacing_voters_comes_to_an_end_with_an_odd_number_of_living_ones(
    machines: int, lost: set[int], data: st.DataObject
) -> None:
    everybody = [MachineId(f"m{number}") for number in range(10)]
    here = [each for number, each in enumerate(everybody) if number not in lost][:machines]
    start = data.draw(st.sets(st.sampled_from(everybody), min_size=1, max_size=5))
    present = Voters(0, frozenset(start))
    for _ in range(30):
        following = successor(present, [each for each in present.members if each not in here], here, len(here))
        if following is None:
            break
        assert present.may_follow(following)
        present = Voters(present.number + 1, following)
    else:
        pytest.fail("it never comes to an end")
    if len(here) >= 5:
        assert len(present.members) == 5
        assert present.members <= set(here)


def test_of_two_marks_the_greater_term_counts_and_a_place_is_never_forgotten() -> None:
    marks = [SlotMark(1, 3), SlotMark(0, 2, "a"), SlotMark(0, 5), SlotMark(0, 1)]
    assert merged(marks) == (SlotMark(0, 5, "a"), SlotMark(1, 3))
