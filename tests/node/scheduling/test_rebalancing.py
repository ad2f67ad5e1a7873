import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Expression, PodTerm, Requirements
from beemesh_node.scheduling.neighbours import Neighbour
from beemesh_node.scheduling.rebalancing import Replica, rebalance

from .support import member


def replicas(workload, places, cpu=500, **fields):
    needed = Requirements(cpu, 0, **fields)
    labels = {"app": workload}
    return [
        Replica(f"{workload}-{n}", workload, MachineId(place), needed, Neighbour("default", labels, needed.pod_terms))
        for n, place in enumerate(places)
    ]


def machines(*names, **fields):
    return [member(name, **fields) for name in names]


def reserved(members, found):
    """The same machines with what their replicas have reserved."""
    used = Counter()
    for each in found:
        used[each.machine] += each.needed.cpu_millis
    return [replace(each, cpu_reserved=used[each.machine]) for each in members]


def after(found, moves):
    places = {each.key: each.machine for each in found}
    places.update({move.replica.key: move.target for move in moves})
    return Counter(places.values())


def test_what_crowds_one_machine_goes_to_the_empty_ones():
    found = replicas("web", "aaaaaa")
    members = reserved(machines("a", "b", "c"), found)
    moves = rebalance(members, found)
    assert after(found, moves) == {"a": 2, "b": 2, "c": 2}


def test_what_is_balanced_stays():
    found = [*replicas("web", "abc"), *replicas("db", "a")]
    assert rebalance(reserved(machines("a", "b", "c"), found), found) == ()


def test_different_workloads_on_one_machine_are_parted_by_load():
    found = [each for name in "vwxy" for each in replicas(name, "a")]
    moves = rebalance(reserved(machines("a", "b"), found), found)
    assert after(found, moves) == {"a": 2, "b": 2}


def test_spread_of_a_workload_is_never_made_worse():
    found = [*replicas("web", "ab", cpu=1500), *replicas("fat", "a", cpu=100)]
    for move in rebalance(reserved(machines("a", "b"), found), found):
        assert move.replica.workload != "web"


@pytest.mark.parametrize(
    "fields", [{"unschedulable": True}, {"ready": False}, {"cpu_allocatable": 400}, {"cpu_reserved": 3900}]
)
def test_a_machine_that_could_not_take_it_is_no_target(fields):
    found = replicas("web", "aaaa")
    crowded = replace(member("a"), cpu_reserved=2000)
    assert rebalance([crowded, member("b", **fields)], found) == ()


def test_ports_and_neighbours_count():
    found = replicas("web", "aa", cpu=1000, host_ports=(80,))
    assert rebalance([member("a"), member("b", host_ports=(80,))], found) == ()
    apart = PodTerm((Expression("app", "In", ("db",)),), (), "kubernetes.io/hostname", anti=True)
    found = [*replicas("web", "aaa", cpu=1000, pod_terms=(apart,)), *replicas("db", "b", cpu=1)]
    assert all(move.replica.workload != "web" for move in rebalance(reserved(machines("a", "b"), found), found))


def test_only_what_may_be_moved_is_and_the_rest_counts():
    found = [replace(each, movable=each.workload == "web") for each in replicas("web", "aa") + replicas("db", "aaaa")]
    moves = rebalance(reserved(machines("a", "b"), found), found)
    assert {move.replica.workload for move in moves} == {"web"}
    assert after(found, moves)["b"] == 1


places = st.lists(st.tuples(st.sampled_from("vwx"), st.sampled_from("abc"), st.integers(1, 1500)), max_size=9)


@given(places, st.randoms(use_true_random=False))
def test_it_fits_ends_and_does_not_depend_on_the_order(found, shuffler: random.Random):
    all_replicas = [
        replace(replicas(workload, place, cpu=cpu)[0], key=str(n)) for n, (workload, place, cpu) in enumerate(found)
    ]
    members = reserved(machines("a", "b", "c"), all_replicas)
    moves = rebalance(members, all_replicas)
    assert len({move.replica.key for move in moves}) == len(moves)
    coming = Counter()
    for move in moves:
        coming[move.target] += move.replica.needed.cpu_millis
    for each in members:
        assert coming[each.machine] == 0 or each.cpu_reserved + coming[each.machine] <= each.cpu_allocatable
    shuffled = list(all_replicas)
    shuffler.shuffle(shuffled)
    assert rebalance(reversed(members), shuffled) == moves
