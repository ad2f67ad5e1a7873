from dataclasses import replace

import pytest

from beemesh_node.protocol.messages import Requirements
from beemesh_node.simulation.mesh import GIB, Mesh
from beemesh_node.simulation.network import Faults
from beemesh_node.simulation.runtime import Fate
from beemesh_node.simulation.world import World

from .support import MIB, Bounds, change, declare, watch_capacity

SEEDS = range(8)
ROUGH = Faults(least_delay=0.001, most_delay=0.08, drop=0.05, duplicate=0.1)


def placement(mesh, declaration):
    """How many pods of a declaration each machine runs."""
    where = {}
    for machine, _ in mesh.pods(declaration.uid):
        where[machine.member.name] = where.get(machine.member.name, 0) + 1
    return where


def sent(mesh, kind):
    return sum(machine.sent.get(kind, 0) for machine in mesh.machines.values())


@pytest.mark.parametrize("machines", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_two_replicas_run_on_three_two_and_one_machines(machines, seed):
    mesh = Mesh.of(machines, World(seed))
    web = declare()
    mesh.apply(web)
    assert mesh.until(web, 2)
    assert max(placement(mesh, web).values()) == (2 if machines == 1 else 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rough_network_delays_but_neither_loses_nor_doubles(seed):
    mesh = Mesh.of(4, World(seed, ROUGH))
    watch_capacity(mesh)
    web = declare(replicas=5)
    mesh.apply(web)
    assert mesh.until(web, 60)
    mesh.world.run(60)
    assert mesh.as_declared(web)


@pytest.mark.parametrize("seed", SEEDS)
def test_fifty_replicas_are_one_round(seed):
    mesh = Mesh.of(3, World(seed))
    web = declare(replicas=50, requirements=Requirements(10, MIB))
    began = mesh.world.now
    mesh.apply(web)
    assert mesh.until(web, 2)
    assert mesh.world.now - began < 0.15 + 0.1
    assert sent(mesh, "Ask") == 2, "one task to each machine but the coordinator itself"
    assert sent(mesh, "Assign") == 2
    assert max(placement(mesh, web).values()) <= 17


def test_bids_stay_flat_as_the_mesh_grows():
    asked = {}
    for size in (20, 60):
        mesh = Mesh.of(size, World(1))
        before = sent(mesh, "Ask")
        web = declare()
        mesh.apply(web)
        assert mesh.until(web, 3)
        asked[size] = sent(mesh, "Ask") - before
    assert max(asked.values()) <= 8, "one sample, whatever the size of the mesh"


@pytest.mark.parametrize("seed", SEEDS)
def test_machines_too_small_are_left_out_and_named(seed):
    mesh = Mesh(World(seed))
    mesh.add("big", memory=8 * GIB)
    mesh.add("small-1", memory=256 * MIB)
    mesh.add("small-2", memory=256 * MIB)
    mesh.world.run(6)
    web = declare(replicas=3, requirements=Requirements(100, GIB))
    mesh.apply(web)
    assert mesh.until(web, 2)
    assert placement(mesh, web) == {"big": 3}

    huge = declare("huge", replicas=1, requirements=Requirements(100, 32 * GIB))
    mesh.apply(huge)
    mesh.world.run(1)
    message = mesh.guardians(huge)[0].core.placement_message(huge.uid)
    assert message.startswith("1 of 1 replica waits: 0/3 machines can take it: 3 lack memory")
    assert "needs 32Gi memory, 8Gi free" in message
    events = [event for machine in mesh.machines.values() for event in machine.events if event.uid == huge.uid]
    assert [(event.type, event.reason) for event in events] == [("Warning", "FailedScheduling")]


def test_reasons_are_counted_for_each_machine():
    mesh = Mesh(World(3))
    mesh.add("one", memory=64 * MIB)
    mesh.add("two", memory=64 * MIB)
    third = mesh.add("three")
    third.member = replace(third.member, unschedulable=True)
    third.boot()
    mesh.world.run(6)
    web = declare(replicas=1, requirements=Requirements(100, GIB))
    mesh.apply(web)
    mesh.world.run(1)
    message = mesh.guardians(web)[0].core.placement_message(web.uid)
    assert "0/3 machines can take it: 2 lack memory, 1 is cordoned" in message


@pytest.mark.parametrize("seed", SEEDS)
def test_a_waiting_replica_starts_when_a_machine_that_can_joins(seed):
    mesh = Mesh(World(seed))
    mesh.add("small", memory=256 * MIB)
    mesh.world.run(6)
    web = declare(replicas=1, requirements=Requirements(100, GIB))
    mesh.apply(web)
    mesh.world.run(100)
    assert not mesh.pods()
    mesh.add("big")
    assert mesh.until(web, 3)
    mesh.world.run(5)
    assert not mesh.guardians(web)[0].core.placement_message(web.uid)


def test_ten_thousand_replicas_fill_three_machines_and_say_so():
    mesh = Mesh.of(3, World(5))
    watch_capacity(mesh)
    web = declare(replicas=10_000, max_surge=2500)
    mesh.apply(web)
    mesh.world.run(3)
    assert len(mesh.serving(web)) == 120, "40 of 100 millicores on each of three machines"
    message = mesh.guardians(web)[0].core.placement_message(web.uid)
    assert message.startswith("9880 of 10000 replicas wait: 0/3 machines can take it: 3 lack CPU")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_failed_start_goes_to_the_next_bidder(seed):
    mesh = Mesh.of(3, World(seed))
    for name in ("m0", "m1"):
        mesh[name].runtime.fate = lambda _: Fate.FAILS
    web = declare(replicas=2)
    mesh.apply(web)
    assert mesh.until(web, 5)
    assert placement(mesh, web) == {"m2": 2}


def test_a_start_that_fails_everywhere_backs_off_and_says_why():
    mesh = Mesh.of(2, World(1))
    for machine in mesh.machines.values():
        machine.runtime.fate = lambda _: Fate.FAILS
    web = declare(replicas=1)
    mesh.apply(web)
    mesh.world.run(60)
    starts = sum(machine.sent.get("StartPod", 0) for machine in mesh.machines.values())
    assert 4 <= starts <= 10
    message = mesh.guardians(web)[0].core.placement_message(web.uid)
    assert "2 failed to run it and wait" in message
    assert "CreateContainerError" in message
    for machine in mesh.machines.values():
        machine.runtime.fate = lambda _: Fate.READY
    assert mesh.until(web, 300)


def test_a_passing_fault_of_a_machine_is_tried_again_there():
    mesh = Mesh.of(1, World(1))
    mesh["m0"].runtime.fate = lambda _: Fate.LATER
    web = declare(replicas=1)
    mesh.apply(web)
    mesh.world.run(2)
    (claim,) = mesh["m0"].core.claims(web.uid)
    assert (claim.reason, claim.phase, claim.gone) == ("RuntimeUnavailable", "Pending", False)
    mesh["m0"].runtime.fate = lambda _: Fate.READY
    assert mesh.until(web, 10)
    (claim,) = mesh["m0"].core.claims(web.uid)
    assert (claim.claim.attempt, claim.reason) == (0, "")


def test_an_image_that_does_not_exist_is_named_in_the_message():
    mesh = Mesh.of(3, World(1))
    for machine in mesh.machines.values():
        machine.runtime.fate = lambda _: Fate.NO_IMAGE
    web = declare(replicas=2)
    mesh.apply(web)
    mesh.world.run(5)
    for guardian in mesh.guardians(web):
        assert "ImagePullBackOff: no such image" in guardian.core.placement_message(web.uid)


@pytest.mark.parametrize("seed", SEEDS)
def test_scaling_up_and_down_touches_no_other_pod(seed):
    mesh = Mesh.of(3, World(seed))
    web = declare(replicas=3)
    mesh.apply(web)
    assert mesh.until(web)
    before = {pod.status.identity.pod_uid for _, pod in mesh.pods()}
    more = change(web, replicas=6)
    mesh.apply(more)
    assert mesh.until(more, 2)
    assert before <= {pod.status.identity.pod_uid for _, pod in mesh.pods()}
    fewer = change(more, replicas=2)
    mesh.apply(fewer)
    assert mesh.until(fewer, 4)
    left = {pod.status.identity.pod_uid for _, pod in mesh.pods()}
    assert left < before


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_there_before_is_placed_once_when_it_is_wanted_again(seed):
    mesh = Mesh.of(2, World(seed))
    web = declare(replicas=1)
    mesh.apply(web)
    assert mesh.until(web)
    for fields in ({"replicas": 6}, {"replicas": 1}, {"replicas": 6}, {"revision": "b"}, {"revision": "aaaaaaaaaa"}):
        before = sent(mesh, "StartPod")
        held = len(mesh.pods()) if "replicas" in fields else 0
        web = change(web, **fields)
        mesh.apply(web)
        assert mesh.until(web, 60)
        assert sent(mesh, "StartPod") - before == max(web.replicas - held, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_delete_leaves_nothing(seed):
    mesh = Mesh.of(4, World(seed, ROUGH))
    web = declare(replicas=6)
    mesh.apply(web)
    assert mesh.until(web, 60)
    mesh.delete(web)
    assert mesh.world.run(60, lambda: not mesh.pods())
    mesh.world.run(60)
    assert not mesh.pods()
    for machine in mesh.machines.values():
        assert not machine.disk.claims
        assert machine.core.reserved().cpu == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_declaration_again_changes_nothing(seed):
    mesh = Mesh.of(3, World(seed))
    web = declare()
    mesh.apply(web)
    assert mesh.until(web)
    starts = sent(mesh, "StartPod")
    mesh.apply(web)
    mesh.world.run(5)
    assert sent(mesh, "StartPod") == starts
    assert sent(mesh, "StopPod") == 0


def test_of_two_declarations_of_one_name_the_greater_runs():
    mesh = Mesh.of(3, World(1))
    old, new = declare(), replace(declare(), uid="uid-of-other", generation=2)
    mesh.apply(old)
    assert mesh.until(old)
    mesh.apply(new)
    assert mesh.until(new, 5)
    assert not mesh.pods(old.uid)
    core = mesh["m0"].core
    assert [(view.declaration.uid, view.shadowed) for view in core.workloads()] == [(new.uid, False), (old.uid, True)]
    mesh.delete(new)
    assert mesh.until(old, 5), "what was shadowed runs again"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("surge", "unavailable"), [(1, 0), (2, 0), (0, 1), (0, 2), (2, 2)])
def test_a_rollout_keeps_its_bounds_at_every_instant(seed, surge, unavailable):
    mesh = Mesh.of(3, World(seed))
    web = declare(replicas=5, max_surge=surge, max_unavailable=unavailable)
    mesh.apply(web)
    assert mesh.until(web)
    following = change(web, revision="bbbbbbbbbb")
    bounds = Bounds(mesh, following)
    mesh.apply(following)
    assert mesh.until(following, 60)
    assert not bounds.problems
    assert bounds.surged == surge
    assert (bounds.lacked > 0) == (surge == 0)
