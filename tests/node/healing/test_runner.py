from dataclasses import replace

from beemesh_node.healing.effects import (
    Ask,
    ForgetClaim,
    HeldClaim,
    Note,
    PersistClaim,
    Reply,
    StartPod,
    StopPod,
    Tell,
    Token,
)
from beemesh_node.healing.events import (
    Adopted,
    Answered,
    Asked,
    AssignmentOffered,
    ClaimsReported,
    DeclarationStored,
    LocalChanged,
    PodChanged,
    PodEnded,
    PodStartFailed,
    ReleaseOffered,
    TimeSet,
    Unanswered,
    Wakeup,
)
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import (
    ClaimQuery,
    ClaimReply,
    ClaimsQuery,
    NoReason,
    Requirements,
    SlotAttempt,
    Task,
)
from beemesh_node.workloads.pod import RUNTIME_UNAVAILABLE, ContainerStatus, PodPhase, RestartPolicy

from .support import GIB, ME, core_of, guarded_by, identity_of, member, of, ref, status

NOW = 10.0
BOSS = MachineId("boss")
MINE = replace(guarded_by("boss", "me"), replicas=4)
UID = MINE.uid


def offer(core, declaration, *slots, now=NOW, token=1):
    core.handle(DeclarationStored(declaration), now)
    pairs = tuple(SlotAttempt(slot, 0) for slot in slots)
    return core.handle(AssignmentOffered(Token(token), BOSS, declaration, pairs), now)


def reply(effects):
    (answer,) = of(effects, Reply)
    return answer.payload


def running(core, declaration=MINE, slot=0):
    """Take a slot and have its pod ready."""
    (start,) = of(offer(core, declaration, slot), StartPod)
    core.handle(PodChanged(status(start.identity)), NOW)
    return start.identity


def claim_of(core, uid=UID):
    (report,) = core.claims(uid)
    return report


def test_an_assignment_reserves_persists_and_starts_in_this_order():
    core = core_of("boss")
    effects = offer(core, MINE, 0, 1)
    kinds = [type(e) for e in effects if isinstance(e, (PersistClaim, StartPod, Reply))]
    assert kinds == [PersistClaim, StartPod, PersistClaim, StartPod, Reply]
    assert reply(effects).accepted == (0, 1)
    assert (core.reserved().cpu, core.reserved().memory, core.reserved().pods) == (200, 2 * GIB, 2)
    first, second = (start.identity for start in of(effects, StartPod))
    assert first.pod_uid != second.pod_uid
    assert first.pod_name.startswith("web-r1-")
    assert first.pod_name != second.pod_name


def test_a_pod_keeps_its_own_name():
    core = core_of("boss")
    (start,) = of(offer(core, replace(MINE, kind="Pod", replicas=1), 0), StartPod)
    assert start.identity.pod_name == "web"


def test_the_same_assignment_again_is_accepted_and_starts_nothing():
    core = core_of("boss")
    offer(core, MINE, 0)
    again = offer(core, MINE, 0)
    assert reply(again).accepted == (0,)
    assert not of(again, StartPod)
    assert core.reserved().pods == 1


def test_what_is_beyond_capacity_is_refused_with_the_reason():
    core = core_of("boss", memory_allocatable=2 * GIB)
    answer = reply(offer(core, MINE, 0, 1, 2))
    assert answer.accepted == (0, 1)
    (refused,) = answer.refused
    assert (refused.slot, [r.reason for r in refused.refusals]) == (2, [NoReason.MEMORY])


def test_an_assignment_older_than_the_known_record_is_refused():
    core = core_of("boss")
    core.handle(DeclarationStored(replace(MINE, sequence=5)), NOW)
    answer = reply(core.handle(AssignmentOffered(Token(1), BOSS, MINE, (SlotAttempt(0, 0),)), NOW))
    assert [r.reason for r in answer.refused[0].refusals] == [NoReason.OUTDATED]


def test_slots_that_are_not_declared_and_deleted_workloads_are_refused():
    core = core_of("boss")
    assert not reply(offer(core, MINE, 4)).accepted
    assert not reply(offer(core, replace(MINE, deleted=True, sequence=2), 0)).accepted


def test_nothing_is_taken_before_what_was_here_has_been_taken_up():
    core = core_of("boss")
    fresh = type(core)(ME)
    fresh.handle(LocalChanged(member("me")), 0)
    bid = reply(fresh.handle(Asked(Token(1), BOSS, Task(b"t", UID, 1, 1, Requirements(0, 0))), 0))
    assert [r.reason for r in bid.refusals] == [NoReason.STARTING]
    assert not reply(offer(fresh, MINE, 0)).accepted


def test_changes_are_told_to_the_guardians_at_once_and_then_together():
    core = core_of("boss")
    core.handle(TimeSet(1_000_000), 0)
    effects = offer(core, MINE, 0, 1, 2)
    (told,) = of(effects, Tell)
    assert told.machine == BOSS
    assert [report.claim.slot for report in told.payload.reports] == [0, 1, 2]
    assert {report.created_at for report in told.payload.reports} == {1_010_000}
    later = []
    for start in of(effects, StartPod):
        later += core.handle(PodChanged(status(start.identity)), NOW + 0.02)
    assert not of(later, Tell)
    (together,) = of(core.handle(Wakeup(), NOW + 0.1), Tell)
    assert [report.ready for report in together.payload.reports] == [True, True, True]
    assert all(report.host_ip == "10.0.0.1" for report in together.payload.reports)


def test_all_claims_are_told_anew_at_a_low_rate():
    core = core_of("boss")
    running(core)
    core.handle(Wakeup(), NOW + 1)
    told = [core.handle(Wakeup(), at) for at in (29.0, 30.0, 59.0, 60.0)]
    assert [len(of(effects, Tell)) for effects in told] == [0, 1, 0, 1]


def test_a_waiting_container_gives_the_claim_its_reason():
    core = core_of("boss")
    (start,) = of(offer(core, MINE, 0), StartPod)
    waiting = ContainerStatus("c", "nope:1", reason="ImagePullBackOff", message="not found")
    core.handle(PodChanged(status(start.identity, ready=False, phase=PodPhase.PENDING, containers=(waiting,))), NOW)
    report = claim_of(core)
    assert (report.reason, report.message, report.ready) == ("ImagePullBackOff", "not found", False)


def test_a_start_that_failed_for_good_ends_the_claim_with_its_reason():
    core = core_of("boss")
    (start,) = of(offer(core, MINE, 0), StartPod)
    effects = core.handle(PodStartFailed(start.identity.pod_uid, "CreateContainerError", "no such device"), NOW + 1)
    assert of(effects, ForgetClaim)
    (told,) = of(effects, Tell)
    (report,) = told.payload.reports
    assert (report.gone, report.phase, report.reason) == (True, "Failed", "CreateContainerError")
    assert core.reserved().pods == 0
    assert [event.message for event in core.events()] == [
        f"{start.identity.pod_name}: CreateContainerError: no such device"
    ]


def test_a_passing_fault_is_tried_again_with_growing_pauses():
    core = core_of("boss")
    (start,) = of(offer(core, MINE, 0), StartPod)
    starts, at = [], NOW
    for _ in range(3):
        core.handle(PodStartFailed(start.identity.pod_uid, "Unavailable", "", retryable=True), at)
        while not of(core.handle(Wakeup(), at), StartPod):
            at += 0.5
        starts.append(at)
    assert starts == [NOW + 1, NOW + 3, NOW + 7]


def test_scaling_down_and_deleting_stop_at_once():
    core = core_of("boss")
    running(core, slot=3)
    effects = core.handle(DeclarationStored(replace(MINE, sequence=2, replicas=3)), NOW)
    (stop,) = of(effects, StopPod)
    assert claim_of(core).reason == "Terminating"
    effects = core.handle(PodEnded(stop.identity.pod_uid), NOW + 1)
    assert of(effects, ForgetClaim) == [ForgetClaim(stop.identity.pod_uid)]
    assert not core.claims(UID)
    identity = running(core, replace(MINE, sequence=2, replicas=3), slot=0)
    effects = core.handle(DeclarationStored(replace(MINE, sequence=3, deleted=True)), NOW)
    assert of(effects, StopPod) == [StopPod(identity)]


def answer(core, effects, *reports, now=NOW):
    (ask,) = of(effects, Ask)
    assert isinstance(ask.payload, ClaimQuery)
    return core.handle(Answered(ask.token, ClaimReply(reports)), now)


def other_report(core, claim, ready=True):
    return replace(claim_of(core), claim=claim, ready=ready)


def test_a_better_claim_is_believed_from_its_holder_alone():
    core = core_of("boss", "a")
    running(core)
    winner = ref(uid=UID, machine="a")
    effects = core.handle(ReleaseOffered(BOSS, claim_of(core).claim, winner), NOW)
    assert not of(effects, StopPod), "a guardian's word is not enough"
    assert not of(answer(core, effects, other_report(core, winner, ready=False)), StopPod)
    effects = core.handle(ReleaseOffered(BOSS, claim_of(core).claim, winner), NOW)
    assert not of(answer(core, effects), StopPod), "its holder knows nothing of it"
    effects = core.handle(ReleaseOffered(BOSS, claim_of(core).claim, winner), NOW)
    (ask,) = of(effects, Ask)
    assert not of(core.handle(Unanswered(ask.token, "timeout"), NOW), StopPod)
    effects = core.handle(ReleaseOffered(BOSS, claim_of(core).claim, winner), NOW)
    assert of(answer(core, effects, other_report(core, winner)), StopPod)


def test_a_worse_claim_moves_nobody():
    core = core_of("boss", "z")
    running(core)
    for worse in (ref(uid=UID, machine="z"), ref(uid=UID, attempt=1, machine="a"), ref(1, uid=UID, machine="a")):
        assert not of(core.handle(ReleaseOffered(BOSS, claim_of(core).claim, worse), NOW), Ask)


def test_an_outdated_claim_waits_for_its_successor_unless_it_may_be_missed():
    for fields, ends in (({}, False), ({"max_surge": 0}, True), ({"max_unavailable": 1}, True)):
        core = core_of("boss")
        running(core)
        core.handle(DeclarationStored(replace(MINE, sequence=2, revision="r2", **fields)), NOW)
        effects = core.handle(ReleaseOffered(BOSS, claim_of(core).claim, None), NOW)
        assert bool(of(effects, StopPod)) is ends


def test_a_current_claim_is_not_ended_by_a_mere_word():
    core = core_of("boss")
    running(core)
    effects = core.handle(ReleaseOffered(BOSS, claim_of(core).claim, None), NOW)
    assert not of(effects, StopPod)
    assert not of(effects, Ask)


def test_a_release_of_what_is_not_held_is_answered_with_its_end():
    core = core_of("boss")
    (told,) = of(core.handle(ReleaseOffered(BOSS, ref(uid=UID), None), NOW), Tell)
    (report,) = told.payload.reports
    assert (report.gone, report.claim) == (True, ref(uid=UID))


def test_running_pods_are_adopted_as_they_are():
    core = core_of("boss")
    fresh = type(core)(ME)
    fresh.handle(LocalChanged(member("me")), 0)
    fresh.handle(DeclarationStored(MINE), 0)
    claim = ref(2, uid=UID)
    held = HeldClaim(claim, identity_of(claim), MINE.requirements, {}, 5)
    found = ref(3, uid=UID)
    pods = (status(identity_of(claim)), status(identity_of(found, "pod-2")))
    effects = fresh.handle(Adopted((held,), pods), 0)
    assert not of(effects, StartPod)
    assert not of(effects, StopPod)
    assert [(r.claim.slot, r.ready) for r in fresh.claims(UID)] == [(2, True), (3, True)]
    assert fresh.reserved().cpu == 200, "the second one's needs are known from its declaration"
    assert [persist.claim.ref for persist in of(effects, PersistClaim)] == [found]


def recovering(*others, **fields):
    """A machine that finds a claim without its pod, 3 seconds after its start."""
    core = type(core_of())(ME)
    core.handle(LocalChanged(member("me")), 0)
    core.handle(DeclarationStored(replace(MINE, **fields)), 0)
    for other in others:
        core.handle(ClaimsReported(MachineId(other), ()), 0)
    claim = ref(uid=UID)
    effects = core.handle(Adopted((HeldClaim(claim, identity_of(claim), MINE.requirements, {}, 5),)), 0)
    assert not of(effects, StartPod)
    return core


def test_a_machine_that_is_alone_starts_what_it_had():
    core = recovering()
    assert of(core.handle(Wakeup(), 3), StartPod)


def test_a_rebooted_machine_gives_up_a_slot_that_is_served_elsewhere():
    from beemesh_node.healing.events import MemberSeen

    for served, started in ((True, 0), (False, 1)):
        core = recovering()
        core.handle(MemberSeen(member("boss", period=1.0)), 1)
        asks = [a for a in of(core.handle(Wakeup(), 3), Ask) if isinstance(a.payload, ClaimsQuery)]
        assert asks
        successor = replace(claim_of(core), claim=ref(uid=UID, attempt=1, machine="boss"), ready=served, gone=False)
        effects = []
        for ask in asks:
            effects += core.handle(Answered(ask.token, ClaimReply((successor,))), 3)
        assert len(of(effects, StartPod)) == started
        assert len(of(effects, ForgetClaim)) == 1 - started


def test_a_pod_that_its_machine_gave_up_makes_room_for_another_unless_it_is_not_to_be_restarted():
    for policy, ends in ((RestartPolicy.ALWAYS, True), (RestartPolicy.NEVER, False)):
        core = core_of("boss")
        identity = running(core, replace(MINE, restart_policy=policy))
        evicted = status(identity, ready=False, phase=PodPhase.FAILED, reason="Evicted", message="its volume is full")
        effects = core.handle(PodChanged(evicted), NOW + 1)
        assert [stop.identity for stop in of(effects, StopPod)] == ([identity] if ends else [])
        assert not of(core.handle(PodChanged(evicted), NOW + 2), StopPod)


def test_a_restart_is_told_with_its_cause():
    core = core_of("boss")
    identity = running(core)
    alive = ContainerStatus("main", "image", "running")
    core.handle(PodChanged(status(identity, containers=(alive,))), NOW + 1)
    again = replace(alive, restart_count=1, last_reason="Error", last_exit_code=137, last_message="it hung")
    effects = core.handle(PodChanged(status(identity, containers=(again,))), NOW + 2)
    told = [(note.event.reason, note.event.message) for note in of(effects, Note)]
    why = "container main ended (Error, exit code 137: it hung) and begins again"
    assert told == [("Restarted", f"{identity.pod_name}: {why}")]


def test_what_a_machine_cannot_start_is_offered_to_others_and_what_runs_stays():
    core = core_of("boss")
    served = running(core, slot=0)
    died = running(core, slot=1)
    offer(core, MINE, 2)

    def leaving():
        return {report.claim.slot for report in core.own_claims() if report.leaving}

    core.handle(LocalChanged(member("me", ready=False), address="10.0.0.1"), NOW + 1)
    assert leaving() == {2}
    unheard = ContainerStatus("main", "image", "running", reason=RUNTIME_UNAVAILABLE)
    core.handle(PodChanged(status(died, ready=False, containers=(unheard,))), NOW + 2)
    assert leaving() == {1, 2}
    core.handle(LocalChanged(member("me"), address="10.0.0.1"), NOW + 3)
    assert leaving() == {1}
    core.handle(PodChanged(status(died)), NOW + 4)
    assert leaving() == set()
    assert served.pod_uid in {report.pod_uid for report in core.own_claims()}
