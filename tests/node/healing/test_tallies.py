"""What is counted of the decision core's work, and how things stand."""

from dataclasses import replace

from beemesh_node.healing.effects import StartPod, StopPod
from beemesh_node.healing.events import (
    ClaimsReported,
    DeclarationStored,
    MemberGone,
    PodChanged,
    PodEnded,
    Wakeup,
)
from beemesh_node.healing.tallies import BOUNDS, Deficits, Durations, Tallies
from beemesh_node.protocol.messages import Bid, LeaseRefusal, LeaseReply, NoReason, Refusal
from beemesh_node.workloads.pod import ContainerStatus, PodPhase
from tests.node.healing.support import WEB, core_of, guarded_by, of, status


def container(restarts):
    return ContainerStatus("main", "i", "running", True, True, restart_count=restarts)


def start(core, declaration, now):
    (begun,) = of(core.handle(DeclarationStored(declaration, True), now), StartPod)
    return begun.identity


def test_a_placement_is_counted_with_the_time_from_the_commit_until_the_replica_was_ready():
    core = core_of()
    identity = start(core, WEB, 10.0)
    assert core.tallies.placements.buckets == [0] * (len(BOUNDS) + 1)
    core.handle(PodChanged(status(identity, ready=False)), 10.2)
    core.handle(PodChanged(status(identity)), 10.4)
    core.handle(PodChanged(status(identity, ready=False)), 10.5)
    core.handle(PodChanged(status(identity)), 10.9)
    placements = core.tallies.placements
    assert sum(placements.buckets) == 1
    assert placements.buckets[BOUNDS.index(0.5)] == 1
    assert abs(placements.total - 0.4) < 1e-9
    assert (core.tallies.bids, core.tallies.accepted, dict(core.tallies.rounds)) == (1, 1, {"placed": 1})


def test_a_replica_that_was_lost_is_placed_anew_and_counted_from_its_loss():
    core = core_of()
    identity = start(core, WEB, 10.0)
    core.handle(PodChanged(status(identity)), 10.4)
    begun = of(core.handle(PodEnded(identity.pod_uid, "PodRemoved"), 20.0), StartPod)
    now = 20.0
    while not begun:
        now = core.next_wakeup()
        begun = of(core.handle(Wakeup(), now), StartPod)
    core.handle(PodChanged(status(begun[0].identity)), now + 0.2)
    assert sum(core.tallies.placements.buckets) == 2
    assert abs(core.tallies.placements.total - (0.4 + now + 0.2 - 20.0)) < 1e-9
    assert core.tallies.failed_pods == 1


def test_only_the_coordinator_counts_a_placement():
    core = core_of("other")
    core.handle(DeclarationStored(guarded_by("other", "me"), True), 10.0)
    standing = core.standing()
    assert (standing.stood_by, sum(standing.coordinated.values())) == (1, 0)
    identity = None
    while identity is None:  # the other does nothing about it
        now = core.next_wakeup()
        identity = next((effect.identity for effect in of(core.handle(Wakeup(), now), StartPod)), None)
    core.handle(PodChanged(status(identity)), now + 0.1)
    assert sum(core.tallies.placements.buckets) == 0
    assert core.standing().claims["running"] == 1


def test_refusals_are_counted_by_their_reason():
    core = core_of(cpu_allocatable=50)
    core.handle(DeclarationStored(WEB, True), 10.0)
    standing = core.standing()
    assert standing.coordinated["without_room"] == 1
    assert core.tallies.rounds["short"] == 1
    tallies = Tallies()
    tallies.bid(Bid(b"", 0, 0, 0, (Refusal(NoReason.CPU, "needs 1"), Refusal(NoReason.TAINT))))
    tallies.bid(Bid(b"", 2, 500, 0))
    tallies.offered(1, [(Refusal(NoReason.HOST_PORT),)])
    assert (tallies.bids, dict(tallies.bid_refusals)) == (1, {"cpu": 1, "taint": 1})
    assert (tallies.accepted, dict(tallies.slot_refusals)) == (1, {"host_port": 1})


def test_answers_of_voters_are_counted():
    tallies = Tallies()
    for reply in (None, LeaseReply(LeaseRefusal.NONE), LeaseReply(LeaseRefusal.HELD), LeaseReply(LeaseRefusal.HELD)):
        tallies.lease_answered(reply)
    assert dict(tallies.lease_answers) == {"unanswered": 1, "granted": 1, "held": 2}


def test_restarts_of_containers_are_counted():
    core = core_of()
    identity = start(core, WEB, 10.0)
    for restarts in (0, 1, 1, 3):
        core.handle(PodChanged(status(identity, containers=(container(restarts),))), 11.0 + restarts)
    assert core.tallies.restarts == 3


def test_how_things_stand():
    core = core_of("b", "c")
    core.handle(MemberGone("c", "it left"), 9.0)
    assert core.standing().members == {"ready": 2, "cordoned": 0, "not_ready": 0}
    core = core_of()
    assert core.standing().members["ready"] == 1
    identity = start(core, WEB, 10.0)
    standing = core.standing()
    assert standing.coordinated == {
        "complete": 0, "progressing": 1, "without_room": 0, "stopped": 0, "shadowed": 0,
    }  # fmt: skip
    assert (standing.claims["waiting"], standing.ready) == (1, 0)
    core.handle(PodChanged(status(identity)), 10.4)
    standing = core.standing()
    assert (standing.coordinated["complete"], standing.claims["running"], standing.ready) == (1, 1, 1)
    ended = core.handle(DeclarationStored(replace(WEB, sequence=2, deleted=True)), 11.0)
    assert of(ended, StopPod)
    standing = core.standing()
    assert (sum(standing.coordinated.values()), standing.claims["terminating"], standing.ready) == (0, 1, 0)
    assert standing.claims[PodPhase.RUNNING.lower()] == 0
    core.handle(PodEnded(identity.pod_uid), 12.0)
    assert sum(core.standing().claims.values()) == 0


def test_a_member_that_is_cordoned_or_not_ready_is_counted_as_that():
    core = core_of(unschedulable=True)
    core.handle(ClaimsReported("b", ()), 1.0)
    assert core.standing().members["cordoned"] == 1
    core = core_of(ready=False, unschedulable=True)
    assert core.standing().members == {"ready": 0, "cordoned": 0, "not_ready": 1}


def test_what_another_declaration_of_its_name_overrides_is_shadowed():
    core = core_of()
    identity = start(core, WEB, 10.0)
    core.handle(PodChanged(status(identity)), 10.4)
    core.handle(DeclarationStored(replace(WEB, uid="v", generation=2, replicas=0)), 11.0)
    for _ in range(10):
        core.handle(Wakeup(), core.next_wakeup())
    coordinated = core.standing().coordinated
    assert (coordinated["complete"], coordinated["shadowed"]) == (1, 1)


def test_durations_fall_into_the_bucket_of_their_bound():
    durations = Durations()
    for seconds in (0.0, 0.1, 0.11, 300.0, 300.1):
        durations.add(seconds)
    assert durations.buckets[0] == 2
    assert durations.buckets[1] == 1
    assert durations.buckets[-2:] == [1, 1]


def test_a_deficit_lasts_until_it_is_filled_or_no_longer_declared():
    deficits = Deficits()
    deficits.lacking((0, 1), 1.0)
    deficits.lacking((0,), 2.0)
    assert deficits.filled(0, 3.0) == 2.0
    assert deficits.filled(0, 3.0) is None
    deficits.keep(1)
    assert deficits.filled(1, 3.0) is None
