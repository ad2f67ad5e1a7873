"""What a guardian does when machines die, and when the coordinator does not act."""

from dataclasses import replace

from beemesh_node.healing import events as ev
from beemesh_node.healing.claims import promised_report
from beemesh_node.healing.effects import Ask, Assign
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Bid, ClaimReply, ClaimsQuery, Task

from .support import core_of, guarded_by, member, of, ref


def placing(core, declaration):
    """The rounds that a fresh declaration begins."""
    return of(core.handle(ev.DeclarationStored(declaration, fresh=True), 10.0), Ask)


def test_nobody_waits_for_the_answer_of_the_dead():
    core = core_of("a", "b")
    asked = placing(core, guarded_by("me", "a", "b"))
    assert {ask.machine for ask in asked if isinstance(ask.payload, Task)} == {"a", "b"}
    tokens = {ask.machine: ask for ask in asked}
    bid = Bid(tokens["a"].payload.task_id, 1, 1000, 0)
    (assigned,) = of(core.handle(ev.Answered(tokens["a"].token, bid), 10.01), Assign) or of(
        core.handle(ev.MemberGone("b", "it is dead"), 10.02), Assign
    )
    assert assigned.machine == "a"
    effects = core.handle(ev.MemberGone("a", "it is dead"), 10.1)
    assert not of(effects, Assign)
    assert core.own_claims(), "with nobody else left, this machine takes it itself"


def test_a_need_that_grows_does_not_postpone_who_waits_for_its_turn():
    core = core_of("a")
    web = guarded_by("a", "me")
    assert placing(core, web) == []
    grown = replace(web, sequence=2, digest=b"2", replicas=2)
    core.handle(ev.DeclarationStored(grown), 11.0)
    assert not of(core.handle(ev.Wakeup(), 11.4), Ask)
    assert of(core.handle(ev.Wakeup(), 11.6), Ask), "the coordinator had its 1.5 s"


def test_who_stands_by_steps_in_again_for_as_long_as_the_need_lasts():
    core = core_of("a", cpu_allocatable=0)
    placing(core, guarded_by("a", "me"))
    for moment in (11.6, 15.0, 20.0, 40.0):
        asked = of(core.handle(ev.Wakeup(), moment), Ask)
        assert [ask.machine for ask in asked] == ["a"]
        core.handle(ev.Unanswered(asked[0].token, "silent"), moment + 0.1)


def test_a_machine_heard_of_before_it_was_met_may_announce_a_restart():
    """Its claims came first, then itself; it is not held a stranger because it restarts just when that is judged."""
    core = core_of()
    web = guarded_by("me")
    report = replace(promised_report(ref(machine="a", uid=web.uid), web), version=1, ready=True)
    core.handle(ev.ClaimsReported(MachineId("a"), (report,)), 10.0)
    core.handle(ev.DeclarationStored(web), 10.0)
    core.handle(ev.MemberSeen(member("a", period=1.0)), 11.0)
    core.handle(ev.MemberGone(MachineId("a"), "it restarts", restarting=True), 12.0)
    core.handle(ev.Wakeup(), 20.0)
    assert not core.own_claims(), "it is awaited"
    core.handle(ev.Wakeup(), 75.0)
    assert core.own_claims(), "it had its time"


def of_a(core, declaration):
    return {report.claim for report in core.claims(declaration.uid) if report.claim.machine == "a"}


def test_a_machine_back_from_an_announced_restart_is_asked_until_it_tells_what_it_holds():
    """It may have ended a claim just before it stopped, and not have told it any more."""
    core = core_of("a")
    web = guarded_by("me")
    held = replace(promised_report(ref(machine="a", uid=web.uid), web), version=1, ready=True)
    ended = replace(held, claim=replace(held.claim, slot=1))
    core.handle(ev.DeclarationStored(replace(web, replicas=2)), 10.0)
    core.handle(ev.ClaimsReported(MachineId("a"), (held, ended)), 10.0)
    core.handle(ev.MemberGone(MachineId("a"), "it restarts", restarting=True), 11.0)
    back = core.handle(ev.MemberSeen(member("a")), 12.0)
    (asked,) = [ask for ask in of(back, Ask) if isinstance(ask.payload, ClaimsQuery)]
    assert asked.machine == "a"
    core.handle(ev.Unanswered(asked.token, "it has not taken up its pods yet"), 12.1)
    assert of_a(core, web) == {held.claim, ended.claim}
    (again,) = [ask for ask in of(core.handle(ev.Wakeup(), 15.0), Ask) if isinstance(ask.payload, ClaimsQuery)]
    core.handle(ev.Answered(again.token, ClaimReply((replace(held, version=9),))), 15.1)
    assert of_a(core, web) == {held.claim}
    assert not [ask for ask in of(core.handle(ev.Wakeup(), 30.0), Ask) if isinstance(ask.payload, ClaimsQuery)]
