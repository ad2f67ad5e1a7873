"""Machines that lie, die in the middle, come late or tell the wrong time: the right thing runs, once."""

from dataclasses import replace
from itertools import count, permutations

import pytest

from beemesh_node.healing import effects as fx
from beemesh_node.healing import events as ev
from beemesh_node.healing.claims import promised_report
from beemesh_node.healing.config import Config
from beemesh_node.protocol.messages import ClaimRef, NoReason, SlotAttempt
from beemesh_node.simulation.mesh import Mesh
from beemesh_node.simulation.world import World

from .support import change, declare, watch_capacity
from .test_leases import Twice, stateful

SEEDS = range(4)
HOUR, WEEK = 3600.0, 7 * 24 * 3600.0


def running(seed, machines=5, replicas=4, **fields):
    mesh = Mesh.of(machines, World(seed))
    watch_capacity(mesh)
    web = declare(replicas=replicas, **fields)
    mesh.apply(web)
    assert mesh.until(web, 30)
    return mesh, web


def stays(mesh, declaration, seconds=60):
    """Whether it is as declared, and after some time still."""
    mesh.world.run(seconds)
    return mesh.as_declared(declaration)


def tombstone_of(declaration):
    return replace(declaration, deleted=True, sequence=declaration.sequence + 1, digest=b"tombstone")


def holding(mesh, declaration):
    return {machine.id for machine, _ in mesh.pods(declaration.uid)}


# ---- lies


@pytest.mark.parametrize("seed", SEEDS)
def test_a_guardian_that_brings_old_records_changes_nothing(seed):
    mesh, web = running(seed)
    newer = change(web, replicas=2)
    mesh.apply(newer)
    assert mesh.until(newer, 30)
    liar = mesh.guardians(web)[-1]
    for machine in mesh.machines.values():
        if machine is not liar:
            machine.pushed(liar.id, web)
    assert stays(mesh, newer)
    assert {m.disk.records[web.uid].sequence for m in mesh.guardians(web)} == {newer.sequence}


@pytest.mark.parametrize("seed", SEEDS)
def test_an_assignment_of_an_old_record_is_refused_where_the_new_one_is_known(seed):
    mesh, web = running(seed)
    newer = change(web, replicas=2)
    mesh.apply(newer)
    assert mesh.until(newer, 30)
    answers = []
    target = mesh.guardians(web)[0]
    target.tell(ev.AssignmentOffered(target.expect(answers.append), "liar", web, (SlotAttempt(3, 9),)))
    (answer,) = answers
    assert not answer.accepted
    assert [refusal.reason for refusal in answer.refused[0].refusals] == [NoReason.OUTDATED]
    assert mesh.as_declared(newer)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_machine_that_knew_nothing_took_from_an_old_record_is_ended(seed):
    mesh, web = running(seed, machines=9)
    newer = change(web, revision="bbbbbbbbbb", replicas=2)
    mesh.apply(newer)
    assert mesh.until(newer, 30)
    outsider = next(m for m in mesh.machines.values() if web.uid not in m.disk.records)
    outsider.store(web)
    outsider.tell(ev.AssignmentOffered(outsider.expect(lambda _: None), "liar", web, (SlotAttempt(3, 0),)))
    assert outsider.runtime.pods
    assert mesh.until(newer, 5)
    assert stays(mesh, newer)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_word_that_something_is_deleted_ends_nothing(seed):
    mesh, web = running(seed)
    before = {pod.status.identity.pod_uid for _, pod in mesh.pods()}
    liar = mesh.guardians(web)[0]
    for machine in mesh.machines.values():
        machine.tell(ev.RecordHeld(web.uid, liar.id, sequence=99, deleted=True, digest=b"?"))
        for report in machine.core.own_claims():
            machine.tell(ev.ReleaseOffered(liar.id, report.claim, None))
    assert stays(mesh, web)
    assert {pod.status.identity.pod_uid for _, pod in mesh.pods()} == before


@pytest.mark.parametrize("seed", SEEDS)
def test_a_guardian_that_says_it_stored_a_record_and_did_not_is_not_needed(seed):
    mesh, web = running(seed, machines=6)
    liar = mesh.guardians(web)[1]
    del liar.disk.records[web.uid]
    liar.crash()
    liar.boot()
    for machine in mesh.guardians(web):
        if machine is not liar:
            machine.tell(ev.RecordHeld(web.uid, liar.id, web.sequence, deleted=False, digest=web.digest))
    for machine in mesh.guardians(web):
        if machine is not liar and len(holding(mesh, web)) > 1:
            machine.crash()
            break
    assert mesh.until(web, 60)


@pytest.mark.parametrize("seed", SEEDS)
def test_claims_reported_in_the_name_of_others_are_ignored(seed):
    mesh, web = running(seed)
    coordinator = mesh.guardians(web)[0]
    victim = next(report for report in coordinator.core.claims(web.uid) if report.claim.machine != coordinator.id)
    liar = next(m for m in mesh.machines if m not in (victim.claim.machine, coordinator.id))
    gone = replace(victim, gone=True, version=victim.version + 1000)
    coordinator.tell(ev.ClaimsReported(liar, (gone,)))
    assert victim.claim in {report.claim for report in coordinator.core.claims(web.uid)}
    assert stays(mesh, web)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_machine_that_reports_a_better_claim_that_it_does_not_hold_takes_no_slot(seed):
    mesh, web = running(seed, machines=6, replicas=3)
    before = {pod.status.identity.pod_uid for _, pod in mesh.pods()}
    liar = next(m for m in mesh.machines.values() if m.id not in holding(mesh, web))
    ref = ClaimRef(web.uid, 1, 0, 0, liar.id, web.revision)
    forged = replace(promised_report(ref, web), ready=True, phase="Running", reason="", version=7 << 32)
    for guardian in mesh.guardians(web):
        guardian.tell(ev.ClaimsReported(liar.id, (forged,)))
    assert stays(mesh, web, 120)
    assert {pod.status.identity.pod_uid for _, pod in mesh.pods()} == before


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_machine_only_pretends_to_run_is_placed_anew_once_it_is_expelled(seed):
    mesh, web = running(seed)
    liar = mesh.pods(web.uid)[0][0]
    liar.runtime.pods.clear()
    mesh.world.run(30)
    assert not mesh.as_declared(web), "nobody can look into another machine"
    liar.stop_daemon()
    for machine in mesh.up():
        machine.tell(ev.MemberGone(liar.id, "its certificate is revoked"))
    assert mesh.until(web, 2)


# ---- coordinators


def dies_at(what, seed, step):
    """Have the coordinator die at one step of something; False if that has fewer steps."""
    mesh = Mesh.of(5, World(seed))
    web = stateful(mesh, replicas=2) if what == "leased" else declare(replicas=3)
    twice = Twice(mesh, web.uid)
    coordinator = mesh.guardians(web)[0]
    if what not in ("apply", "leased"):
        mesh.apply(web)
        assert mesh.until(web, 10)
        mesh.world.run(2)
    done = []

    def die(machine, effect):
        if isinstance(effect, fx.Ask | fx.Assign | fx.OfferRelease | fx.PersistClaim | fx.StartPod):
            done.append(effect)
            if len(done) == step + 1:
                mesh.world.after(0, machine.crash)

    coordinator.watchers.append(die)
    if what == "heal":
        next(machine for machine, _ in mesh.pods(web.uid) if machine is not coordinator).crash()
    elif what == "rollout":
        web = change(web, revision="bbbbbbbbbb")
    if what != "heal":
        mesh.apply(web)
    assert mesh.until(web, 30)
    if len(done) <= step:
        return False
    assert stays(mesh, web)
    coordinator.boot()
    mesh.world.run(20)
    assert mesh.until(web, 20)
    assert what != "leased" or not twice.moments
    return True


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("what", "least"), [("apply", 4), ("rollout", 6), ("heal", 2), ("leased", 4)])
def test_a_coordinator_may_die_at_each_step(what, least, seed):
    steps = next(step for step in count() if not dies_at(what, seed, step))
    assert steps >= least


@pytest.mark.parametrize("seed", SEEDS)
def test_of_two_operators_at_once_one_wins_everywhere(seed):
    mesh, web = running(seed)
    one = change(web, revision="bbbbbbbbbb", replicas=2)
    other = change(web, revision="cccccccccc", replicas=5)
    guardians = mesh.guardians(web)
    mesh.apply(one, only=guardians[:3])
    mesh.apply(other, only=guardians[3:])
    winner = max(one, other, key=lambda declaration: declaration.rank)
    assert mesh.until(winner, 60)
    assert stays(mesh, winner)
    assert {machine.disk.records[web.uid].digest for machine in guardians} == {winner.digest}
    told = {event.message for machine in guardians for event in machine.core.events() if event.reason == "Superseded"}
    assert told == {"version 2 was declared twice at once: look at what is in force, and apply again"}


# ---- clocks


@pytest.mark.parametrize("seed", SEEDS)
def test_clocks_an_hour_off_and_jumping_change_nothing(seed):
    mesh = Mesh.of(5, World(seed), drift=0.005)
    watch_capacity(mesh)
    web = declare(replicas=4)
    mesh.apply(web)
    assert mesh.until(web, 30)
    draw = mesh.world.random
    for machine in mesh.machines.values():
        machine.set_wall_clock(draw.choice((-HOUR, HOUR)))
    for _ in range(4):
        machine = draw.choice(list(mesh.machines.values()))
        machine.crash()
        machine.set_wall_clock(-machine.clock.wall_offset)
        mesh.world.run(draw.choice((0.5, 6)))
        machine.boot()
        web = change(web, replicas=draw.randint(2, 6))
        mesh.apply(web)
        assert mesh.until(web, 60)
    assert stays(mesh, web)


# ---- away and back


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_cold_start_in_any_order_brings_all_back_and_nothing_that_was_deleted(order):
    mesh, web = running(sum(order), machines=3, replicas=3)
    gone, changed = declare("gone"), change(web, replicas=2)
    mesh.apply(gone)
    assert mesh.until(gone, 10)
    away = mesh["m0"]
    away.crash()
    mesh.world.run(10)
    mesh.delete(gone)
    mesh.apply(changed)
    assert mesh.until(changed, 30)
    for machine in mesh.up():
        machine.crash()
    mesh.world.run(WEEK)
    for number, place in enumerate(order):
        mesh.world.after(15.0 * number, mesh[f"m{place}"].boot)
    mesh.world.run(15.0 * len(order))
    assert mesh.until(changed, 30)
    assert mesh.until(tombstone_of(gone), 5)
    mesh.world.run(60)
    assert mesh.as_declared(changed)
    assert not mesh.pods(gone.uid)
    assert {m.disk.records[web.uid].sequence for m in mesh.machines.values()} == {changed.sequence}
    assert all(m.disk.records[gone.uid].deleted for m in mesh.machines.values())


@pytest.mark.parametrize("away_for", [WEEK, 52 * WEEK])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_machine_that_was_away_for_long_neither_resurrects_nor_loses_anything(seed, away_for):
    mesh, web = running(seed)
    gone = declare("gone", replicas=5)
    mesh.apply(gone)
    assert mesh.until(gone, 10)
    away = mesh.pods(gone.uid)[0][0]
    away.crash()
    assert mesh.until(gone, 30)
    mesh.delete(gone)
    again = declare("gone", uid="uid-of-gone-again", generation=2, replicas=2)
    mesh.apply(again)
    newer = change(web, revision="bbbbbbbbbb", replicas=2)
    mesh.apply(newer)
    assert mesh.until(newer, 30)
    others = mesh.up()
    for machine in others:  # so that the time passes quickly
        machine.crash()
    mesh.world.run(away_for)
    for machine in others:
        machine.boot()
    mesh.world.run(10)
    started = []
    away.watchers.append(lambda _, effect: started.append(effect) if isinstance(effect, fx.StartPod) else None)
    away.boot()
    mesh.world.run(5)
    assert not mesh.pods(gone.uid)
    assert not [effect for effect in started if effect.identity.uid == gone.uid]
    for declaration in (again, newer):
        assert mesh.until(declaration, 30)
        assert stays(mesh, declaration)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_machine_with_the_name_of_a_lost_one_is_another_machine(seed):
    mesh, web = running(seed)
    lost = mesh.pods(web.uid)[0][0]
    lost.crash()
    del mesh.machines[lost.id]
    new = mesh.add(lost.member.name, identity="its successor")
    assert mesh.until(web, 15)
    assert stays(mesh, web)
    assert new.id != lost.id
    assert lost.id not in {member.machine for machine in mesh.up() for member in machine.core.members()}
    assert web.uid in new.disk.records, "in a mesh of five everybody is a guardian"


@pytest.mark.parametrize("machines", [2, 3, 4, 5])
def test_all_but_any_one_may_be_gone_at_once_and_for_good(machines):
    for survivor in range(machines):
        mesh, web = running(survivor, machines=machines, replicas=3)
        for name in [f"m{number}" for number in range(machines) if number != survivor]:
            mesh[name].crash()
            del mesh.machines[mesh[name].id]
        assert mesh.until(web, 20)
        more = change(web, replicas=4)
        mesh.apply(more)
        assert mesh.until(more, 5)


# ---- links


@pytest.mark.parametrize("share", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_both_sides_of_a_partition_go_on_and_agree_within_five_seconds(seed, share):
    mesh, web = running(seed, machines=6)
    few = list(mesh.machines)[: 3 * share - 2]
    mesh.world.network.part(few)
    mesh.world.run(20)
    sides = [mesh.machines[m].id in few for m in holding(mesh, web)]
    assert len(set(sides)) == 2, "both sides run it"
    assert len(mesh.pods(web.uid)) > web.replicas
    mesh.world.network.mend()
    mesh.gossip.reunited()
    assert mesh.until(web, 5)
    assert stays(mesh, web)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_side_that_hears_and_is_not_heard_gives_way_once_it_is(seed):
    mesh, web = running(seed, machines=6)
    mute = sorted(holding(mesh, web))[:2]
    mesh.world.network.part(mute, mute=True)
    mesh.world.run(30)
    assert len({m.id for m, _ in mesh.pods(web.uid) if m.id not in mute}) >= 1
    mesh.world.network.mend()
    mesh.gossip.reunited()
    assert mesh.until(web, 5)
    assert stays(mesh, web)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_told_over_a_link_that_did_not_carry_is_told_again_once_it_does(seed):
    mesh = Mesh.of(11, World(seed), Config(least_lifetime=60))
    web = declare(replicas=4)
    _, alone, *_ = mesh.guardians(web)
    mesh.world.network.part([alone.id])
    for machine in mesh.guardians(web):
        machine.store(web, fresh=True)
    mesh.world.run(7)
    assert {member.machine for member in alone.members} == mesh.machines.keys(), "nobody is held to be gone"
    assert len({machine.id for machine, _ in mesh.pods(web.uid)}) > 4, "both sides run it"
    mesh.world.network.mend()
    mesh.gossip.reunited()
    assert mesh.until(web, 5)
    assert stays(mesh, web)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_placed_anew_that_has_come_back_while_an_answer_was_awaited(seed):
    mesh, web = running(seed, machines=8, replicas=2)
    coordinator = mesh.guardians(web)[0]
    lost = next(machine for machine, _ in mesh.pods(web.uid) if machine is not coordinator)
    assigned = []

    def cut(_, effect):
        if isinstance(effect, fx.Assign):
            assigned.append(mesh.world.now)
            mesh.world.network.cut(coordinator.id, effect.machine)

    coordinator.watchers.append(cut)
    island = mesh.world.network.part([lost.id])
    coordinator.tell(ev.MemberGone(lost.id, "its watchers hear nothing of it"))
    mesh.world.run(1)
    mesh.world.network.join(island)
    mesh.gossip.reunited()
    mesh.world.run(10)
    assert len(assigned) == 1
    mesh.world.network.mend()
    mesh.gossip.reunited()
    assert mesh.until(web, 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_links_that_flap_and_links_that_carry_one_way_lose_nothing(seed):
    mesh, web = running(seed, machines=6)
    draw, names = mesh.world.random, list(mesh.machines)
    least = []
    mesh.world.after_each.append(lambda: least.append(len(set(mesh.serving(web)))))
    for _ in range(60):
        one, other = draw.sample(names, 2)
        if draw.random() < 0.5:
            mesh.world.network.cut(one, other, one_way=draw.random() < 0.5)
        else:
            mesh.world.network.restore(one, other)
        mesh.world.run(draw.uniform(0.1, 1.5))
    assert min(least) == web.replicas
    mesh.world.network.mend()
    mesh.gossip.reunited()
    assert mesh.until(web, 5)
    assert stays(mesh, web)
