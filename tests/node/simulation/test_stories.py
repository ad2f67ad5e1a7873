"""What people can learn afterwards: each step with its cause, also of machines that are no more."""

from itertools import groupby

import pytest

from beemesh_node.healing import events as ev
from beemesh_node.healing.leases.times import TTL
from beemesh_node.protocol.messages import Maintenance
from beemesh_node.simulation.mesh import Mesh
from beemesh_node.simulation.world import World

from .support import declare
from .test_leases import stateful

SEEDS = range(8)


def running(seed, machines=4, **fields):
    mesh = Mesh.of(machines, World(seed))
    web = declare(**fields)
    mesh.apply(web)
    assert mesh.until(web, 60)
    mesh.world.run(1)
    return mesh, web


def story(mesh, uid, slot):
    """What those who are up can tell of one replica, in order."""
    found = {
        (event.machine, event.reason, event.message): event
        for machine in mesh.up()
        for event in machine.core.events()
        if event.uid == uid and event.slot == slot
    }
    return sorted(found.values(), key=lambda event: event.first_at)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dead_machine_s_story_is_kept_by_guardians_and_the_next_chapter_names_its_cause(seed):
    mesh, web = running(seed, machines=6, replicas=3)
    dead, pod = mesh.pods(web.uid)[0]
    slot, first = pod.status.identity.slot, pod.status.identity.pod_name
    dead.crash()
    for machine in mesh.up():
        machine.tell(ev.MemberGone(dead.id, "the connection was closed"))
    assert mesh.until(web, 10)
    mesh.world.run(1)
    told = story(mesh, web.uid, slot)
    assert [(event.reason, event.machine == dead.id) for event in told] == [
        ("Started", True), ("Scheduled", False), ("Started", False),
    ]  # fmt: skip
    assert told[0].message == f"{first}: replica {slot} runs"
    runner = next(machine for machine, pod in mesh.pods(web.uid) if pod.status.identity.slot == slot)
    gone = f"{dead.member.name} is gone (the connection was closed)"
    assert told[1].message == f"replica {slot} on {runner.member.name}: {gone}"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drained_replica_s_story_says_who_runs_it_now_and_why(seed):
    mesh, web = running(seed, replicas=1)
    drained, pod = mesh.pods(web.uid)[0]
    drained.maintain(Maintenance.DRAIN)
    assert mesh.world.run(30, lambda: not drained.runtime.pods and mesh.as_declared(web))
    mesh.world.run(1)
    scheduled, started, killing = story(mesh, web.uid, 0)[1:]
    (runner, _) = mesh.pods(web.uid)[0]
    name, left = pod.status.identity.pod_name, drained.member.name
    assert (
        scheduled.message == f"replica 0 on {runner.member.name}: {name} on {left} is to leave (its machine is drained)"
    )
    assert started.machine == runner.id
    assert killing.reason == "Killing"
    assert killing.message == f"{name}: its machine is drained, and {runner.member.name} runs it now"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_leased_slot_s_story_says_why_it_waited_and_who_let_it_run(seed):
    mesh = Mesh.of(5, World(seed))
    db = stateful(mesh, replicas=1)
    mesh.apply(db)
    assert mesh.until(db, 20)
    mesh.world.run(1)
    (dead, _) = mesh.pods(db.uid)[0]
    dead.crash()
    for machine in mesh.up():
        machine.tell(ev.MemberGone(dead.id, "the connection was closed"))
    assert mesh.world.run(3 * TTL, lambda: mesh.as_declared(db))
    mesh.world.run(1)
    told = [(event.reason, event.message.partition(": ")[2]) for event in story(mesh, db.uid, 0)]
    assert [reason for reason, _ in groupby(reason for reason, _ in told)] == [
        "LeaseGranted", "Started", "Scheduled", "WaitingForLease", "LeaseGranted", "Started",
    ]  # fmt: skip
    assert told[0][1].startswith("its lease was granted, term ")
    waited = [message for reason, message in told if reason == "WaitingForLease"]
    assert any(f"{dead.id} holds it" in message for message in waited), waited


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replica_that_failed_is_placed_anew_because_of_that(seed):
    mesh, web = running(seed, replicas=1)
    machine, pod = mesh.pods(web.uid)[0]
    machine.runtime.remove(pod.status.identity.pod_uid)
    assert mesh.until(web, 30)
    mesh.world.run(1)
    reasons = [event.reason for event in story(mesh, web.uid, 0)]
    assert reasons == ["Started", "Failed", "Scheduled", "Started"]
    scheduled = story(mesh, web.uid, 0)[2]
    assert f"{pod.status.identity.pod_name} on {machine.member.name} failed (PodRemoved" in scheduled.message
