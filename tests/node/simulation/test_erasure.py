"""Records move with guardianship: nothing is lost on the way, and nothing stays where it is nobody's business."""

from dataclasses import dataclass, field
from dataclasses import replace as altered

import pytest

from beemesh_node.healing.config import Config
from beemesh_node.simulation.mesh import Mesh
from beemesh_node.simulation.world import Faults, World
from beemesh_node.workloads.rollout import Rollout

from .support import change, declare

K = 3
CONFIG = Config(guardians=K, erase_after=5.0)
ROUGH = Faults(least_delay=0.001, most_delay=0.2, drop=0.05, duplicate=0.1)


def holders(mesh, declaration):
    """The machines that have this version of a declaration, or a later one, on their disk."""
    found = ((m.id, m.disk.records.get(declaration.uid)) for m in mesh.machines.values())
    return {machine for machine, held in found if held is not None and held.rank >= declaration.rank}


def tidy(mesh, declaration):
    """Whether guardians and runners have it on their disks, in whatever version, and nobody else has."""
    having = {machine.id for machine in mesh.machines.values() if declaration.uid in machine.disk.records}
    guardians = {machine.id for machine in mesh.guardians(declaration)}
    return having == concerned(mesh, declaration) and guardians <= holders(mesh, declaration)


def concerned(mesh, declaration):
    """Its guardians and runners."""
    return {m.id for m in mesh.guardians(declaration)} | {m.id for m, _ in mesh.pods(declaration.uid)}


@dataclass
class Watched:
    """Checks after every event that whoever erased was allowed to, and that not all has been lost."""

    mesh: Mesh
    declaration: object
    erased: int = 0
    _held: set = field(default_factory=set)
    _count: tuple = ()

    def __post_init__(self):
        self.mesh.world.after_each.append(self.check)

    def check(self):
        count = (len(self.mesh.machines), sum(len(machine.disk.records) for machine in self.mesh.machines.values()))
        if count == self._count:
            return
        self._count = count
        held = holders(self.mesh, self.declaration)
        gone = {machine for machine in self._held - held if machine in self.mesh.machines}
        if gone:
            self.erased += len(gone)
            assert len(held) >= K, f"{self.mesh.world.now:.3f}: erased while {len(held)} held it"
        assert held or not self._held, f"{self.mesh.world.now:.3f}: lost"
        self._held = held


def moving_mesh(seed, faults=None, machines=4, **fields):
    mesh = Mesh.of(machines, World(seed, faults if faults is not None else Faults()), CONFIG)
    web = declare(**fields)
    mesh.apply(web)
    assert mesh.until(web, 60)
    return mesh, web, Watched(mesh, web)


def join(mesh, count):
    for number in range(count):
        mesh.add(f"joined-at-{mesh.world.now}-{number}")


def die(mesh, machine):
    """Never to come back."""
    machine.crash()
    del mesh.machines[machine.id]


@pytest.mark.parametrize("seed", range(5))
def test_when_guardianship_has_moved_only_guardians_and_runners_hold_the_record(seed):
    mesh, web, watched = moving_mesh(seed, replicas=1)
    before = {machine.id for machine in mesh.guardians(web)}
    join(mesh, 12)
    assert mesh.world.run(120, lambda: tidy(mesh, web))
    assert before - {machine.id for machine in mesh.guardians(web)}, "guardianship has moved"
    assert watched.erased
    assert mesh.as_declared(web)
    known = {m.id for m in mesh.machines.values() if m.core.workload(web.uid) is not None}
    assert known == holders(mesh, web), "the core knows what is on the disk"
    mesh.world.run(120)
    assert tidy(mesh, web)


@pytest.mark.parametrize("seed", range(5))
def test_a_runner_erases_once_its_pod_has_gone_elsewhere(seed):
    mesh, web, _ = moving_mesh(seed, machines=10, replicas=8)
    scaled = change(web, replicas=1)
    mesh.apply(scaled)
    assert mesh.until(scaled, 30)
    assert mesh.world.run(120, lambda: tidy(mesh, web))
    assert len(holders(mesh, web)) <= K + 1


def test_where_there_are_no_more_machines_than_guardians_nobody_erases():
    mesh = Mesh.of(K, World(0), CONFIG)
    helper = mesh.add("helper", guardian=False)
    die(mesh, mesh["m0"])
    web = declare(replicas=6)
    mesh.apply(web)
    assert mesh.until(web, 60)
    assert any(machine is helper for machine, _ in mesh.pods(web.uid))
    mesh.apply(none := change(web, replicas=0))
    assert mesh.until(none, 60)
    mesh.world.run(200)
    assert helper.id in holders(mesh, web), "two guardians are not enough to rely on"


@pytest.mark.parametrize("seed", range(3))
def test_tombstones_stay_wherever_they_are(seed):
    mesh, web, _ = moving_mesh(seed)
    join(mesh, 4)
    mesh.world.run(30)
    mesh.delete(web)
    mesh.world.run(10)
    ended = altered(web, deleted=True)
    told = holders(mesh, ended)
    assert told
    join(mesh, 4)
    mesh.world.run(60)
    assert told <= holders(mesh, ended)
    assert {machine.id for machine in mesh.guardians(web)} <= holders(mesh, ended)
    live = {m.id for m in mesh.machines.values() if web.uid in m.disk.records} - holders(mesh, ended)
    assert not live, "nobody holds it as if it were still declared"


@pytest.mark.parametrize("seed", range(3))
def test_voters_and_machines_with_volumes_keep_the_record_also_over_a_power_cut(seed):
    mesh = Mesh.of(12, World(seed), CONFIG)
    slots = {"replicas": 3, "max_surge": 0, "max_unavailable": 1, "rollout": Rollout.PARALLEL, "binds": True}
    named = declare("db", kind="StatefulSet", **slots)
    guardians = {machine.id for machine in mesh.guardians(named)}
    voters = tuple(sorted(set(mesh.machines) - guardians))[:3]
    db = altered(named, voters=voters)
    mesh.apply(db)
    assert mesh.until(db, 60)
    homes = {machine.id for machine, _ in mesh.pods(db.uid)}
    mesh.apply(none := change(db, replicas=0))
    assert mesh.until(none, 60)
    mesh.world.run(100)
    assert holders(mesh, db) == guardians | set(voters) | homes
    for machine in mesh.machines.values():
        machine.crash()
    mesh.world.run(5)
    for machine in mesh.machines.values():
        machine.boot()
    mesh.world.run(100)
    assert holders(mesh, db) == guardians | set(voters) | homes
    mesh.apply(again := change(none, replicas=3))
    assert mesh.until(again, 60)
    assert {machine.id for machine, _ in mesh.pods(db.uid)} == homes, "volumes stay where they are"


@pytest.mark.parametrize("seed", range(12))
def test_whoever_joins_dies_or_is_cut_off_when_nothing_is_lost(seed):
    mesh, web, watched = moving_mesh(seed, faults=ROUGH, machines=8)
    draw = mesh.world.random
    for _ in range(12):
        match draw.choice(("join", "die", "cut", "reboot", "change")):
            case "join":
                join(mesh, draw.randint(1, 3))
            case "die":
                die(mesh, draw.choice([m for m in mesh.machines.values() if m.id in holders(mesh, web)]))
            case "cut":
                one, other = draw.sample(list(mesh.machines), 2)
                mesh.world.network.cut(one, other)
            case "reboot":
                machine = draw.choice(list(mesh.machines.values()))
                machine.crash()
                mesh.world.after(3, lambda m=machine: m.boot() if m.id in mesh.machines else None)
            case "change":
                web = watched.declaration = change(web, replicas=draw.randint(0, 6))
                watched._held = set()
                mesh.apply(web)
        mesh.world.run(draw.uniform(1, 12))
        mesh.world.network.mend()
        mesh.world.run(draw.uniform(0, 12))
    mesh.world.faults = Faults()
    assert mesh.world.run(400, lambda: mesh.as_declared(web) and tidy(mesh, web))
