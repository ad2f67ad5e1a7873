"""What holds for the core as a whole: it never raises, is deterministic, and everything in it is bounded."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.healing import events as ev
from beemesh_node.healing.config import Config
from beemesh_node.healing.core import Core
from beemesh_node.healing.effects import Ask, Assign, Note, PushRecord, StartPod, Tell, Token
from beemesh_node.healing.notes import REPEAT
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    AssignmentReply,
    Bid,
    ClaimQuery,
    ClaimReply,
    ClaimReport,
    ClaimsQuery,
    EventReport,
    KeepQuery,
    KeepReply,
    Maintenance,
    MoveRequest,
    NoReason,
    Refusal,
    Requirements,
    SlotAttempt,
    SlotRefusal,
    Taint,
    Task,
)
from beemesh_node.simulation.mesh import Mesh
from beemesh_node.simulation.network import Faults
from beemesh_node.simulation.world import World

from .support import GIB, ME, WEB, core_of, guarded_by, identity_of, member, of, ref, status

machines = st.sampled_from(["me", "a", "b", "c"]).map(MachineId)
numbers = st.one_of(st.integers(-3, 5), st.sampled_from([2**31, -(2**63), 10**18]))
uids = st.sampled_from(["u", "v", ""]).map(Uid)
revisions = st.sampled_from(["r1", "r2", ""])
declarations = st.builds(
    replace,
    st.just(WEB),
    uid=uids,
    generation=st.integers(0, 2),
    sequence=st.integers(0, 4),
    deleted=st.booleans(),
    digest=st.binary(max_size=1),
    revision=revisions,
    replicas=st.integers(0, 6),
    max_surge=st.integers(0, 3),
    max_unavailable=st.integers(0, 3),
    min_ready_seconds=st.sampled_from([0, 5]),
    progress_deadline_seconds=st.sampled_from([0, 3, 600]),
    requirements=st.sampled_from([Requirements(3000, GIB), Requirements(100, GIB, priority=5)]),
)
refs = st.builds(ref, st.integers(-2, 7), st.integers(0, 2), machines, revisions, uids)
slots = st.lists(st.builds(SlotAttempt, numbers, numbers), max_size=4).map(tuple)
refusals = st.lists(st.builds(Refusal, st.sampled_from(list(NoReason)), st.text(max_size=3)), max_size=2).map(tuple)
reports = st.builds(
    ClaimReport,
    refs,
    *(st.text(max_size=2) for _ in range(4)),
    st.sampled_from(["Running", "Failed", "Succeeded", "?"]),
    st.booleans(),
    st.sampled_from(["", "Terminating", "ErrImagePull"]),
    *(st.text(max_size=2) for _ in range(3)),
    numbers,
    numbers,
    st.just(()),
    st.just(()),
    st.booleans(),
    numbers,
    st.sampled_from(["", "moved"]),
)
many_reports = st.lists(reports, max_size=4).map(tuple)
many_events = st.lists(
    st.builds(EventReport, uids, *(st.text(max_size=2) for _ in range(6)), machines, numbers, numbers, numbers),
    max_size=3,
).map(tuple)
members = st.builds(
    member,
    machines,
    period=st.sampled_from([-1.0, 0.0, 1.0, 1e9]),
    guardian=st.booleans(),
    ready=st.booleans(),
    unschedulable=st.booleans(),
    taints=st.sampled_from([(), (Taint("a", "", "NoExecute"),)]),
    cpu_reserved=numbers,
    memory_allocatable=st.one_of(numbers, st.just(8 * GIB)),
)
tokens = st.integers(0, 40).map(Token)
pods = st.builds(
    lambda r, pod, ready: status(identity_of(r, pod), ready=ready), refs, st.text("12", max_size=1), st.booleans()
)
needed = st.builds(Requirements, numbers, numbers, priority=numbers)
tasks = st.builds(Task, st.binary(max_size=2), uids, numbers, numbers, needed)
bids = st.builds(Bid, st.binary(max_size=2), numbers, numbers, numbers, refusals, numbers, numbers)
assigned = st.builds(
    AssignmentReply,
    st.lists(numbers, max_size=3).map(tuple),
    st.lists(st.builds(SlotRefusal, numbers, refusals), max_size=2).map(tuple),
)
questions = st.one_of(
    tasks,
    st.builds(ClaimQuery, refs),
    st.builds(ClaimsQuery, uids),
    st.builds(KeepQuery, uids, numbers, st.binary(max_size=1), st.just(())),
)
happenings = st.one_of(
    st.builds(ev.MemberSeen, members),
    st.builds(ev.MemberGone, machines, st.text(max_size=2), st.booleans()),
    st.builds(ev.LocalChanged, st.builds(replace, members, machine=st.just(ME)), max_pods=st.integers(0, 5)),
    st.builds(ev.DeclarationStored, declarations, st.booleans(), st.integers(0, 2)),
    st.builds(ev.ForecastAsked, tokens, declarations),
    st.builds(ev.RecordHeld, uids, machines, numbers, st.booleans(), st.binary(max_size=1)),
    st.builds(ev.RecordErased, uids, st.integers(0, 2)),
    st.builds(ev.Asked, tokens, machines, questions),
    st.builds(ev.Asked, tokens, machines, st.builds(MoveRequest, st.lists(refs, max_size=3).map(tuple))),
    st.builds(ev.MaintenanceSet, st.sampled_from(Maintenance), st.sampled_from([None, 0, 5])),
    st.builds(ev.AssignmentOffered, tokens, machines, declarations, slots, st.booleans()),
    st.builds(ev.ReleaseOffered, machines, refs, st.one_of(st.none(), refs)),
    st.builds(
        ev.Answered,
        tokens,
        st.one_of(bids, assigned, st.builds(ClaimReply, many_reports), st.builds(KeepReply, st.booleans())),
    ),
    st.builds(ev.Unanswered, tokens, st.just("")),
    st.builds(ev.ClaimsReported, machines, many_reports, many_events),
    st.builds(ev.PodChanged, pods),
    st.builds(ev.PodStartFailed, st.text("12", max_size=1), st.just("x"), st.just(""), st.booleans()),
    st.builds(ev.PodEnded, st.text("12", max_size=1)),
    st.builds(ev.Adopted, st.just(()), st.lists(pods, max_size=3).map(tuple)),
    st.just(ev.Wakeup()),
)
lives = st.lists(st.tuples(happenings, st.sampled_from([0.0, 0.01, 0.3, 2.0, 40.0])), max_size=40)


def live(life, config=None):
    """Run a life, waking up as asked, and return all effects with their times."""
    core, now, done = Core(ME, config if config is not None else Config()), 0.0, []
    done += core.handle(ev.LocalChanged(member("me")), now)
    done += core.handle(ev.Adopted(), now)
    for event, pause in life:
        end = now + pause
        for _ in range(200):
            due = core.next_wakeup()
            if due is None or due > end:
                break
            now = max(now, due)
            done += [(now, effect) for effect in core.handle(ev.Wakeup(), now)]
        now = end
        done += [(now, effect) for effect in core.handle(event, now)]
        for view in core.workloads():
            core.claims(view.declaration.uid)
    return core, done


@settings(max_examples=300, deadline=None)
@given(lives)
def test_no_event_raises_and_the_same_life_has_the_same_effects(life):
    core, done = live(life)
    again, same = live(life)
    assert done == same
    assert core.next_wakeup() == again.next_wakeup()
    sent = [effect[1] for effect in done if isinstance(effect, tuple)]
    assert not [e for e in sent if isinstance(e, (Ask, Assign, Tell, PushRecord)) and e.machine == ME]
    assert len({e.token for e in sent if isinstance(e, (Ask, Assign))}) == len(of(sent, Ask)) + len(of(sent, Assign))


@settings(max_examples=100, deadline=None)
@given(lives)
def test_tables_keep_their_bounds(life):
    bounds = Config(max_declarations=2, max_claims=3, max_asks=2, max_events=2, max_history=3)
    core, _ = live(life, bounds)
    assert len(core.workloads()) <= 2
    assert len(core.events()) <= 2 + 3  # its own, and those of others


def test_a_guardian_without_room_for_claims_does_not_place_again_and_again():
    core = core_of(config=Config(max_claims=1))
    web = replace(WEB, replicas=3)
    effects = core.handle(ev.DeclarationStored(web, fresh=True), 10)
    assert len(of(effects, StartPod)) == 3
    later = [effect for at in range(11, 60) for effect in core.handle(ev.Wakeup(), at)]
    assert not of(later, StartPod)
    assert "too many claims" in core.placement_message(web.uid)


def test_a_machine_that_answers_nothing_does_not_stop_a_round():
    core = core_of("a", "b")
    web = replace(guarded_by("me", "a", "b"), replicas=2)
    effects = core.handle(ev.DeclarationStored(web, fresh=True), 10)
    asks = of(effects, Ask)
    assert {ask.machine for ask in asks} == {"a", "b"}
    core.handle(ev.Wakeup(), 10 + Config().window)
    assert not core.claims(web.uid), "two replicas on one machine: the others may only be slow"
    core.handle(ev.Wakeup(), 10 + Config().window + Config().patience)
    assert len(core.claims(web.uid)) == 2, "the machine itself can take them"


def test_replicas_are_not_put_together_because_a_machine_answers_late():
    core = core_of("a", "b")
    web = replace(guarded_by("me", "a", "b"), replicas=2)
    asks = of(core.handle(ev.DeclarationStored(web, fresh=True), 10), Ask)
    core.handle(ev.Wakeup(), 10 + Config().window)
    late = next(ask for ask in asks if ask.machine == "b")
    bid = Bid(late.payload.task_id, 2, 400, 0, ())
    effects = core.handle(ev.Answered(late.token, bid), 10.4)
    assert [assign.machine for assign in of(effects, Assign)] == ["b"], "one there, one here, and nobody waits for a"
    assert len(core.claims(web.uid)) == 1


def test_with_too_many_questions_out_the_rest_counts_as_unanswered():
    core = core_of("a", "b", config=Config(max_asks=1))
    web = guarded_by("me", "a", "b")
    effects = core.handle(ev.DeclarationStored(web, fresh=True), 10)
    assert len(of(effects, Ask)) == 1
    core.handle(ev.Wakeup(), 10)
    core.handle(ev.Wakeup(), 10 + Config().window)
    assert len(core.claims(web.uid)) == 1


def test_a_repeated_event_is_counted_and_told_seldom():
    core = core_of()
    huge = replace(WEB, requirements=Requirements(10**9, 0))
    told, now = [], 10.0
    told += of(core.handle(ev.DeclarationStored(huge, fresh=True), now), Note)
    while now < 400:
        now = core.next_wakeup() or 400
        told += of(core.handle(ev.Wakeup(), now), Note)
    (event,) = core.events()
    assert event.reason == "FailedScheduling"
    assert event.count > len(told) > 1
    assert [note.event.count for note in told] == sorted({note.event.count for note in told})
    assert (event.last_at - event.first_at) / len(told) >= REPEAT * 1000 / 2


def test_a_guardian_hands_records_over_until_they_are_acknowledged():
    core = core_of("a")
    core.handle(ev.DeclarationStored(WEB, fresh=True), 10)
    pushed, now = [], 10.0
    while now < 60:
        now = core.next_wakeup() or 60
        pushed += of(core.handle(ev.Wakeup(), now), PushRecord)
    assert pushed
    assert set(pushed) == {PushRecord(WEB.uid, MachineId("a"))}
    core.handle(ev.RecordHeld(WEB.uid, MachineId("a"), WEB.sequence, False, WEB.digest), now)
    newer = replace(WEB, sequence=2, digest=b"2")
    core.handle(ev.RecordHeld(WEB.uid, MachineId("a"), 2, False, b"2"), now)
    core.handle(ev.DeclarationStored(newer), now)
    later = []
    while now < 700:
        now = core.next_wakeup() or 700
        later += of(core.handle(ev.Wakeup(), now), PushRecord)
    assert not later, "it has the newer one already"


def test_reports_about_others_claims_are_not_believed():
    core = core_of("a", "b")
    web = guarded_by("me", "a", "b")
    core.handle(ev.DeclarationStored(web), 10)
    forged = ClaimReport(
        ref(uid=web.uid, machine="b"), "", "", "", "", "Running", True, "", "", "", "", 0, 0, (), (), False, 5
    )
    core.handle(ev.ClaimsReported(MachineId("a"), (forged,)), 10)
    assert forged not in core.claims(web.uid)
    core.handle(ev.ClaimsReported(MachineId("b"), (forged,)), 10)
    assert forged in core.claims(web.uid)


@pytest.mark.parametrize("seed", range(3))
def test_a_simulation_is_repeated_by_its_seed(seed):
    def story():
        mesh = Mesh.of(4, World(seed, Faults(drop=0.1, duplicate=0.1, most_delay=0.1)))
        mesh.apply(replace(WEB, replicas=5))
        mesh.world.run(20)
        return [(m.member.name, m.sent, m.events, sorted(m.disk.claims)) for m in mesh.machines.values()]

    assert story() == story()


def test_a_guardian_that_is_one_no_more_forgets_the_claims():
    names = [f"n{number}" for number in range(60)]
    core = core_of("a")
    report = ClaimReport(ref(machine="a"), "", "", "", "", "Running", True, "", "", "", "", 0, 0, (), (), False, 5)
    core.handle(ev.DeclarationStored(WEB), 10)
    core.handle(ev.ClaimsReported(MachineId("a"), (report,)), 10)
    assert core.claims(WEB.uid) == (report,)
    for name in names:
        core.handle(ev.MemberSeen(member(name)), 11)
    assert ME not in core.guardians(WEB.path)
    assert core.claims(WEB.uid) == ()
