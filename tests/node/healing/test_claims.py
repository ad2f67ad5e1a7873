from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.healing.claims import BROKEN_AFTER, LOST_KEPT, TERMINATING, ClaimTable, gone_report, promised_report
from beemesh_node.healing.declaration import Declaration
from beemesh_node.protocol.ids import Uid
from beemesh_node.protocol.messages import ClaimRef
from beemesh_node.workloads.pod import RestartPolicy

WEB = Declaration(Uid("u"), "default", "Deployment", "web", 1, 1, False, b"", revision="r", replicas=9)


def ref(slot=0, attempt=0, machine="a"):
    return ClaimRef("u", 1, slot, attempt, machine, "r")


def report(claim, version=1, ready=False, **fields):
    return replace(promised_report(claim, WEB), version=version, ready=ready, reason="", **fields)


def test_an_older_report_changes_nothing():
    table = ClaimTable(10)
    assert table.take(report(ref(), 5, ready=True), 0)
    assert not table.take(report(ref(), 4), 1)
    assert table.views(WEB, 1)[0].ready


def test_what_ended_is_not_brought_back_by_a_late_report():
    table = ClaimTable(10)
    table.take(report(ref(), 1), 0)
    table.take(gone_report(ref(), 7), 1)
    assert not table.take(report(ref(), 6), 2)
    assert not table.views(WEB, 2)
    assert table.take(report(ref(), 8), 3), "the same attempt, begun anew"


def test_a_promise_counts_also_where_the_same_attempt_ended_before():
    table = ClaimTable(10)
    table.take(gone_report(ref(), 7), 0)
    assert table.take(promised_report(ref(), WEB), 1)
    assert len(table.views(WEB, 1)) == 1
    assert not table.take(report(ref(), 6), 2), "of its earlier life"
    assert table.take(report(ref(), 8), 3)


def test_attempts_count_on_over_what_ended():
    table = ClaimTable(10)
    assert table.next_attempt(Uid("u"), "r", 0) == 0
    table.take(report(ref(attempt=2)), 0)
    table.take(gone_report(ref(attempt=2), 9), 0)
    assert table.next_attempt(Uid("u"), "r", 0) == 3
    assert table.next_attempt(Uid("u"), "other", 0) == 0


def test_availability_counts_from_the_last_time_it_became_ready():
    table, patient = ClaimTable(10), replace(WEB, min_ready_seconds=10)
    table.take(report(ref(), 1, ready=True), 0)
    assert table.next_change(patient, 0) == 10
    assert not table.views(patient, 9.9)[0].available
    assert table.views(patient, 10)[0].available
    table.take(report(ref(), 2), 11)
    table.take(report(ref(), 3, ready=True), 12)
    assert not table.views(patient, 21)[0].available


def test_only_lasting_unreadiness_is_broken():
    table = ClaimTable(10)
    table.take(report(ref(), 1), 0)
    assert not table.views(WEB, BROKEN_AFTER - 1)[0].broken
    assert table.views(WEB, BROKEN_AFTER)[0].broken


def test_a_claim_that_is_ending_is_neither_ready_nor_available():
    table = ClaimTable(10)
    table.take(replace(report(ref(), 1, ready=True), reason=TERMINATING), 0)
    (view,) = table.views(WEB, 100)
    assert (view.ready, view.available, view.stopping) == (False, False, True)


def test_a_pod_that_is_not_to_run_again_is_complete_even_when_its_machine_is_gone():
    table, once = ClaimTable(10), replace(WEB, restart_policy=RestartPolicy.NEVER)
    table.take(report(ref(), 1, phase="Succeeded"), 0)
    table.lose("a")
    assert table.views(once, 1)[0].available
    assert not table.views(WEB, 1)


def test_lost_claims_count_again_when_their_machine_is_back_but_serve_only_once_confirmed():
    table = ClaimTable(10)
    table.take(report(ref(), 1, ready=True), 0)
    assert table.lose("a") == {"u"}
    assert not table.views(WEB, 1)
    assert table.regain("a", 2) == {"u"}
    assert not table.views(WEB, 2)[0].ready
    assert table.unheard(Uid("u"), 100, 2, 4) == {"a"}
    assert table.take(report(ref(), 1, ready=True), 5), "the same report again is news now"
    assert table.views(WEB, 5)[0].ready


def test_what_a_machine_does_not_know_of_has_ended():
    table = ClaimTable(10)
    table.take(report(ref(0)), 0)
    table.take(report(ref(1)), 0)
    table.take(promised_report(ref(2), WEB), 3)
    assert table.reconcile(Uid("u"), "a", [report(ref(1), 2)], asked_at=2, now=4)
    assert {view.ref.slot for view in table.views(WEB, 4)} == {1, 2}, "what was promised after the question stays"


def test_a_promise_is_void_when_the_machine_reports_an_earlier_attempt_for_the_slot():
    table = ClaimTable(10)
    table.take(promised_report(ref(attempt=3), WEB), 0)
    table.take(report(ref(attempt=1)), 1)
    assert [view.ref.attempt for view in table.views(WEB, 1)] == [1]


def test_a_promise_stands_when_an_earlier_attempt_is_ending():
    table = ClaimTable(10)
    table.take(promised_report(ref(attempt=3), WEB), 0)
    table.take(replace(report(ref(attempt=1), 1), reason=TERMINATING), 1)
    table.take(gone_report(ref(attempt=2), 2), 1)
    assert {view.ref.attempt for view in table.views(WEB, 1) if not view.stopping} == {3}


def test_lost_claims_are_forgotten_in_time_and_first_when_there_is_no_room():
    table = ClaimTable(2)
    table.take(report(ref(0)), 0)
    table.take(report(ref(1, machine="b")), 0)
    assert not table.take(report(ref(2)), 0), "full"
    table.lose("b")
    assert table.take(report(ref(2)), 0)
    table.lose("a")
    table.prune(WEB, LOST_KEPT)
    assert len(table) == 0


reports = st.builds(
    lambda slot, attempt, machine, version, ready, gone: replace(
        report(ref(slot, attempt, machine), version, ready), gone=gone
    ),
    st.integers(0, 3),
    st.integers(0, 2),
    st.sampled_from("abc"),
    st.integers(0, 6),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(st.one_of(reports, st.sampled_from(["lose a", "lose b", "regain a"])), max_size=60), st.integers(1, 6))
def test_the_table_counts_right_and_keeps_its_bound(happenings, bound):
    table = ClaimTable(bound)
    for now, what in enumerate(happenings):
        if isinstance(what, str):
            (table.lose if what.startswith("lose") else lambda m, now=now: table.regain(m, now))(what[-1])
        else:
            table.take(what, now)
        assert len(table) == len(list(table.entries(Uid("u")))) <= bound
    table.forget(Uid("u"))
    assert len(table) == 0


@given(st.permutations([report(ref(), v, ready=v % 2 == 0) for v in range(1, 5)] + [gone_report(ref(), 5)]))
def test_reports_in_any_order_end_in_the_same_state(order):
    table = ClaimTable(10)
    for now, one in enumerate(order):
        table.take(one, now)
    assert not table.views(WEB, 10)


def test_a_lie_about_attempts_does_not_use_up_their_numbers():
    table = ClaimTable(10)
    assert not table.take(report(ref(attempt=2**32 - 1), gone=True), 0)
    assert not table.take(report(ref(slot=10_000)), 0)
    assert table.next_attempt(Uid("u"), "r", 0) == 0
    table.take(report(ref(attempt=3)), 0)
    assert not table.take(report(ref(attempt=2_000_000), 2), 0)
    assert table.next_attempt(Uid("u"), "r", 0) == 4


def test_what_another_guardian_says_ends_nothing_and_the_holder_corrects_it():
    table = ClaimTable(10)
    table.take(report(ref(), 5, ready=True), 0)
    assert not table.hear_of(gone_report(ref(), 2**63 - 1), 1)
    assert table.views(WEB, 1)[0].ready
    assert table.hear_of(report(ref(slot=1, machine="b"), 2**63 - 1, ready=True), 1)
    assert not table.views(WEB, 1)[1].ready, "unconfirmed"
    assert table.unheard(Uid("u"), 100, 2, 4) == {"b"}
    assert table.take(report(ref(slot=1, machine="b"), 1, ready=True), 5), "its holder's own word"
    assert table.views(WEB, 5)[1].ready
