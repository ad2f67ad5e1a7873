from dataclasses import replace

from beemesh_node.healing import events as ev
from beemesh_node.healing.config import Config
from beemesh_node.healing.effects import Ask, Reply, Tell, Token
from beemesh_node.healing.history import MAX_OF_ONE
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import ClaimsQuery, EventReport, Maintenance

from .support import ME, WEB, core_of, guarded_by, member, of


def event(machine="a", message="m", uid="u", **fields):
    told = EventReport(uid, "default", "Deployment", "web", "Normal", "Started", message, machine, 1, 1, 1, "web-x", 0)
    return replace(told, **fields)


def guarding(config=None, **fields):
    core = core_of("a", "b", config=config, **fields)
    core.handle(ev.DeclarationStored(WEB), 0)
    return core


def tell(core, sender, *events):
    return core.handle(ev.ClaimsReported(MachineId(sender), (), events), 1)


def others(core):
    return [each for each in core.events() if each.machine != ME]


def test_a_guardian_keeps_what_machines_tell_of_themselves_and_no_more():
    core = guarding()
    lies = event(
        namespace="kube-system", kind="Secret", name="other", type="Fine", reason="r" * 999, message="m" * 9999
    )
    tell(core, "a", lies, event("b", "of another machine"), event(uid="unknown"), event(ME, "of ourselves"))
    (kept,) = others(core)
    assert (kept.namespace, kept.kind, kept.name, kept.type) == ("default", "Deployment", "web", "Normal")
    assert (len(kept.reason), len(kept.message)) == (64, 1024)


def test_a_repetition_replaces_what_it_repeats_whatever_comes_last():
    core = guarding()
    tell(core, "a", event(count=3, last_at=9))
    tell(core, "a", event(count=2, last_at=5))
    (kept,) = others(core)
    assert (kept.count, kept.last_at) == (3, 9)


def test_what_is_kept_is_bounded_for_each_declaration_and_in_all():
    core = guarding(Config(max_history=100))
    tell(core, "a", *(event(message=str(n)) for n in range(MAX_OF_ONE + 10)))
    assert [each.message for each in others(core)] == [str(n) for n in range(10, MAX_OF_ONE + 10)]
    second = replace(WEB, uid=Uid("v"), name="other")
    core.handle(ev.DeclarationStored(second), 1)
    tell(core, "a", *(event(message=str(n), uid="v") for n in range(MAX_OF_ONE)))
    assert len(others(core)) == 100


def test_a_guardian_that_is_new_learns_the_story_from_the_others():
    core = guarding()
    tell(core, "a", event("a", "long ago"))
    effects = core.handle(ev.Asked(Token(7), MachineId("b"), ClaimsQuery("u")), 2)
    (reply,) = of(effects, Reply)
    assert "long ago" in {each.message for each in reply.payload.events}


def test_what_happens_here_is_told_to_the_other_guardians():
    core = core_of("a", "b", unschedulable=True)
    core.handle(ev.DeclarationStored(guarded_by("me", "a", "b")), 0)
    effects = []
    for when in range(20, 40):
        effects += core.handle(ev.Wakeup(), when)
        for ask in of(effects, Ask):
            effects += core.handle(ev.Unanswered(ask.token, "nobody"), when)
    told = [each for tell in of(effects, Tell) for each in tell.payload.events]
    assert {each.reason for each in told} == {"FailedScheduling"}
    assert {tell.machine for tell in of(effects, Tell) if tell.payload.events} == {"a", "b"}


def test_maintenance_is_an_event_of_the_machine_that_says_what_follows():
    core = core_of()
    core.handle(ev.LocalChanged(member("me", unschedulable=True)), 5)
    core.handle(ev.MaintenanceSet(Maintenance.CORDON), 5)
    (told,) = core.events()
    assert (told.kind, told.name, told.namespace, told.reason) == ("Node", "me", "default", "NodeNotSchedulable")
    core.handle(ev.MaintenanceSet(Maintenance.CORDON), 6)
    assert len(core.events()) == 1
    core.handle(ev.MaintenanceSet(Maintenance.NONE), 7)
    assert core.events()[-1].reason == "NodeSchedulable"
