from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.membership.cadence import presence_period
from beemesh_node.membership.clock import MAX_SAMPLES, MeshClock
from beemesh_node.membership.closeness import guardians_of, position
from beemesh_node.membership.member import Member, member_of
from beemesh_node.membership.table import Change, MemberTable
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Presence

names = st.lists(st.text("0123456789abcdef", min_size=1, max_size=6), unique=True, max_size=30)


def member(machine, **fields):
    base = Member(MachineId(machine), machine, {}, (), False, 1000, 1000, 0, 0, (), 0, True, True, "", 1.0)
    return replace(base, **fields)


@given(names, st.text(max_size=8), st.integers(1, 7))
def test_guardians_are_the_closest_whoever_looks(machines, key, count):
    members = [member(machine) for machine in machines]
    chosen = guardians_of(key, members, count)
    assert chosen == guardians_of(key, reversed(members), count)
    assert list(chosen) == sorted(machines, key=lambda m: position(m) ^ position(key))[:count]


@given(names, st.text(max_size=8))
def test_a_guardian_that_goes_moves_the_others_up_and_no_other_away(machines, key):
    members = [member(machine) for machine in machines]
    before = guardians_of(key, members, 5)
    for gone in before:
        after = guardians_of(key, [m for m in members if m.machine != gone], 5)
        assert [m for m in before if m != gone] == list(after[: len(before) - 1])


def test_only_flagged_machines_guard_unless_none_is():
    members = [member("a", guardian=False), member("b"), member("c", guardian=False)]
    assert guardians_of("key", members, 5) == ("b",)
    assert set(guardians_of("key", [replace(m, guardian=False) for m in members], 5)) == {"a", "b", "c"}


def test_a_member_expires_three_periods_after_it_was_heard():
    table = MemberTable(MachineId("me"))
    assert table.seen(member("a", period=2.0), 10) is Change.JOINED
    assert table.expiry(MachineId("a")) == 16
    assert table.seen(member("a", period=2.0), 12) is Change.NOTHING
    assert table.seen(member("a", period=2.0, cpu_reserved=5), 13) is Change.FACTS
    assert table.expiry(MachineId("a")) == 19
    version = table.version
    assert table.remove(MachineId("a"))
    assert table.version > version
    assert not table.remove(MachineId("a"))


def test_a_machine_cannot_claim_a_period_that_keeps_it_alive_for_ever():
    table = MemberTable(MachineId("me"))
    table.seen(member("a", period=1e12), 0)
    assert table.expiry(MachineId("a")) == 3 * 3600
    table.seen(member("a", period=-5.0), 0)
    assert table.expiry(MachineId("a")) > 0


def test_the_machine_itself_is_never_struck_off():
    table = MemberTable(MachineId("me"))
    table.seen(member("me"), 0)
    assert not table.remove(MachineId("me"))


def test_guardians_follow_membership():
    table = MemberTable(MachineId("me"))
    for machine in "abc":
        table.seen(member(machine), 0)
    assert set(table.guardians("key", 5)) == {"a", "b", "c"}
    table.remove(MachineId("b"))
    assert set(table.guardians("key", 5)) == {"a", "c"}


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans()), max_size=120), st.integers(1, 3))
def test_followed_guardians_are_those_chosen_anew_and_every_change_of_them_is_told(steps, count):
    table, keys = MemberTable(MachineId("me")), ["one", "two", "three"]
    for key in keys:
        table.follow(key, count)
    table.moved()
    told = {key: table.guardians(key, count) for key in keys}
    for number, present, guardian in steps:
        machine = MachineId(f"m{number}")
        if present:
            table.seen(member(machine, guardian=guardian), 0)
        else:
            table.remove(machine)
        moved = table.moved()
        for key in keys:
            fresh = guardians_of(key, table, count)
            assert key in moved or fresh == told[key]
            if number % 2:  # others are not asked for in between
                assert table.guardians(key, count) == fresh
            told[key] = fresh
    assert {key: table.guardians(key, count) for key in keys} == {key: guardians_of(key, table, count) for key in keys}


def test_labels_of_the_certificate_win_and_well_known_ones_are_filled_in():
    presence = Presence(
        statement=b"",
        addresses=(),
        labels={"region": "claimed", "disk": "ssd"},
        taints=(),
        unschedulable=False,
        cpu_allocatable=4,
        memory_allocatable=5,
        cpu_reserved=1,
        memory_reserved=2,
        host_ports=(80,),
        pods=3,
        architecture="arm64",
        operating_system="linux",
        kernel="",
        runtime_version="",
        node_version="",
        started_at=7,
        sequence=1,
        period_ms=1500,
        ready=True,
        reason="",
    )
    found = member_of(MachineId("m"), "edge-1", False, {"region": "eu"}, presence)
    assert found.labels == {
        "kubernetes.io/hostname": "edge-1",
        "kubernetes.io/arch": "arm64",
        "kubernetes.io/os": "linux",
        "region": "eu",
        "disk": "ssd",
    }
    assert (found.period, found.guardian, found.started_at) == (1.5, False, 7)


@given(st.integers(1, 1_000_000))
def test_presence_stays_within_its_share_of_the_budget(members):
    assert members / presence_period(members) <= 15 + 1e-9
    assert presence_period(members) >= 1


def test_mesh_time_is_the_median_of_what_others_sign():
    clock = MeshClock(floor_ms=0, fallback_ms=5, fallback_plausible=False)
    assert clock.time_ms(1.0) == 1005
    for number, offset in enumerate((1000, 2000, 9_000_000_000)):
        clock.answered(MachineId(str(number)), offset + 10_000, 9.5, 10.5)
    assert clock.offset_ms == 2000
    clock.forget(MachineId("1"))
    assert clock.offset_ms == 1000


def test_an_answer_before_its_question_is_ignored():
    clock = MeshClock(floor_ms=0, fallback_ms=7, fallback_plausible=False)
    clock.answered(MachineId("a"), 99, 5.0, 4.0)
    assert clock.offset_ms == 7


@given(
    st.integers(0, 10**13),
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(-(10**14), 10**14), st.floats(0, 1e4)), max_size=40),
)
def test_mesh_time_falls_once_at_most_when_confirmed_and_never_below_its_floor(floor, answers):
    clock, last, confirmed = MeshClock(floor_ms=floor, fallback_ms=0), 0, False
    for machine, said, now in sorted(answers, key=lambda a: a[2]):
        clock.answered(MachineId(machine), said, now, now)
        may_fall, confirmed = not confirmed and clock.confirmed, confirmed or clock.confirmed
        time = clock.time_ms(now)
        assert time >= floor
        assert time >= last or may_fall
        last = time


def test_the_first_machine_met_cannot_set_the_time_alone():
    year = 365 * 86_400_000
    clock = MeshClock(floor_ms=0, fallback_ms=20 * year)
    clock.answered(MachineId("liar"), 40 * year, 0, 0)
    assert clock.time_ms(1.0) == 20 * year + 1000
    assert not clock.confirmed


def test_an_operating_system_that_is_far_ahead_is_outvoted():
    year = 365 * 86_400_000
    clock = MeshClock(floor_ms=0, fallback_ms=90 * year)
    assert clock.time_ms(1.0) == 90 * year + 1000
    clock.answered(MachineId("a"), 20 * year, 0, 0)
    clock.answered(MachineId("b"), 20 * year + 5, 0, 0)
    assert clock.confirmed
    assert clock.time_ms(2.0) == 20 * year + 2005


def test_a_machine_without_a_clock_believes_the_first_it_meets():
    clock = MeshClock(floor_ms=1000, fallback_ms=0, fallback_plausible=False)
    assert not clock.known
    clock.answered(MachineId("a"), 5_000_000, 0, 0)
    assert clock.known
    assert clock.time_ms(1.0) == 5_001_000


def test_opinions_are_bounded():
    clock = MeshClock(0, 0, fallback_plausible=False)
    for number in range(10 * MAX_SAMPLES):
        clock.answered(MachineId(str(number)), number, 0, 0)
    assert clock.offset_ms >= 9 * MAX_SAMPLES, "only the latest are kept"
