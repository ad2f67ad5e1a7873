"""When a machine that has just started knows enough of the others to act."""

from beemesh_node.membership.acquaintance import Acquaintance
from beemesh_node.membership.member import Member
from beemesh_node.membership.table import MemberTable
from beemesh_node.protocol.ids import MachineId

ME = MachineId("me")
SETTLE, ALONE = 3.0, 10.0


def member(name: str, period: float = 1.0) -> Member:
    return Member(MachineId(name), name, {}, (), False, 4000, 2**33, 0, 0, (), 0, True, True, "", period)


def started(alone: float) -> tuple[Acquaintance, MemberTable]:
    members = MemberTable(ME, least_lifetime=1000.0)
    members.seen(member("me"), 0.0)
    acquaintance = Acquaintance()
    acquaintance.started(0.0, SETTLE, alone)
    return acquaintance, members


def acts_at(acquaintance: Acquaintance, members: MemberTable, now: float = 0.0) -> float:
    """Look whenever it says so, until it knows enough; the moment."""
    while (due := acquaintance.due(members, now)) > now:
        now = due
    return now


def test_a_machine_that_knows_of_nobody_else_settles_and_acts() -> None:
    assert SETTLE <= acts_at(*started(0.0)) <= SETTLE + 1.0


def test_a_machine_that_meets_nobody_although_it_knows_of_others_waits_longer() -> None:
    assert acts_at(*started(ALONE)) >= ALONE


def test_it_acts_soon_after_the_first_was_met() -> None:
    acquaintance, members = started(ALONE)
    assert acquaintance.due(members, 6.0) > 6.0
    members.seen(member("other"), 6.5)
    assert acts_at(acquaintance, members, 6.5) <= 6.5 + 1.0


def test_somebody_met_at_once_means_no_longer_wait() -> None:
    acquaintance, members = started(ALONE)
    members.seen(member("other"), 0.1)
    assert acts_at(acquaintance, members) <= SETTLE + 1.0


def test_in_a_large_mesh_it_waits_until_most_were_heard() -> None:
    acquaintance, members = started(0.0)
    for other in ("one", "two"):
        members.seen(member(other, period=60.0), 0.1)  # some 900 machines
    assert acts_at(acquaintance, members) >= 60.0
