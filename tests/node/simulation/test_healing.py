from dataclasses import replace

import pytest

from beemesh_node.healing import events as ev
from beemesh_node.protocol.messages import Requirements
from beemesh_node.simulation.mesh import GIB, Mesh
from beemesh_node.simulation.network import Faults
from beemesh_node.simulation.runtime import Fate
from beemesh_node.simulation.world import World

from .support import Bounds, change, declare, watch_capacity

SEEDS = range(8)
ROUGH = Faults(least_delay=0.001, most_delay=0.08, drop=0.05, duplicate=0.1)


def running_mesh(seed, machines=4, replicas=3, faults=None, **fields):
    mesh = Mesh.of(machines, World(seed, faults if faults is not None else Faults()))
    watch_capacity(mesh)
    web = declare(replicas=replicas, **fields)
    mesh.apply(web)
    assert mesh.until(web, 60)
    return mesh, web


def a_runner(mesh, declaration):
    return mesh.pods(declaration.uid)[0][0]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_replicas_of_a_lost_machine_are_placed_anew(seed):
    mesh, web = running_mesh(seed)
    lost = a_runner(mesh, web)
    lost.crash()
    assert mesh.until(web, 8), "three presences missed, and a start"
    assert "MachineGone" in {event.reason for machine in mesh.machines.values() for event in machine.events}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_machine_reported_gone_is_not_waited_for(seed):
    mesh, web = running_mesh(seed)
    lost = a_runner(mesh, web)
    lost.crash()
    for machine in mesh.up():
        machine.tell(ev.MemberGone(lost.id, "connection closed and redial refused"))
    assert mesh.until(web, 0.5)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_machine_that_comes_back_rebooted_does_not_double_anything(seed):
    mesh, web = running_mesh(seed, faults=ROUGH)
    lost = a_runner(mesh, web)
    lost.crash()
    mesh.world.run(20)
    lost.boot()
    mesh.world.run(60)
    assert mesh.as_declared(web)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_short_reboot_starts_what_was_there(seed):
    mesh, web = running_mesh(seed)
    lost = a_runner(mesh, web)
    lost.crash()
    mesh.world.run(1)
    lost.boot()
    assert mesh.until(web, 30)
    mesh.world.run(30)
    assert mesh.as_declared(web)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_partition_leaves_no_excess_once_it_has_healed(seed):
    mesh, web = running_mesh(seed, machines=5, replicas=4)
    one, others = a_runner(mesh, web), list(mesh.machines)
    for other in others:
        if other != one.id:
            mesh.world.network.cut(one.id, other)
    mesh.world.run(15)
    assert len(mesh.pods(web.uid)) > 4, "both sides run what they can"
    mesh.world.network.mend()
    assert mesh.until(web, 10)
    mesh.world.run(60)
    assert mesh.as_declared(web)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_coordinator_may_die_half_way_through_a_rollout(seed):
    mesh, web = running_mesh(seed, machines=5, replicas=6)
    coordinator = mesh.guardians(web)[0]
    following = change(web, revision="bbbbbbbbbb")
    mesh.apply(following)
    mesh.world.run(0.3 + 0.05 * seed)
    assert not mesh.as_declared(following)
    coordinator.crash()
    assert mesh.until(following, 60)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_coordinator_may_die_in_the_middle_of_an_apply(seed):
    mesh = Mesh.of(5, World(seed))
    web = declare(replicas=6)
    coordinator = mesh.guardians(web)[0]
    mesh.apply(web)
    mesh.world.run(0.004 + 0.002 * seed)
    coordinator.crash()
    assert mesh.until(web, 10)
    mesh.world.run(30)
    assert mesh.as_declared(web)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_coordinator_that_does_not_act_is_stepped_in_for(seed):
    mesh = Mesh.of(4, World(seed))
    web = declare(replicas=3)
    first, *rest = mesh.guardians(web)
    mesh.apply(web, only=rest)
    assert mesh.until(web, 3), "it is alive, but never got the record"
    assert web.uid not in first.disk.records or first.core.workload(web.uid) is not None
    mesh.world.run(10)
    assert web.uid in first.disk.records, "the others bring it the record"


def test_what_two_coordinators_placed_at_once_is_drained():
    config = replace(Mesh.of(1, World(0)).config, standby=0.01)
    most = {}
    for seed in SEEDS:
        mesh = Mesh.of(5, World(seed), config)
        web = declare(replicas=4)
        counts = [0]
        mesh.world.after_each.append(lambda mesh=mesh, web=web, counts=counts: counts.append(len(mesh.pods(web.uid))))
        mesh.apply(web)
        assert mesh.until(web, 10)
        mesh.world.run(30)
        assert mesh.as_declared(web)
        most[seed] = max(counts)
    assert sum(count > 4 for count in most.values()) >= len(SEEDS) / 2, f"guardians have acted at once: {most}"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restart_of_the_daemon_restarts_no_container(seed):
    mesh, web = running_mesh(seed)
    before = {pod.status.identity.pod_uid for _, pod in mesh.pods()}
    for name in sorted(m.member.name for m in mesh.machines.values()):
        mesh[name].stop_daemon()
        mesh.world.run(1.5)
        mesh[name].boot()
        mesh.world.run(8)
    assert {pod.status.identity.pod_uid for _, pod in mesh.pods()} == before
    assert mesh.as_declared(web)


def test_a_restarted_daemon_of_a_large_mesh_waits_until_it_knows_who_is_here():
    mesh = Mesh.large(150, World(1))
    webs = [declare(f"web-{number}", replicas=3) for number in range(20)]
    for web in webs:
        mesh.apply(web)
    mesh.world.run(10)
    before = {pod.status.identity.pod_uid for _, pod in mesh.pods()}
    for restarted in sorted(mesh.machines.values(), key=lambda machine: -len(machine.disk.records))[:3]:
        placed = sum(machine.sent["StartPod"] for machine in mesh.machines.values())
        restarted.stop_daemon()
        mesh.world.run(0.2)
        restarted.boot()
        mesh.world.run(30)
        assert sum(machine.sent["StartPod"] for machine in mesh.machines.values()) == placed
    assert {pod.status.identity.pod_uid for _, pod in mesh.pods()} == before
    assert all(mesh.as_declared(web) for web in webs)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_daemons_restart_at_once_and_nothing_moves(seed):
    mesh, _ = running_mesh(seed)
    before = {pod.status.identity.pod_uid for _, pod in mesh.pods()}
    for machine in mesh.machines.values():
        machine.stop_daemon()
    mesh.world.run(30)
    for machine in mesh.machines.values():
        mesh.world.after(mesh.world.random.uniform(0, 2), machine.boot)
    mesh.world.run(60)
    assert {pod.status.identity.pod_uid for _, pod in mesh.pods()} == before


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_comes_back_after_every_machine_was_off(seed):
    mesh, web = running_mesh(seed)
    for machine in mesh.machines.values():
        machine.crash()
    mesh.world.run(365 * 24 * 3600)
    for machine in mesh.machines.values():
        mesh.world.after(mesh.world.random.uniform(0, 20), machine.boot)
    mesh.world.run(21)
    assert mesh.until(web, 60)
    mesh.world.run(60)
    assert mesh.as_declared(web)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_last_machine_runs_everything_and_takes_new_work(seed):
    mesh, web = running_mesh(seed, machines=3)
    for name in ("m1", "m2"):
        mesh[name].crash()
    assert mesh.until(web, 15)
    more = declare("more", replicas=2)
    mesh.apply(more)
    assert mesh.until(more, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_missed_a_deletion_stops_when_it_meets_a_holder(seed):
    mesh, web = running_mesh(seed)
    away = a_runner(mesh, web)
    for other in mesh.machines:
        if other != away.id:
            mesh.world.network.cut(away.id, other)
    mesh.world.run(5)
    mesh.apply(replace(web, deleted=True, sequence=2, digest=b"x"), only=[m for m in mesh.up() if m is not away])
    mesh.world.run(20)
    assert {machine.id for machine, _ in mesh.pods(web.uid)} == {away.id}
    mesh.world.network.mend()
    assert mesh.world.run(5, lambda: not mesh.pods(web.uid))
    mesh.world.run(60)
    assert not mesh.pods(web.uid)


def test_a_rollout_that_cannot_get_healthy_stops_and_says_so():
    mesh, web = running_mesh(1, machines=3, replicas=4, progress_deadline_seconds=30)
    for machine in mesh.machines.values():
        machine.runtime.fate = lambda i: Fate.NO_IMAGE if i.revision == "bbbbbbbbbb" else Fate.READY
    broken = change(web, revision="bbbbbbbbbb")
    bounds = Bounds(mesh, broken)
    mesh.apply(broken)
    mesh.world.run(29)
    (coordinator, *_) = mesh.guardians(web)
    assert not coordinator.core.workload(web.uid).progress_failed
    mesh.world.run(2)
    seen = coordinator.core.workload(web.uid)
    assert seen.progress_failed
    assert "the rollout stopped: 0 of 4 replicas of its revision available" in seen.message
    assert "ImagePullBackOff" in seen.message
    assert [e.type for e in coordinator.events if e.reason == "ProgressDeadlineExceeded"] == ["Warning"]
    mesh.world.run(600)
    assert not bounds.problems
    assert len(mesh.serving(web)) == 4, "what served goes on serving"

    undone = change(broken, revision=web.revision)
    bounds.declaration = undone
    mesh.apply(undone)
    assert mesh.until(undone, 10)
    assert not coordinator.core.workload(web.uid).progress_failed


def test_min_ready_seconds_hold_a_rollout_back():
    mesh, web = running_mesh(2, replicas=2)
    began = mesh.world.now
    slow = change(web, revision="bbbbbbbbbb", min_ready_seconds=20)
    mesh.apply(slow)
    assert mesh.until(slow, 120)
    assert mesh.world.now - began >= 40


@pytest.mark.parametrize("seed", SEEDS)
def test_without_room_for_a_surge_replica_the_unavailable_ones_make_it(seed):
    mesh = Mesh(World(seed))
    for name in ("a", "b"):
        mesh.add(name, memory=2 * GIB)
    mesh.world.run(6)
    web = declare(replicas=4, max_surge=1, max_unavailable=1, requirements=Requirements(10, GIB))
    mesh.apply(web)
    assert mesh.until(web, 3)
    following = change(web, revision="bbbbbbbbbb")
    bounds = Bounds(mesh, following)
    mesh.world.run(1)
    mesh.apply(following)
    assert mesh.until(following, 60)
    assert not bounds.problems


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pod_removed_by_hand_is_made_again(seed):
    mesh, web = running_mesh(seed)
    machine, pod = mesh.pods(web.uid)[0]
    machine.runtime.remove(pod.status.identity.pod_uid)
    assert mesh.until(web, 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_machine_that_lost_its_disk_is_another_story_for_its_guardians(seed):
    mesh, web = running_mesh(seed)
    lost = a_runner(mesh, web)
    lost.crash()
    lost.disk.claims.clear()
    lost.disk.records.clear()
    mesh.world.run(1)
    lost.boot()
    assert mesh.until(web, 130)
    mesh.world.run(10)
    assert web.uid in lost.disk.records


@pytest.mark.parametrize("seed", range(20))
def test_storms_end_in_what_is_declared(seed):
    """Crashes, restarts, partitions and changes at random; once they end, everything is as declared."""
    mesh, web = running_mesh(seed, machines=6, replicas=5, faults=ROUGH, max_unavailable=1)
    draw = mesh.world.random
    for _ in range(12):
        machine = draw.choice(list(mesh.machines.values()))
        match draw.randrange(6):
            case 0 if machine.core is not None:
                machine.crash()
            case 1 if machine.core is not None:
                machine.stop_daemon()
            case 2:
                mesh.world.network.cut(machine.id, draw.choice(list(mesh.machines)))
            case 3:
                mesh.world.network.mend()
            case 4 if mesh.up():
                revision = draw.choice(("aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"))
                web = change(web, revision=revision, replicas=draw.randrange(1, 8))
                mesh.apply(web)
            case _:
                for other in mesh.machines.values():
                    if other.core is None:
                        other.boot()
        mesh.world.run(draw.uniform(0.1, 6))
    mesh.world.network.mend()
    mesh.world.faults = Faults()
    for machine in mesh.machines.values():
        if machine.core is None:
            machine.boot()
    mesh.apply(web, only=mesh.up())
    assert mesh.until(web, 200)
    mesh.world.run(150)
    assert mesh.as_declared(web)
    for machine in mesh.machines.values():
        running = {pod.status.identity.pod_uid for pod in machine.runtime.pods.values()}
        assert set(machine.disk.claims) == running
        assert len(machine.core.own_claims()) == len(running)
