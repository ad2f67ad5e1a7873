"""Random walks over the rules of leases: none doubles a holder, and without any one rule some does."""

from __future__ import annotations

from math import inf

import pytest

from beemesh_node.healing.leases.lease import Lease, Question
from beemesh_node.healing.leases.voter import Grant, Voter
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import LeaseRelease, LeaseRequest
from tests.walks.lease import Rules, TwoHoldersError, seeds, walk

MINUTES = 60
FIRST_FAULT = 60
"""Walks within which a dropped rule must show."""


def test_no_walk_ends_with_two_holders() -> None:
    held = sum(walk(seed, minutes)["held"] for seed, minutes in seeds(1000, MINUTES))
    assert held > MINUTES / 2, "these walks prove little: hardly anybody ever held the lease"


class NotExclusive(Voter):
    def _live(self, slot: int, now: float) -> Grant | None:
        return None


class NotSilent(Voter):
    def _is_silent(self, slot: int, now: float) -> bool:
        return False


class OlderSets(Voter):
    def _outdated(self, request: LeaseRequest) -> bool:
        return False


class ManySuccessors(Voter):
    def _signed_other(self, members: frozenset[MachineId]) -> bool:
        return False


class AnySuccessor(Voter):
    def _may_follow(self, members: frozenset[MachineId]) -> bool:
        return True


class AtOnce(Voter):
    def _too_early(self, now: float) -> bool:
        return False


class LateReleases(Voter):
    def released(self, machine: MachineId, release: LeaseRelease) -> None:
        grant = self._grants.get(release.slot)
        if grant is not None and (grant.machine, grant.pod_uid) == (machine, release.pod_uid):
            del self._grants[release.slot]


class FromTheAnswer(Lease):
    def _end_of(self, question: Question) -> float:
        return super()._end_of(question) + 3.0


DROPPED = {
    "a grant is exclusive": Rules(voter=NotExclusive),
    "a restarted voter is silent": Rules(voter=NotSilent),
    "older voter sets are refused": Rules(voter=OlderSets),
    "one successor is signed": Rules(voter=ManySuccessors),
    "successors differ by one voter": Rules(voter=AnySuccessor, single_steps=False),
    "the next successor waits for a TTL": Rules(voter=AtOnce),
    "a release ends only what was granted before it": Rules(voter=LateReleases),
    "a lease counts from when it was asked for": Rules(lease=FromTheAnswer),
}


@pytest.mark.parametrize("rule", DROPPED)
def test_without_one_rule_the_slot_runs_twice(rule: str) -> None:
    with pytest.raises(TwoHoldersError):
        _walks(DROPPED[rule])


class ForgetsTheFormerSet(Voter):
    def _last_end(self) -> float:
        return -inf


def test_a_long_lease_of_a_former_set_counts_on_behind_short_renewals() -> None:
    """The one fault that 220,000 minutes of walks have found."""
    assert walk(121913)["held"]
    with pytest.raises(TwoHoldersError):
        walk(121913, rules=Rules(voter=ForgetsTheFormerSet))


def _walks(rules: Rules) -> None:
    for seed in range(FIRST_FAULT):
        walk(seed, rules=rules)
