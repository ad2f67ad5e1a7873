from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.plan import ClaimView, plan
from beemesh_node.protocol.ids import Uid
from beemesh_node.protocol.messages import ClaimRef
from beemesh_node.workloads.rollout import Rollout

OLD, NEW = "old", "new"


def declared(**fields):
    base = Declaration(Uid("u"), "default", "Deployment", "web", 1, 2, False, b"", revision=NEW)
    return replace(base, **fields)


def claim(slot, revision=NEW, attempt=0, machine="a", **state):
    return ClaimView(ClaimRef("u", 1, slot, attempt, machine, revision), **state)


def serving(slot, revision=NEW, attempt=0, machine="a"):
    return claim(slot, revision, attempt, machine, ready=True, available=True)


def ended(planned):
    return [
        (e.claim.slot, e.claim.revision, e.claim.machine, e.better.machine if e.better else None) for e in planned.end
    ]


def test_nothing_claimed_is_everything_to_place():
    assert plan(declared(replicas=3), []).place == (0, 1, 2)


def test_what_is_being_placed_is_not_placed_again():
    assert plan(declared(replicas=3), [serving(0)], placing=[2]).place == (1,)


def test_a_surge_window_begins_with_the_lowest_slots():
    claims = [serving(slot, OLD) for slot in range(4)]
    planned = plan(declared(replicas=4, max_surge=2), claims)
    assert planned.place == (0, 1)
    assert not planned.end


def test_the_old_ends_only_once_the_new_is_available():
    old, starting = serving(0, OLD), claim(0, machine="b")
    assert not plan(declared(), [old, starting]).end
    assert not plan(declared(), [old, replace(starting, ready=True)]).end, "ready, but not for long enough"
    assert ended(plan(declared(), [old, serving(0, machine="b")])) == [(0, OLD, "a", "b")]


def test_without_surge_the_lowest_old_ones_go_first_and_the_new_waits_for_their_end():
    claims = [serving(slot, OLD) for slot in range(3)]
    rolling = declared(replicas=3, max_surge=0, max_unavailable=1)
    assert ended(plan(rolling, claims)) == [(0, OLD, "a", None)]
    stopping = claim(0, OLD, stopping=True)
    assert plan(rolling, [stopping, *claims[1:]]).complete is False
    assert not plan(rolling, [stopping, *claims[1:]]).place
    assert plan(rolling, claims[1:]).place == (0,)


def test_broken_replicas_are_replaced_first_and_cost_nothing():
    rolling = declared(replicas=3, max_surge=0, max_unavailable=1)
    claims = [serving(0, OLD), serving(1, OLD), claim(2, OLD, broken=True)]
    assert ended(plan(rolling, claims)) == [(2, OLD, "a", None)]
    just_starting = [serving(0, OLD), serving(1, OLD), claim(2, OLD)]
    assert not plan(rolling, just_starting).end, "it may serve at any moment: then two would be gone"


def test_a_halted_rollout_fills_gaps_and_touches_nothing_else():
    claims = [serving(0, OLD), serving(1, OLD)]
    assert plan(declared(replicas=3), claims, halted=True).place == (2,)
    assert not plan(declared(replicas=2, max_surge=0), claims, halted=True).end


def test_scaling_down_begins_with_the_highest_slot():
    claims = [serving(slot) for slot in range(5)]
    assert [e.claim.slot for e in plan(declared(replicas=2), claims).end] == [4, 3, 2]


def test_of_duplicates_the_lower_attempt_and_machine_stays_once_it_is_ready():
    lower, higher = serving(0, machine="b"), serving(0, attempt=1)
    assert ended(plan(declared(), [higher, lower])) == [(0, NEW, "a", "b")]
    assert not plan(declared(), [higher, claim(0, machine="b")]).end, "it is not ready (yet)"
    assert ended(plan(declared(), [higher, claim(0, machine="b", broken=True)])) == [(0, NEW, "b", "a")]


def test_an_overtaken_rollout_leaves_one_replica_a_slot():
    first, second = serving(0, "revision-1"), claim(0, "revision-2", machine="b")
    planned = plan(declared(replicas=1), [first, second])
    assert ended(planned) == [(0, "revision-2", "b", "a")]
    assert not planned.place, "there is no room before it has ended"
    assert plan(declared(replicas=1), [first]).place == (0,)


def test_deleted_or_shadowed_means_no_claims():
    claims = [serving(0), claim(1, stopping=True), serving(2, OLD)]
    for planned in (plan(declared(deleted=True), claims), plan(declared(), claims, reigns=False)):
        assert [e.claim.slot for e in planned.end] == [2, 0]
        assert not planned.place


def test_without_room_for_surge_the_allowance_for_missing_ones_is_used():
    claims = [serving(slot, OLD) for slot in range(4)]
    both = declared(replicas=4, max_surge=1, max_unavailable=1)
    assert not plan(both, claims).end
    assert ended(plan(both, claims, cramped=True)) == [(0, OLD, "a", None)]
    assert not plan(declared(replicas=4, max_surge=1), claims, cramped=True).end, "none may be missed"


@dataclass
class Model:
    """Claims as they would be if every wish of a plan came true, each at a moment of its own."""

    declaration: Declaration
    claims: list[ClaimView]
    born: int = 0

    @property
    def live(self):
        return [c for c in self.claims if not c.stopping]

    @property
    def available(self):
        return len({c.ref.slot for c in self.live if c.available and c.ref.slot < self.declaration.replicas})

    def act(self):
        """Do what is planned, and check that it kept the bounds."""
        d, total, available = self.declaration, len(self.live), self.available
        planned = plan(d, self.claims)
        over = {e.claim for e in planned.end}
        self.claims = [replace(c, stopping=True) if c.ref in over else c for c in self.claims]
        for slot in planned.place:
            self.born += 1
            self.claims.append(claim(slot, d.revision, attempt=self.born))
        assert len(self.live) <= max(total, d.replicas + d.max_surge)
        assert self.available >= min(available, d.replicas - d.unavailable)
        return planned

    def step(self, choice, number):
        if not self.claims:
            return
        index = number % len(self.claims)
        chosen = self.claims[index]
        match choice:
            case "ready" if not chosen.stopping:
                self.claims[index] = replace(chosen, ready=True, available=True, broken=False)
            case "broken" if not chosen.stopping:
                self.claims[index] = replace(chosen, ready=False, available=False, broken=True)
            case "gone":
                if chosen.stopping or number % 5 == 0:
                    del self.claims[index]


places = st.tuples(st.integers(0, 9), st.sampled_from([OLD, "older", NEW]), st.sampled_from("abc"))
steps = st.lists(st.tuples(st.sampled_from(["ready", "ready", "broken", "gone"]), st.integers(0, 10_000)), max_size=40)


@given(
    replicas=st.integers(0, 8),
    surge=st.integers(0, 3),
    unavailable=st.integers(0, 3),
    before=st.lists(places, max_size=12),
    steps=steps,
)
def test_every_plan_keeps_the_bounds_and_fair_time_leads_to_what_is_declared(
    replicas, surge, unavailable, before, steps
):
    d = declared(replicas=replicas, max_surge=surge, max_unavailable=unavailable)
    unique = {(slot, revision, machine) for slot, revision, machine in before}
    model = Model(d, [serving(slot, revision, machine=machine) for slot, revision, machine in sorted(unique)])
    for choice, number in steps:
        model.act()
        model.step(choice, number)
    for _ in range(200):
        planned = model.act()
        if planned.complete and not any(c.stopping for c in model.claims):
            break
        model.claims = [replace(c, ready=True, available=True, broken=False) for c in model.claims if not c.stopping]
    assert sorted((c.ref.slot, c.ref.revision) for c in model.claims) == [(slot, NEW) for slot in range(replicas)]


@given(
    replicas=st.integers(1, 8),
    surge=st.integers(0, 3),
    unavailable=st.integers(0, 3),
    order=st.lists(st.integers(0, 10_000), max_size=80),
)
def test_a_rollout_from_a_healthy_state_never_leaves_the_bounds(replicas, surge, unavailable, order):
    """However the starts and ends of single replicas interleave."""
    d = declared(replicas=replicas, max_surge=surge, max_unavailable=unavailable)
    model = Model(d, [serving(slot, OLD) for slot in range(replicas)])
    for number in order:
        model.act()
        assert len(model.live) <= replicas + surge
        assert model.available >= replicas - d.unavailable
        waiting = [i for i, c in enumerate(model.claims) if c.stopping or not c.available]
        if waiting:
            index = waiting[number % len(waiting)]
            if model.claims[index].stopping:
                del model.claims[index]
            else:
                model.claims[index] = replace(model.claims[index], ready=True, available=True)


def test_an_old_holder_of_a_lease_goes_where_the_new_one_waits_for_it():
    leased = declared(replicas=3, max_surge=0, max_unavailable=1, voters=("a", "b", "c"))
    claims = [serving(0, OLD), claim(0, machine="b"), serving(1), serving(2, OLD), claim(2, machine="b")]
    assert ended(plan(leased, claims)) == [(0, OLD, "a", None)], "one at a time"
    assert not plan(replace(leased, voters=()), claims).end, "without leases it will be ready by itself"
    assert plan(leased, claims[:3]).place == (2,), "what waits does not take the room of others"


def ordered(**fields):
    return declared(kind="StatefulSet", max_surge=0, max_unavailable=1, rollout=Rollout.ORDERED, **fields)


def test_in_order_a_slot_begins_once_those_before_it_are_available():
    three = ordered(replicas=3)
    assert plan(three, []).place == (0,)
    assert plan(three, [claim(0)]).place == ()
    assert plan(three, [serving(0)]).place == (1,)
    assert plan(three, [serving(0), serving(2)]).place == (1,)
    assert plan(replace(three, rollout=Rollout.PARALLEL), []).place == (0, 1, 2)


def test_in_order_slots_end_from_the_highest_one_after_the_other():
    one = ordered(replicas=1)
    claims = [serving(slot) for slot in range(3)]
    assert [slot for slot, *_ in ended(plan(one, claims))] == [2]
    assert ended(plan(one, [*claims[:2], claim(2, stopping=True)])) == []
    assert [slot for slot, *_ in ended(plan(one, claims[:2]))] == [1]
    assert plan(one, claims).outdated == 2
    assert [slot for slot, *_ in ended(plan(replace(one, rollout=Rollout.PARALLEL), claims))] == [2, 1]


def test_a_change_of_a_stateful_set_begins_with_the_highest_slot():
    claims = [serving(slot, OLD) for slot in range(3)]
    assert [slot for slot, *_ in ended(plan(ordered(replicas=3), claims))] == [2]
    assert ended(plan(ordered(replicas=3), [*claims[:2], claim(2)])) == [], "until its successor is ready"
    assert [slot for slot, *_ in ended(plan(ordered(replicas=3), [*claims[:2], serving(2)]))] == [1]


def test_recreate_ends_all_at_once_and_begins_when_all_have_ended():
    both = declared(replicas=2, max_surge=0, max_unavailable=2, rollout=Rollout.RECREATE)
    assert [slot for slot, *_ in ended(plan(both, [serving(0, OLD), serving(1, OLD)]))] == [0, 1]
    assert plan(both, [claim(1, OLD, stopping=True)]).place == ()
    assert plan(both, []).place == (0, 1)


def leaving(slot, revision=NEW, machine="a", **state):
    return replace(serving(slot, revision, machine=machine), leaving=True, **state)


def test_what_leaves_its_machine_serves_until_another_one_is_available():
    claims = [leaving(0), leaving(1), serving(2, machine="b")]
    assert plan(declared(replicas=3, max_surge=1), claims).place == (0,)
    assert not plan(declared(replicas=3, max_surge=1), claims).end
    starting = [*claims, claim(0, attempt=1, machine="b")]
    planned = plan(declared(replicas=3, max_surge=1), starting)
    assert (planned.place, planned.end, planned.probe) == ((), (), ())
    there = [*claims, serving(0, attempt=1, machine="b")]
    assert ended(plan(declared(replicas=3, max_surge=1), there)) == [(0, NEW, "a", "b")]


def test_without_surge_it_ends_first_but_only_where_there_is_room_for_it():
    claims = [leaving(slot) for slot in range(3)]
    rolling = declared(replicas=3, max_surge=0, max_unavailable=1)
    assert (plan(rolling, claims).probe, plan(rolling, claims).end) == ((0, 1, 2), ())
    roomy = plan(rolling, claims, roomy=[1, 2])
    assert ended(roomy) == [(1, NEW, "a", None)], "one may be missed, and there is room for it"
    assert roomy.probe == (0,)


def test_where_nobody_has_room_beyond_the_declared_maxunavailable_is_used_for_what_leaves_too_but_not_blindly():
    claims = [leaving(0), serving(1, machine="b")]
    both = declared(replicas=2, max_surge=1, max_unavailable=1)
    assert plan(both, claims, cramped=True).probe == (0,)
    assert not plan(both, claims, cramped=True).end
    assert ended(plan(both, claims, cramped=True, roomy=[0])) == [(0, NEW, "a", None)]


def test_a_rollout_that_stopped_keeps_no_replica_of_its_own_revision_from_leaving():
    claims = [leaving(0), leaving(1, OLD)]
    assert plan(declared(replicas=2, max_surge=2), claims, halted=True).place == (0,)
    assert plan(declared(replicas=2, max_surge=2), claims).place == (0, 1)


def test_what_is_broken_anyway_leaves_as_soon_as_another_one_has_its_slot():
    broken = claim(0, broken=True, leaving=True)
    assert not plan(declared(replicas=1), [broken]).end
    assert ended(plan(declared(replicas=1), [broken, claim(0, attempt=1, machine="b")])) == [(0, NEW, "a", None)]
