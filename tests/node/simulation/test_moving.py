"""Machines that operators take out of use, and replicas that they move: nothing is ever missed for it."""

from dataclasses import replace

import pytest

from beemesh_node.healing import events as ev
from beemesh_node.healing.leases.voters import first_voters
from beemesh_node.protocol.messages import Maintenance, PodTerm, Requirements, Taint, Toleration
from beemesh_node.simulation.mesh import Mesh
from beemesh_node.simulation.runtime import Fate
from beemesh_node.simulation.world import Faults, World
from beemesh_node.workloads.rollout import Rollout

from .support import MIB, Bounds, change, declare, watch_capacity

SEEDS = range(8)
ROUGH = Faults(least_delay=0.001, most_delay=0.08, drop=0.05, duplicate=0.1)
CALM = Faults()
APART = PodTerm((), (), "kubernetes.io/hostname", anti=True)


def running(seed, machines=4, faults=CALM, **fields):
    mesh = Mesh.of(machines, World(seed, faults))
    watch_capacity(mesh)
    web = declare(**fields)
    mesh.apply(web)
    assert mesh.until(web, 60)
    return mesh, web, mesh.pods(web.uid)[0][0]


def pods_on(machine):
    return len(machine.runtime.pods)


def told(mesh, reason):
    return [event for machine in mesh.machines.values() for event in machine.events if event.reason == reason]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cordoned_machine_keeps_what_it_has_and_takes_nothing_also_after_a_restart(seed):
    mesh, web, cordoned = running(seed, replicas=4)
    before = pods_on(cordoned)
    cordoned.maintain(Maintenance.CORDON)
    cordoned.stop_daemon()
    cordoned.boot()
    more = change(web, replicas=12)
    mesh.apply(more)
    assert mesh.until(more, 30)
    assert pods_on(cordoned) == before
    cordoned.maintain(Maintenance.NONE)
    mesh.world.run(0.1)
    most = change(more, replicas=30)
    mesh.apply(most)
    assert mesh.until(most, 30)
    assert pods_on(cordoned) > before


@pytest.mark.parametrize("faults", [CALM, ROUGH], ids=["calm", "rough"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_drained_machine_is_empty_and_no_replica_was_missed(seed, faults):
    mesh, web, drained = running(seed, faults=faults, replicas=6, max_surge=2)
    bounds = Bounds(mesh, web)
    drained.maintain(Maintenance.DRAIN)
    assert mesh.world.run(60, lambda: pods_on(drained) == 0 and mesh.as_declared(web))
    if faults is CALM:
        assert bounds.lacked == 0
        assert not bounds.problems
    mesh.world.run(30)
    assert mesh.as_declared(web)
    assert pods_on(drained) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_without_surge_a_drain_ends_first_what_may_be_missed_once_there_is_room_for_it(seed):
    mesh, web, drained = running(seed, replicas=4, max_surge=0, max_unavailable=1)
    bounds = Bounds(mesh, web)
    drained.maintain(Maintenance.DRAIN)
    assert mesh.world.run(60, lambda: pods_on(drained) == 0 and mesh.as_declared(web))
    assert bounds.lacked == 1
    assert not bounds.problems


@pytest.mark.parametrize("window", [{"max_surge": 1}, {"max_surge": 0, "max_unavailable": 1}], ids=["surge", "none"])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_no_other_machine_can_take_stays_and_it_is_said_why(seed, window):
    needed = Requirements(100, 64 * MIB, pod_terms=(APART,))
    mesh, web, drained = running(seed, machines=3, replicas=3, requirements=needed, labels={"app": "web"}, **window)
    bounds = Bounds(mesh, web)
    drained.maintain(Maintenance.DRAIN)
    mesh.world.run(30)
    assert bounds.lacked == 0
    assert pods_on(drained) == 1
    messages = {machine.core.placement_message(web.uid) for machine in mesh.up()}
    assert any("1 of 3 replicas cannot be moved: 0/3 machines can take it" in message for message in messages)
    assert told(mesh, "FailedScheduling")
    mesh.add("spare")
    assert mesh.world.run(60, lambda: pods_on(drained) == 0 and mesh.as_declared(web))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drain_goes_on_after_the_daemon_was_restarted_in_it(seed):
    mesh, web, drained = running(seed, replicas=8)
    drained.maintain(Maintenance.DRAIN)
    mesh.world.run(0.2)
    assert pods_on(drained) > 0
    drained.stop_daemon()
    mesh.world.run(0.5)
    drained.boot()
    assert mesh.world.run(60, lambda: pods_on(drained) == 0 and mesh.as_declared(web))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_broken_leaves_too_and_is_no_loss(seed):
    mesh, web, drained = running(seed, replicas=3)
    for machine in mesh.machines.values():
        machine.runtime.fate = lambda _: Fate.NEVER_READY
        for pod_uid in list(machine.runtime.pods):
            machine.runtime.serve(pod_uid, False)
    mesh.world.run(15)
    drained.maintain(Maintenance.DRAIN)
    assert mesh.world.run(60, lambda: pods_on(drained) == 0)
    mesh.world.run(30)
    assert len(mesh.pods(web.uid)) == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_an_uncordoned_machine_keeps_what_has_not_left_yet(seed):
    mesh, web, drained = running(seed, replicas=8)
    drained.maintain(Maintenance.DRAIN)
    mesh.world.run(0.25)
    drained.maintain(Maintenance.NONE)
    left = pods_on(drained)
    assert mesh.until(web, 30)
    mesh.world.run(30)
    assert mesh.as_declared(web)
    assert 0 < pods_on(drained) <= left


@pytest.mark.parametrize("seed", SEEDS)
def test_by_force_everything_ends_at_once_and_is_placed_anew(seed):
    mesh, web, drained = running(seed, replicas=4)
    drained.maintain(Maintenance.EVICT)
    assert mesh.world.run(0.2, lambda: pods_on(drained) == 0)
    assert mesh.until(web, 30)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_coordinator_may_die_in_the_middle_of_a_drain(seed):
    mesh, web, _ = running(seed, machines=5, replicas=8)
    coordinator = mesh.guardians(web)[0]
    drained = next(machine for machine, _ in mesh.pods(web.uid) if machine is not coordinator)
    drained.maintain(Maintenance.DRAIN)
    mesh.world.run(0.2 + 0.05 * seed)
    coordinator.crash()
    assert mesh.world.run(60, lambda: pods_on(drained) == 0 and mesh.as_declared(web))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drain_and_a_rollout_at_once_respect_both(seed):
    mesh, web, drained = running(seed, replicas=6, max_surge=1, max_unavailable=1)
    following = change(web, revision="bbbbbbbbbb")
    bounds = Bounds(mesh, following)
    mesh.apply(following)
    drained.maintain(Maintenance.DRAIN)
    assert mesh.world.run(90, lambda: pods_on(drained) == 0 and mesh.as_declared(following))
    assert not bounds.problems


@pytest.mark.parametrize("seed", SEEDS)
def test_an_operator_moves_one_replica(seed):
    mesh, web, crowded = running(seed, replicas=2)
    bounds = Bounds(mesh, web)
    identity = next(pod for machine, pod in mesh.pods(web.uid) if machine is crowded).status.identity
    report = next(r for r in crowded.core.own_claims() if r.pod_uid == identity.pod_uid)
    crowded.move(report.claim)
    moved = lambda: identity.pod_uid not in crowded.runtime.pods and mesh.as_declared(web)  # noqa: E731
    assert mesh.world.run(30, moved)
    assert bounds.lacked == 0


def test_a_replica_that_cannot_be_moved_stays_after_a_while():
    mesh, web, crowded = running(1, machines=1, replicas=1)
    (report,) = crowded.core.own_claims()
    crowded.move(report.claim)
    mesh.world.run(100)
    (report,) = crowded.core.own_claims()
    assert report.leaving
    mesh.world.run(60)
    (report,) = crowded.core.own_claims()
    assert not report.leaving
    assert mesh.as_declared(web)
    assert told(mesh, "NotMoved")
    more = change(web, replicas=2)
    mesh.apply(more)
    assert mesh.until(more, 10), "the machine takes replicas again"


def leased(seed, **fields):
    """A StatefulSet of which no slot may run twice."""
    mesh = Mesh.of(4, World(seed))
    values = {"kind": "StatefulSet", "max_surge": 0, "max_unavailable": 1, "replicas": 3, **fields}
    db = declare("db", voters=first_voters(sorted(mesh.machines)), **values)
    mesh.apply(db)
    assert mesh.until(db, 60)
    return mesh, db


@pytest.mark.parametrize("rollout", [Rollout.ORDERED, Rollout.PARALLEL, Rollout.RECREATE])
@pytest.mark.parametrize("seed", SEEDS[:4])
def test_a_leased_slot_that_is_drained_never_runs_twice(seed, rollout):
    mesh, db = leased(seed, rollout=rollout)
    drained = mesh.pods(db.uid)[0][0]
    twice = []

    def check():
        slots = [pod.status.identity.slot for _, pod in mesh.pods(db.uid) if pod.status.ready]
        if len(slots) != len(set(slots)):
            twice.append((mesh.world.now, slots))

    mesh.world.after_each.append(check)
    drained.maintain(Maintenance.DRAIN)
    assert mesh.world.run(60, lambda: pods_on(drained) == 0 and mesh.as_declared(db))
    assert not twice


@pytest.mark.parametrize("seed", SEEDS)
def test_a_taint_that_repels_what_runs_moves_it_and_what_tolerates_it_stays(seed):
    tolerant = Requirements(100, 64 * MIB, tolerations=(Toleration("smoke", "Exists"),))
    mesh, web, smoking = running(seed, replicas=8)
    other = declare("other", replicas=8, requirements=tolerant)
    mesh.apply(other)
    assert mesh.until(other, 30)
    here = {pod.status.identity.pod_uid for machine, pod in mesh.pods(other.uid) if machine is smoking}
    bounds = Bounds(mesh, web)
    smoking.member = replace(smoking.member, taints=(Taint("smoke", "", "NoExecute"),))
    smoking.tell(ev.LocalChanged(smoking.member))
    assert mesh.world.run(60, lambda: set(smoking.runtime.pods) == here and mesh.as_declared(web))
    assert bounds.lacked == 0
    assert mesh.as_declared(other)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_taint_that_goes_again_leaves_what_has_not_left_yet(seed):
    mesh, web, smoking = running(seed, machines=1, replicas=2)
    smoking.tell(ev.LocalChanged(replace(smoking.member, taints=(Taint("smoke", "", "NoExecute"),))))
    mesh.world.run(5)
    assert all(report.leaving == "its machine has the taint smoke:NoExecute" for report in smoking.core.own_claims())
    smoking.tell(ev.LocalChanged(smoking.member))
    mesh.world.run(5)
    assert not any(report.leaving for report in smoking.core.own_claims())
    assert mesh.as_declared(web)
