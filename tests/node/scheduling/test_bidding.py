from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Expression, NoReason, PodTerm, SlotAttempt, Taint, Task, Term
from beemesh_node.scheduling.distribution import DomainRule, Offer, distribute, domain_rules
from beemesh_node.scheduling.evaluation import Host, evaluate, reasons, score
from beemesh_node.scheduling.ledger import Free
from beemesh_node.scheduling.neighbours import Neighbour
from beemesh_node.scheduling.sampling import Candidates, sample_size

from .support import GIB, member, needs

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
WEB = {"app": "web"}
IS_WEB = (Expression("app", "In", ("web",)),)


def host(free=None, images=(), present=(), **fields):
    machine = member(**fields)
    room = free if free is not None else Free(machine.cpu_allocatable, machine.memory_allocatable, 110, frozenset())
    return Host(machine, room, frozenset(images), tuple(present))


def task(count=1, needed=None, labels=None):
    return Task(b"t", "u", 1, count, needed if needed is not None else needs(), "default", labels or {})


def test_a_bid_says_how_many_fit_and_why_not_more():
    bid = evaluate(task(20), host(), running=0)
    assert bid.slots == 8
    assert [(r.reason, r.detail) for r in bid.refusals] == [(NoReason.MEMORY, "needs 1Gi memory, 0 free")]
    assert not evaluate(task(3), host(), running=0).refusals


def test_what_will_never_fit_is_told_once():
    bid = evaluate(task(needed=needs(memory=16 * GIB)), host(), 0)
    assert (bid.slots, [r.reason for r in bid.refusals]) == (0, [NoReason.MEMORY])


def test_a_host_port_allows_one_replica():
    bid = evaluate(task(3, needs(host_ports=(80,))), host(), 0)
    assert (bid.slots, [r.reason for r in bid.refusals]) == (1, [NoReason.HOST_PORT])


def better(one, other, **fields):
    assert score(one, needs(**fields), "default") > score(other, needs(**fields), "default")


def test_the_least_allocated_machine_bids_higher():
    better(host(), host(free=Free(2000, 4 * GIB, 100, frozenset())))


def test_a_machine_that_has_the_image_bids_higher():
    better(host(images=("web:1",)), host(), images=("web:1",))


def test_a_machine_that_is_preferred_bids_higher():
    terms = (Term((Expression("disk", "Exists"),), 10), Term((Expression("x", "Exists"),), 1))
    better(host(labels={"disk": "ssd"}), host(labels={"x": ""}), preferred_terms=terms)


def test_a_disliked_machine_bids_lower_and_still_bids():
    disliked = host(taints=(Taint("slow", "", "PreferNoSchedule"),))
    better(host(), disliked)
    assert evaluate(task(), disliked, 0).slots == 1


@given(st.integers(-9000, 9000), st.integers(-(9 * GIB), 9 * GIB), st.integers(0, 3), st.integers(0, 9))
def test_scores_stay_between_0_and_1000(cpu, memory, taints, images):
    busy = host(
        free=Free(cpu, memory, 1, frozenset()),
        taints=tuple(Taint(str(n), "", "PreferNoSchedule") for n in range(taints)),
    )
    assert 0 <= score(busy, needs(images=tuple(map(str, range(images)))), "default") <= 1000


def test_replicas_that_avoid_each_other_stand_alone():
    apart = needs(pod_terms=(PodTerm(IS_WEB, (), HOST, anti=True),))
    bid = evaluate(task(3, apart, WEB), host(), 0)
    assert (bid.slots, [r.reason for r in bid.refusals]) == (1, [NoReason.POD_ANTI_AFFINITY])
    taken = host(present=(Neighbour("default", WEB),))
    assert evaluate(task(3, apart, WEB), taken, 1).slots == 0
    elsewhere = host(present=(Neighbour("other", WEB),))
    assert evaluate(task(3, apart, WEB), elsewhere, 0).slots == 1, "a pod of another namespace is not meant"


def test_a_pod_that_avoids_others_keeps_them_away_too():
    hermit = Neighbour("default", {}, (PodTerm(IS_WEB, (), HOST, anti=True),))
    found = reasons(host(present=(hermit,)), needs(), "default", WEB)
    assert [r.reason for r in found] == [NoReason.POD_ANTI_AFFINITY]


def test_a_pod_goes_where_the_pods_are_that_it_wants():
    beside = needs(pod_terms=(PodTerm((Expression("app", "In", ("db",)),), (), HOST, anti=False),))
    assert [r.reason for r in evaluate(task(1, beside, WEB), host(), 0).refusals] == [NoReason.POD_AFFINITY]
    assert evaluate(task(1, beside, WEB), host(present=(Neighbour("default", {"app": "db"}),)), 0).slots == 1


def offer(name, slots=10, score=800, running=0, **labels):
    return Offer(MachineId(name), slots, score, running, {HOST: name, **labels})


def slots(count):
    return [SlotAttempt(number, 0) for number in range(count)]


def share(count, offers, **options):
    return {machine: len(given) for machine, given in distribute(slots(count), offers, **options).items()}


def test_slots_are_spread_over_machines():
    assert share(6, [offer("a"), offer("b"), offer("c")]) == {"a": 2, "b": 2, "c": 2}


def test_a_machine_that_runs_some_already_gets_fewer():
    assert share(3, [offer("a", running=2), offer("b"), offer("c")]) != {"a": 1, "b": 1, "c": 1}
    assert "a" not in share(2, [offer("a", running=2), offer("b"), offer("c")])


def test_slots_are_spread_over_zones():
    offers = [offer("a1", **{ZONE: "a"}), offer("a2", **{ZONE: "a"}), offer("b1", **{ZONE: "b"})]
    assert "b1" in share(2, offers)
    assert share(1, offers, present=[{ZONE: "a"}]) == {"b1": 1}


def test_a_much_better_machine_wins_over_spreading():
    assert share(2, [offer("big", score=1000, slots=100), offer("tiny", score=500)]) == {"big": 2}


def test_what_nobody_can_take_is_left():
    assert share(10, [offer("a", slots=3), offer("b", slots=0)]) == {"a": 3}


def test_replicas_that_avoid_each_others_zone_get_one_each():
    rules = domain_rules((PodTerm(IS_WEB, (), ZONE, anti=True),), "default", WEB)
    assert rules == (DomainRule(ZONE, True),)
    offers = [offer("a1", **{ZONE: "a"}), offer("a2", **{ZONE: "a"}), offer("b1", **{ZONE: "b"})]
    given = share(3, offers, rules=rules)
    assert sum(given.values()) == 2
    assert given["b1"] == 1
    assert share(3, offers, rules=rules, present=[{ZONE: "b"}]).keys() <= {"a1", "a2"}


def test_replicas_that_want_one_zone_get_the_one_with_room():
    rules = (DomainRule(ZONE, False),)
    offers = [offer("a", slots=1, score=1000, **{ZONE: "a"}), offer("b", slots=5, **{ZONE: "b"}), offer("none")]
    assert share(4, offers, rules=rules) == {"b": 4}
    assert share(1, offers, rules=rules, present=[{ZONE: "a"}]) == {"a": 1}


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1000), st.integers(0, 3), st.sampled_from("xyz")), max_size=8),
    st.integers(0, 20),
    st.sampled_from([(), (DomainRule(ZONE, True),), (DomainRule(ZONE, False),)]),
    st.randoms(use_true_random=False),
)
def test_a_distribution_is_deterministic_and_within_what_was_offered(made, count, rules, random):
    offers = [offer(str(n), s, points, running, **{ZONE: z}) for n, (s, points, running, z) in enumerate(made)]
    result = distribute(slots(count), offers, rules=rules, salt=b"s")
    shuffled = list(offers)
    random.shuffle(shuffled)
    assert distribute(slots(count), shuffled, rules=rules, salt=b"s") == result
    by_machine = {o.machine: o for o in offers}
    given_slots = [slot.slot for given in result.values() for slot in given]
    assert len(given_slots) == len(set(given_slots))
    assert all(len(given) <= by_machine[machine].slots for machine, given in result.items())
    zones = Counter(by_machine[machine].labels[ZONE] for machine, given in result.items() for _ in given)
    match rules:
        case ():
            assert len(given_slots) == min(count, sum(o.slots for o in offers))
        case (DomainRule(anti=True),):
            assert all(number == 1 for number in zones.values())
        case _:
            assert len(zones) <= 1


@pytest.mark.parametrize(("replicas", "size"), [(1, 8), (2, 8), (3, 9), (50, 150)])
def test_the_sample_is_flat(replicas, size):
    assert sample_size(replicas) == size


def test_those_with_room_are_asked_first_and_those_who_never_can_not_at_all():
    full = [member(f"full-{n}", memory_reserved=8 * GIB) for n in range(5)]
    roomy = [member(f"roomy-{n}") for n in range(5)]
    never = [member("never", memory_allocatable=1)]
    found = Candidates([*full, *roomy, *never], needs(), b"task")
    order = found.take(4) + found.take(4) + found.take(4)
    assert {machine.split("-")[0] for machine in order[:5]} == {"roomy"}
    assert len(set(order)) == len(order) == 10
    assert not found
    assert [r.reason for r in found.refused[MachineId("never")]] == [NoReason.MEMORY]
    assert order != Candidates([*full, *roomy], needs(), b"other task").take(10)


def test_of_many_members_only_as_many_are_looked_at_as_are_asked():
    looked = []

    class Watched(dict):
        def get(self, *key):
            looked.append(key)
            return super().get(*key)

    many = [member(f"m-{n}", labels=Watched(disk="ssd")) for n in range(1000)]
    found = Candidates(many, needs(node_selector={"disk": "ssd"}), b"task")
    assert len(found.take(9)) == len(looked) == 9


def test_a_machine_without_an_image_that_is_never_pulled_says_so():
    needed = needs(images=("localhost/hello:1",), local_images=("localhost/hello:1",))
    bid = evaluate(task(needed=needed), host(images=["localhost/other:1"]), 0)
    assert bid.slots == 0
    assert [refusal.reason for refusal in bid.refusals] == [NoReason.IMAGE]
    assert "localhost/hello:1" in bid.refusals[0].detail
    assert evaluate(task(needed=needed), host(images=["localhost/hello:1"]), 0).slots == 1
