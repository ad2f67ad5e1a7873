"""What is of higher priority finds room at the cost of what is of lower, and that is placed anew."""

import pytest

from beemesh_node.protocol.messages import Expression, PodTerm, Requirements
from beemesh_node.simulation.mesh import Mesh
from beemesh_node.simulation.world import Faults, World

from .support import MIB, change, declare, watch_capacity

SEEDS = range(8)
ROUGH = Faults(least_delay=0.001, most_delay=0.08, drop=0.05, duplicate=0.1)


def full(seed, machines=3, faults=None):
    """Machines of which each has room for four pods of one CPU, all taken by pods of low priority."""
    mesh = Mesh.of(machines, World(seed, faults if faults is not None else Faults()))
    watch_capacity(mesh)
    low = of("low", 0, replicas=4 * machines)
    mesh.apply(low)
    assert mesh.until(low, 60)
    return mesh, low


def of(name, priority, *, cpu=1000, **fields):
    return declare(name, requirements=Requirements(cpu, 64 * MIB, priority=priority), **fields)


def events(mesh, reason, name=None):
    found = [event for machine in mesh.machines.values() for event in machine.events if event.reason == reason]
    return [event for event in found if name in (None, event.name)]


@pytest.mark.parametrize("faults", [None, ROUGH], ids=["calm", "rough"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_higher_priority_finds_room_and_no_more_pods_go_than_have_to(seed, faults):
    mesh, low = full(seed, faults=faults)
    high = of("high", 100, replicas=2)
    mesh.apply(high)
    assert mesh.until(high, 30)
    mesh.world.run(20)
    assert mesh.as_declared(high)
    assert len(mesh.serving(low)) == 10
    assert events(mesh, "Preempted", "low")
    if faults is None:
        assert len(events(mesh, "Preempted")) == 2
        (told,) = {event.message.partition(": ")[2] for event in events(mesh, "Preempted")}
        assert told == "default/high of priority 100 takes the room of priority 0"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_evicted_run_again_as_soon_as_there_is_room(seed):
    mesh, low = full(seed)
    high = of("high", 100, replicas=2)
    mesh.apply(high)
    assert mesh.until(high, 30)
    mesh.add("spare")
    assert mesh.until(low, 60)
    assert mesh.as_declared(high)


@pytest.mark.parametrize("priority", [-1, 0])
@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_goes_for_an_equal_or_a_lower_priority(seed, priority):
    mesh, low = full(seed)
    other = of("other", priority)
    mesh.apply(other)
    mesh.world.run(60)
    assert mesh.as_declared(low)
    assert not mesh.pods(other.uid)
    assert not events(mesh, "Preempted")
    assert events(mesh, "FailedScheduling", "other")


@pytest.mark.parametrize("seed", SEEDS)
def test_where_there_is_room_nobody_goes(seed):
    mesh, low = full(seed)
    mesh.add("spare")
    mesh.world.run(5)
    high = of("high", 100, replicas=4)
    mesh.apply(high)
    assert mesh.until(high, 30)
    assert mesh.as_declared(low)
    assert not events(mesh, "Preempted")


@pytest.mark.parametrize("seed", SEEDS)
def test_of_several_the_lowest_goes_and_one_big_rather_than_two_small(seed):
    mesh = Mesh.of(1, World(seed))
    watch_capacity(mesh)
    crowd = [of("mid", 5, cpu=2000, replicas=1), of("small", 1, replicas=2)]
    for each in crowd:
        mesh.apply(each)
        assert mesh.until(each, 20)
    one = of("one", 10, replicas=1)
    mesh.apply(one)
    assert mesh.until(one, 20)
    assert {event.name for event in events(mesh, "Preempted")} == {"small"}
    two = of("two", 10, cpu=2000, replicas=1)
    mesh.apply(two)
    assert mesh.until(two, 20)
    assert {event.name for event in events(mesh, "Preempted")} == {"small", "mid"}
    assert len(events(mesh, "Preempted")) == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_the_evicted_may_evict_what_is_lower_still(seed):
    mesh, low = full(seed)
    mid, high = of("mid", 50, replicas=4), of("high", 100, replicas=4)
    mesh.apply(mid)
    assert mesh.until(mid, 40)
    mesh.apply(high)
    assert mesh.world.run(60, lambda: mesh.as_declared(mid) and mesh.as_declared(high))
    assert len(mesh.serving(low)) == 4


@pytest.mark.parametrize("seed", SEEDS)
def test_the_new_pod_starts_when_the_old_one_has_ended_also_over_a_restart(seed):
    mesh, low = full(seed, machines=1)
    (machine,) = mesh.up()
    machine.runtime.stop_time = 8.0
    high = of("high", 100, replicas=1)
    mesh.apply(high)
    assert mesh.world.run(10, lambda: bool(events(mesh, "Preempted")))
    machine.stop_daemon()
    mesh.world.run(1)
    machine.boot()
    most = 0

    def look():
        nonlocal most
        most = max(most, len(mesh.pods()))
        return mesh.as_declared(high)

    assert mesh.world.run(60, look)
    assert most == 4, "there is room for four"
    assert len(mesh.serving(low)) == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_replicas_that_avoid_each_other_do_so_also_where_others_go_for_them(seed):
    mesh = Mesh(World(seed))
    for number in range(4):
        mesh.add(f"m{number}", labels={"zone": "ab"[number % 2]})
    mesh.world.run(5)
    low = of("low", 0, replicas=16)
    mesh.apply(low)
    assert mesh.until(low, 60)
    apart = PodTerm((Expression("app", "In", ("high",)),), (), "zone", anti=True)
    needed = Requirements(1000, 64 * MIB, priority=9, pod_terms=(apart,))
    high = declare("high", replicas=3, requirements=needed, labels={"app": "high"})
    mesh.apply(high)
    mesh.world.run(20)
    zones = [machine.member.labels["zone"] for machine, _ in mesh.pods(high.uid)]
    assert sorted(zones) == ["a", "b"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rollout_of_what_is_important_goes_on_in_a_full_mesh(seed):
    mesh, low = full(seed)
    high = of("high", 100, replicas=3)
    mesh.apply(high)
    assert mesh.until(high, 30)
    following = change(high, revision="bbbbbbbbbb")
    mesh.apply(following)
    assert mesh.until(following, 60)
    mesh.world.run(70)
    assert len(mesh.serving(low)) == 9
