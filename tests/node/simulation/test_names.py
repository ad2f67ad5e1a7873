"""Several declarations of one name, in a mesh that is larger than the number of their guardians."""

import pytest

from beemesh_node.protocol.ids import Uid
from beemesh_node.simulation.mesh import Mesh
from beemesh_node.simulation.world import Faults, World

from .support import declare

ONE = declare(uid=Uid("one"), digest=b"one", replicas=6)
OTHER = declare(uid=Uid("two"), digest=b"two", replicas=6)
"""The same name, declared from another laptop: the greater uid runs."""


def mesh_of(seed):
    return Mesh.of(12, World(seed, Faults(drop=0.05, duplicate=0.05, most_delay=0.1)))


def settled(mesh):
    return mesh.as_declared(OTHER) and not mesh.pods(ONE.uid)


def shadowed(mesh, declaration):
    views = [machine.core.workload(declaration.uid) for machine in mesh.guardians(declaration)]
    return [view is not None and view.shadowed for view in views]


@pytest.mark.parametrize("seed", range(10))
def test_of_two_declared_at_once_one_runs_and_every_guardian_says_that_the_other_is_shadowed(seed):
    mesh = mesh_of(seed)
    mesh.apply(ONE)
    mesh.apply(OTHER)
    mesh.world.run(20)
    mesh.world.faults = Faults()
    assert mesh.world.run(60, lambda: settled(mesh))
    assert shadowed(mesh, ONE) == [True] * 5
    assert shadowed(mesh, OTHER) == [False] * 5
    mesh.world.run(60)
    assert settled(mesh)


@pytest.mark.parametrize("seed", range(10))
def test_one_that_runs_already_gives_way_also_where_nobody_guards_it(seed):
    mesh = mesh_of(seed)
    mesh.apply(ONE)
    assert mesh.until(ONE)
    runners = {machine.id for machine, _ in mesh.pods(ONE.uid)}
    assert runners - {machine.id for machine in mesh.guardians(ONE)}, "some run where no guardian is"
    mesh.apply(OTHER)
    assert mesh.world.run(60, lambda: settled(mesh))


@pytest.mark.parametrize("seed", range(10))
def test_deleting_the_name_ends_both(seed):
    mesh = mesh_of(seed)
    mesh.apply(ONE)
    mesh.apply(OTHER)
    mesh.world.run(seed * 0.2)
    for declaration in (ONE, OTHER):
        mesh.delete(declaration)
    assert mesh.world.run(60, lambda: not mesh.pods())
    mesh.world.run(60)
    assert not mesh.pods()
    views = [machine.core.workload(each.uid) for machine in mesh.guardians(ONE) for each in (ONE, OTHER)]
    assert all(view.declaration.deleted for view in views)


def test_when_the_one_that_runs_is_deleted_the_shadowed_one_takes_its_place():
    mesh = mesh_of(0)
    mesh.apply(ONE)
    mesh.apply(OTHER)
    assert mesh.world.run(60, lambda: settled(mesh))
    mesh.delete(OTHER)
    assert mesh.until(ONE, 60)
