"""When a machine erases what it neither guards nor runs, and what a guardian says to one that is about to."""

from dataclasses import replace

import pytest

from beemesh_node.healing.config import Config
from beemesh_node.healing.effects import Ask, EraseRecord, PushRecord, Reply, Token
from beemesh_node.healing.events import (
    Answered,
    Asked,
    AssignmentOffered,
    DeclarationStored,
    MemberGone,
    MemberSeen,
    RecordErased,
    RecordHeld,
    Unanswered,
    VoterSetsShown,
    VotersHeld,
    Wakeup,
)
from beemesh_node.healing.leases.voter import HeldVoter
from beemesh_node.healing.leases.voters import Voters
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import KeepQuery, KeepReply, SlotAttempt
from beemesh_node.protocol.voters import SlotMark

from .support import core_of, guarded_by, member, of

CONFIG = Config(guardians=2)
OTHERS = ("a", "b", "c", "d")
WEB = guarded_by("a", "b", "me", "c", "d")
ASKED_AT = 10 + CONFIG.erase_after


def holder():
    """A core that is no guardian of WEB, and the two that are."""
    core = core_of(*OTHERS, config=CONFIG)
    core.handle(DeclarationStored(WEB, stamp=7), 10)
    guardians = core.guardians(WEB.path)
    assert "me" not in guardians
    return core, guardians


def asked(core, now=ASKED_AT):
    asks = [effect for effect in of(core.handle(Wakeup(), now), Ask) if isinstance(effect.payload, KeepQuery)]
    return {ask.machine: ask for ask in asks}


def answers(core, asks, *kept, now=ASKED_AT):
    done = []
    for ask, yes in zip(asks.values(), kept, strict=True):
        done += core.handle(Answered(ask.token, KeepReply(yes)), now)
    return of(done, EraseRecord)


def test_it_asks_all_guardians_and_erases_when_all_keep_it():
    core, guardians = holder()
    asks = asked(core)
    assert set(asks) == set(guardians)
    assert {ask.payload for ask in asks.values()} == {KeepQuery(WEB.uid, WEB.sequence, WEB.digest, ())}
    assert answers(core, asks, True, True) == [EraseRecord(WEB.uid, 7)]
    assert core.workload(WEB.uid) is not None, "until it is off the disk"
    core.handle(RecordErased(WEB.uid, 7), ASKED_AT + 1)
    assert core.workload(WEB.uid) is None
    assert not asked(core, ASKED_AT + 1000)


@pytest.mark.parametrize("kept", [(True, False), (False, False)])
def test_one_that_does_not_keep_it_is_brought_it_again(kept):
    core, guardians = holder()
    for machine in guardians:
        core.handle(RecordHeld(WEB.uid, machine, WEB.sequence, False, WEB.digest), 11)
    asks = asked(core)
    assert answers(core, asks, *kept) == []
    lacking = {machine for machine, yes in zip(asks, kept, strict=True) if not yes}
    assert {push.machine for push in of(core.handle(Wakeup(), ASKED_AT + 10), PushRecord)} == lacking
    assert asked(core, ASKED_AT + CONFIG.erase_after), "and all are asked again"


def test_one_that_does_not_answer_keeps_it_from_being_erased():
    core, _ = holder()
    first, second = asked(core).values()
    assert not of(core.handle(Answered(first.token, KeepReply(True)), ASKED_AT), EraseRecord)
    assert not of(core.handle(Unanswered(second.token, "no answer"), ASKED_AT + 5), EraseRecord)


def test_answers_to_a_round_do_not_count_when_the_guardians_changed_meanwhile():
    core, guardians = holder()
    asks = asked(core)
    core.handle(MemberGone(guardians[0], "gone"), ASKED_AT)
    core.handle(MemberSeen(member(guardians[0], period=1000.0)), ASKED_AT)
    assert core.guardians(WEB.path) == guardians
    assert answers(core, asks, True, True) == []


def test_what_is_written_again_after_the_decision_is_kept_and_counts_as_kept():
    core, guardians = holder()
    assert answers(core, asked(core), True, True)
    core.handle(DeclarationStored(WEB, stamp=8), ASKED_AT)
    core.handle(RecordErased(WEB.uid, 7), ASKED_AT)
    assert core.workload(WEB.uid) is not None
    for machine in guardians:
        core.handle(MemberGone(machine, "gone"), ASKED_AT)
    (reply,) = of(core.handle(Asked(Token(1), MachineId("c"), KeepQuery(WEB.uid, 1, b"1", ())), ASKED_AT), Reply)
    assert reply.payload == KeepReply("me" in core.guardians(WEB.path))


def test_a_runner_is_not_asked_to_erase():
    core, _ = holder()
    core.handle(AssignmentOffered(Token(1), MachineId("a"), WEB, (SlotAttempt(0, 0),)), 11)
    assert not asked(core)


@pytest.mark.parametrize(
    ("stored", "sequence", "digest", "kept"),
    [
        (WEB, WEB.sequence, WEB.digest, True),
        (WEB, WEB.sequence + 1, WEB.digest, False),
        (WEB, WEB.sequence, WEB.digest + b"greater", False),
        (replace(WEB, deleted=True, sequence=2), WEB.sequence, WEB.digest, True),
    ],
)
def test_a_guardian_says_that_it_keeps_only_what_it_has_or_what_wins_over_it(stored, sequence, digest, kept):
    core = core_of("a", config=CONFIG)
    core.handle(DeclarationStored(stored), 10)
    query = KeepQuery(WEB.uid, sequence, digest, ())
    (reply,) = of(core.handle(Asked(Token(1), MachineId("a"), query), 10), Reply)
    assert reply.payload == KeepReply(kept)


def test_a_guardian_does_not_count_on_one_that_is_about_to_erase():
    core = core_of("a", config=CONFIG)
    core.handle(DeclarationStored(WEB), 10)
    core.handle(RecordHeld(WEB.uid, MachineId("a"), WEB.sequence, False, WEB.digest), 10)
    assert not of(core.handle(Wakeup(), 50), PushRecord)
    core.handle(Asked(Token(1), MachineId("a"), KeepQuery(WEB.uid, WEB.sequence, WEB.digest, ())), 50)
    assert of(core.handle(Wakeup(), 60), PushRecord) == [PushRecord(WEB.uid, MachineId("a"))]


def test_one_that_guards_nothing_does_not_say_that_it_keeps():
    core, _ = holder()
    query = KeepQuery(WEB.uid, WEB.sequence, WEB.digest, ())
    (reply,) = of(core.handle(Asked(Token(1), MachineId("c"), query), 10), Reply)
    assert reply.payload == KeepReply(False)


def test_who_votes_on_its_leases_keeps_it_until_others_do():
    core = core_of(*OTHERS, config=CONFIG)
    core.handle(DeclarationStored(replace(WEB, voters=("a", "b", "me")), stamp=7), 10)
    assert not asked(core)
    four, three = frozenset(("a", "b", "c", "me")), frozenset(("a", "b", "c"))
    core.handle(VoterSetsShown(WEB.uid, (Voters(1, four), Voters(2, three))), ASKED_AT + 1)
    asks = asked(core, ASKED_AT + CONFIG.erase_after)
    assert answers(core, asks, True, True) == [EraseRecord(WEB.uid, 7)]


def test_who_has_volumes_of_its_slots_keeps_it_also_after_a_restart():
    core = core_of(*OTHERS, config=CONFIG)
    held = HeldVoter(WEB.uid, 0, ("a", "b", "c"), marks=(SlotMark(0, 1, "me"),))
    core.handle(VotersHeld((held,)), 0)
    core.handle(DeclarationStored(replace(WEB, voters=("a", "b", "c"), binds=True), stamp=7), 10)
    assert not asked(core)
    assert not asked(core, ASKED_AT + 1000)
