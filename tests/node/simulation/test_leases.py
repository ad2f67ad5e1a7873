"""Leased slots on simulated machines: one holder, whatever the network does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from beemesh_node.healing import events as ev
from beemesh_node.healing.config import Config
from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.leases.times import TTL
from beemesh_node.healing.leases.voters import first_voters
from beemesh_node.protocol.ids import Uid
from beemesh_node.simulation.machine import Machine
from beemesh_node.simulation.mesh import Mesh
from beemesh_node.simulation.world import Faults, World
from beemesh_node.workloads.pod import PodPhase
from beemesh_node.workloads.rollout import Rollout

from .support import change, declare

SEEDS = range(2)


@dataclass
class Twice:
    """Notes whenever a slot of a declaration runs twice."""

    mesh: Mesh
    uid: Uid
    moments: list[tuple[float, list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mesh.world.after_each.append(self.check)

    def check(self) -> None:
        running = [
            (pod.status.identity.slot, machine.member.name)
            for machine, pod in self.mesh.pods(self.uid)
            if pod.status.phase is PodPhase.RUNNING
        ]
        if max(Counter(slot for slot, _ in running).values(), default=0) > 1:
            self.moments.append((self.mesh.world.now, [f"{slot} on {name}" for slot, name in running]))


def stateful(mesh: Mesh, name: str = "db", **fields: Any) -> Declaration:
    values = {"kind": "StatefulSet", "max_surge": 0, "max_unavailable": 1, "rollout": Rollout.ORDERED}
    return declare(name, **{"voters": first_voters(sorted(mesh.machines)), **values, **fields})


def running(seed: int, machines: int = 3, **fields: Any) -> tuple[Mesh, Declaration, Twice]:
    mesh = Mesh.of(machines, World(seed))
    db = stateful(mesh, **fields)
    twice = Twice(mesh, db.uid)
    mesh.apply(db)
    assert mesh.until(db, 20)
    return mesh, db, twice


@pytest.mark.parametrize("seed", SEEDS)
def test_slots_begin_in_order_and_keep_running(seed: int) -> None:
    mesh, db, twice = running(seed, replicas=3)
    starts = sorted((pod.status.started_at_ms, pod.status.identity.slot) for _, pod in mesh.pods(db.uid))
    mesh.world.run(5 * TTL)
    assert mesh.as_declared(db)
    assert [slot for _, slot in starts] == [0, 1, 2]
    assert not twice.moments


@pytest.mark.parametrize("seed", SEEDS)
def test_a_machine_that_is_cut_off_has_ended_its_pod_before_another_begins(seed: int) -> None:
    mesh, db, twice = running(seed, replicas=1)
    ((holder, _),) = mesh.pods(db.uid)
    cut_at = mesh.world.now
    for other in mesh.machines.values():
        if other is not holder:
            mesh.world.network.cut(holder.id, other.id)
    ended = mesh.world.run(TTL + 1, lambda: not [m for m, _ in mesh.pods(db.uid) if m is holder])
    assert ended, mesh.world.now - cut_at
    elsewhere = lambda: [p for m, p in mesh.pods(db.uid) if m is not holder and p.status.ready]  # noqa: E731
    assert mesh.world.run(2 * TTL, lambda: bool(elsewhere()))
    assert mesh.world.now - cut_at < 1.5 * TTL
    mesh.world.network.mend()
    mesh.world.run(2 * TTL)
    assert mesh.as_declared(db)
    assert not twice.moments


def revoke(mesh: Mesh, machine: Machine) -> None:
    """Believe a machine no more: its messages are refused, nobody answers it, and each of the others counts it gone."""
    for other in mesh.machines.values():
        if other is not machine:
            mesh.world.network.cut(machine.id, other.id)
            other.tell(ev.MemberGone(machine.id, "its certificate was revoked"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("daemon", ["goes on", "hangs", "is killed"])
@pytest.mark.parametrize("votes", [True, False])
def test_a_slot_of_a_machine_that_was_revoked_moves_once_its_lease_has_ended(
    seed: int, daemon: str, votes: bool
) -> None:
    mesh, db, twice = running(seed, machines=5, replicas=1)
    ((holder, pod),) = mesh.pods(db.uid)
    if not votes:  # whoever holds the slot is none of those who vote on it
        mesh = Mesh.of(5, World(seed))
        others = sorted(machine for machine in mesh.machines if machine != holder.id)
        db = stateful(mesh, replicas=1, voters=first_voters(others[:3]))
        twice = Twice(mesh, db.uid)
        mesh.apply(db)
        assert mesh.until(db, 20)
        ((holder, pod),) = mesh.pods(db.uid)
    assert (holder.id in db.voters) == votes
    mesh.world.run(2.5 * TTL + seed)
    if daemon == "hangs":
        holder.pause()
    elif daemon == "is killed":
        holder.stop_daemon()
    revoke(mesh, holder)
    revoked_at, ends = mesh.world.now, pod.deadline
    assert ends > revoked_at + 1
    elsewhere = lambda: [p for m, p in mesh.pods(db.uid) if m is not holder]  # noqa: E731
    begun = mesh.world.run(3 * TTL, lambda: bool(elsewhere()))
    assert begun
    assert ends <= pod.deadline <= mesh.world.now, "it began elsewhere while the lease could still run"
    assert mesh.world.now < revoked_at + 1.5 * TTL
    mesh.world.run(5 * TTL)
    assert [p.status.ready for p in elsewhere()] == [True]
    assert [m for m, _ in mesh.pods(db.uid)] != [holder]
    assert not twice.moments


@pytest.mark.parametrize("seed", SEEDS)
def test_a_change_replaces_slots_from_the_highest_one_at_a_time(seed: int) -> None:
    mesh, db, twice = running(seed, replicas=3)
    new = change(db, revision="bbbbbbbbbb")
    order: list[int] = []

    def note() -> None:
        for _, pod in mesh.pods(db.uid):
            identity = pod.status.identity
            if identity.revision == new.revision and pod.status.ready and identity.slot not in order:
                order.append(identity.slot)
        assert sum(pod.status.ready for _, pod in mesh.pods(db.uid)) >= 2

    mesh.world.after_each.append(note)
    mesh.apply(new)
    assert mesh.until(new, 30)
    assert order == [2, 1, 0]
    assert not twice.moments


@pytest.mark.parametrize("seed", SEEDS)
def test_recreate_ends_everything_before_it_begins_anew(seed: int) -> None:
    mesh, web, twice = running(seed, kind="Deployment", replicas=2, rollout=Rollout.RECREATE, max_unavailable=2)
    new = change(web, revision="bbbbbbbbbb")

    def together() -> None:
        assert len({pod.status.identity.revision for _, pod in mesh.pods(web.uid)}) <= 1

    mesh.world.after_each.append(together)
    mesh.apply(new)
    assert mesh.until(new, 30)
    assert not twice.moments


@pytest.mark.parametrize("seed", SEEDS)
def test_a_daemon_that_restarts_keeps_its_pod(seed: int) -> None:
    mesh, db, twice = running(seed, replicas=1)
    ((holder, pod),) = mesh.pods(db.uid)
    holder.stop_daemon()
    mesh.world.run(2)
    holder.boot()
    mesh.world.run(3 * TTL)
    assert mesh.as_declared(db)
    assert mesh.pods(db.uid) == [(holder, pod)]
    assert not twice.moments


@pytest.mark.parametrize("seed", SEEDS)
def test_all_machines_off_and_on_again(seed: int) -> None:
    mesh, db, twice = running(seed, replicas=2)
    for machine in mesh.machines.values():
        machine.crash()
    mesh.world.run(30)
    for machine in mesh.machines.values():
        machine.boot()
    assert mesh.until(db, 4 * TTL)
    assert not twice.moments


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rough_network_costs_no_lease(seed: int) -> None:
    rough = Faults(least_delay=0.001, most_delay=0.2, drop=0.05, duplicate=0.1)
    mesh, db, twice = running(seed, replicas=2)
    mesh.world.faults = rough
    pods = {pod.status.identity.pod_uid for _, pod in mesh.pods(db.uid)}
    mesh.world.run(20 * TTL)
    assert {pod.status.identity.pod_uid for _, pod in mesh.pods(db.uid)} == pods
    assert not twice.moments


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slot_with_volumes_waits_for_the_machine_that_holds_them(seed: int) -> None:
    mesh, db, twice = running(seed, machines=4, replicas=1, binds=True)
    ((home, _),) = mesh.pods(db.uid)
    home.crash()
    mesh.world.run(10 * TTL)
    assert not mesh.pods(db.uid)
    coordinator = mesh.guardians(db)[0].core
    assert coordinator is not None
    assert "its volumes are there" in coordinator.placement_message(db.uid)
    home.boot()
    assert mesh.until(db, 6 * TTL)
    assert [machine for machine, _ in mesh.pods(db.uid)] == [home]
    assert not twice.moments


@pytest.mark.parametrize("seed", SEEDS)
def test_slots_with_volumes_go_back_each_to_its_own_machine(seed: int) -> None:
    mesh, db, twice = running(seed, machines=5, replicas=3, binds=True, rollout=Rollout.PARALLEL)
    where = {pod.status.identity.slot: machine.id for machine, pod in mesh.pods(db.uid)}
    for machine in mesh.machines.values():
        machine.crash()
    mesh.world.run(5)
    for machine in mesh.machines.values():
        machine.disk.claims.clear()
        machine.boot()
    assert mesh.until(db, 10 * TTL)
    assert {pod.status.identity.slot: machine.id for machine, pod in mesh.pods(db.uid)} == where
    assert not twice.moments


@pytest.mark.parametrize("seed", SEEDS)
def test_a_voter_that_is_gone_for_good_is_replaced(seed: int) -> None:
    mesh = Mesh.of(5, World(seed), Config(voter_patience=30.0))
    db = stateful(mesh, replicas=1, voters=first_voters(sorted(mesh.machines)[:3]))
    twice = Twice(mesh, db.uid)
    mesh.apply(db)
    assert mesh.until(db, 20)
    ((holder, _),) = mesh.pods(db.uid)
    lost = next(mesh.machines[voter] for voter in db.voters if voter != holder.id)
    lost.crash()
    mesh.world.run(400)
    sets = [machine.disk.voter_sets.get(db.uid, ()) for machine in mesh.up()]
    newest = max((each[-1] for each in sets if each), key=lambda voters: voters.number)
    assert lost.id not in newest.members
    assert len(newest.members) == 3
    # The new voters are enough: of the first three now only one is left.
    other = next(mesh.machines[voter] for voter in db.voters if voter not in (holder.id, lost.id))
    other.crash()
    mesh.world.run(10 * TTL)
    assert mesh.as_declared(db)
    assert not twice.moments
