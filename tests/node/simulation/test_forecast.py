"""What a dry run foretells: the machines that the placement then takes, and nothing done for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from beemesh_node.healing import events as ev
from beemesh_node.healing.forecast import MAX_AT_ONCE
from beemesh_node.protocol.messages import Forecast, Requirements
from beemesh_node.simulation.mesh import GIB, Mesh
from beemesh_node.simulation.world import World

from .support import change, declare


def forecast(mesh: Mesh, declaration) -> Forecast:
    """Ask the guardian that would coordinate."""
    said: list[Forecast] = []
    coordinator = mesh.guardians(declaration)[0]
    coordinator.tell(ev.ForecastAsked(coordinator.expect(said.append), declaration))
    assert mesh.world.run(10, lambda: bool(said))
    return said[0]


def where(mesh, declaration):
    return {pod.status.identity.slot: machine.id for machine, pod in mesh.pods(declaration.uid)}


def told(found: Forecast):
    return {place.slot: place.machine for place in found.places}


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_reserved_assigned_or_stored(seed):
    mesh = Mesh.of(4, World(seed))
    web = declare(replicas=3)
    found = forecast(mesh, web)
    assert len(set(told(found).values())) == 3, "spread, as a placement spreads them"
    assert (found.waiting, found.message) == (0, "")
    mesh.world.run(30)
    assert not mesh.pods()
    assert all(machine.core.reserved().pods == 0 for machine in mesh.up())
    assert not any(machine.sent.get(kind) for machine in mesh.up() for kind in ("Assign", "PersistClaim", "StartPod"))


def test_the_placement_takes_the_machine_that_was_foretold():
    mesh = Mesh.of(4, World(3))
    busy = declare("busy", replicas=3, requirements=Requirements(1000, GIB))
    mesh.apply(busy)
    assert mesh.until(busy)
    web = declare("web", replicas=1)
    found = told(forecast(mesh, web))
    mesh.apply(web)
    assert mesh.until(web)
    assert where(mesh, web) == found


def test_what_runs_already_stays_and_only_the_rest_is_asked_for():
    mesh = Mesh.of(4, World(5))
    web = declare(replicas=2)
    mesh.apply(web)
    assert mesh.until(web)
    found = forecast(mesh, change(web, replicas=4))
    stays = {place.slot: place.machine for place in found.places if place.stays}
    assert stays == where(mesh, web)
    assert sorted(told(found)) == [0, 1, 2, 3]
    assert set(told(found).values()) == {machine.id for machine in mesh.up()}, "the others have none yet"


def test_a_new_template_is_placed_anew():
    mesh = Mesh.of(3, World(6))
    web = declare(replicas=2)
    mesh.apply(web)
    assert mesh.until(web)
    assert not any(place.stays for place in forecast(mesh, change(web, revision="bbbbbbbbbb")).places)


def test_what_finds_no_room_is_counted_with_every_reason():
    mesh = Mesh.of(3, World(7))
    greedy = declare(replicas=5, requirements=Requirements(100, 10**15))
    found = forecast(mesh, greedy)
    assert (found.places, found.waiting) == ((), 5)
    assert "3 lack memory" in found.message
    assert "needs" in found.message


def test_too_many_at_once_are_asked_to_come_again():
    mesh = Mesh.of(2, World(8))
    web = declare()
    coordinator = mesh.guardians(web)[0]
    said: list[Forecast] = []
    for _ in range(MAX_AT_ONCE + 1):
        coordinator.tell(ev.ForecastAsked(coordinator.expect(said.append), web))
    assert mesh.world.run(10, lambda: len(said) == MAX_AT_ONCE + 1)
    assert sum("ask again" in found.message for found in said) == 1
    assert forecast(mesh, web).places, "and later it is told"


def test_machines_that_do_not_answer_only_take_their_time():
    mesh = Mesh.of(3, World(9))
    web = declare(replicas=1)
    for machine in mesh.up():
        if machine is not mesh.guardians(web)[0]:
            machine.pause()
    assert told(forecast(mesh, web)) == {0: mesh.guardians(web)[0].id}


def test_slots_with_volumes_go_only_where_these_are():
    mesh = Mesh.of(3, World(10))
    db = declare("db", replicas=2, binds=True)
    coordinator = mesh.guardians(db)[0]
    other = next(machine for machine in mesh.up() if machine is not coordinator)
    coordinator.core._context.homes[db.uid, 0] = other.id
    coordinator.core._context.homes[db.uid, 1] = "gone"
    found = forecast(mesh, replace(db))
    assert told(found) == {0: other.id}
    assert found.waiting == 1
    assert "slot 1 on gone" in found.message
