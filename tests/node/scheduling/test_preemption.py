from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.protocol.messages import Requirements, Task
from beemesh_node.scheduling.evaluation import Host, evaluate
from beemesh_node.scheduling.ledger import Free
from beemesh_node.scheduling.preemption import Occupant, victims

from .support import GIB, member

NONE = frozenset()


def pod(key, cpu, priority=0, memory=0, ports=()):
    return Occupant(key, Requirements(cpu, memory, host_ports=ports, priority=priority))


def full_host():
    return Host(member("m"), Free(0, GIB, 5, NONE), NONE, ())


def keys(found):
    return [each.key for each in found]


@pytest.mark.parametrize(
    ("needed", "pods", "chosen"),
    [
        (Requirements(500, 0, priority=10), [pod("a", 300), pod("b", 600)], ["b"]),
        (Requirements(500, 0, priority=10), [pod("a", 300), pod("b", 300)], ["a", "b"]),
        (Requirements(500, 0, priority=10), [pod("a", 600, 5), pod("b", 600, 1)], ["b"]),
        (Requirements(500, 0, priority=10), [pod("a", 250, 1), pod("b", 250, 1), pod("c", 500, 9)], ["c"]),
        (Requirements(500, 0, priority=10), [pod("a", 600, 10), pod("b", 600, 11)], []),
        (Requirements(700, 0, priority=10), [pod("a", 600, 9)], []),
        (Requirements(0, 0, (80,), priority=1), [pod("a", 0, ports=(80,)), pod("b", 0)], ["a"]),
        (Requirements(900, 0, priority=9), [pod(k, 300, n) for n, k in enumerate("abcd")], ["a", "b", "c"]),
    ],
)
def test_the_fewest_go_and_of_these_the_least(needed, pods, chosen):
    taken = frozenset(port for each in pods for port in each.needed.host_ports)
    assert keys(victims(Free(0, 0, 0, taken), needed, pods)) == chosen


amounts = st.integers(0, 8)
occupants = st.lists(st.tuples(amounts, amounts, st.integers(-2, 4)), max_size=7).map(
    lambda found: [pod(f"p{n}", cpu, priority, memory) for n, (cpu, memory, priority) in enumerate(found)]
)


@given(occupants, amounts, amounts, st.integers(0, 3))
def test_who_goes_makes_room_and_is_of_lower_priority_and_nobody_goes_in_vain(found, cpu, memory, priority):
    needed = Requirements(cpu, memory, priority=priority)
    gone = victims(Free(0, 0, 0, NONE), needed, found)
    assert all(each.priority < priority for each in gone)
    if gone:
        assert sum(each.needed.cpu_millis for each in gone) >= cpu
        assert sum(each.needed.memory_bytes for each in gone) >= memory
        for spared in gone:
            rest = [each for each in gone if each is not spared]
            less_cpu = sum(each.needed.cpu_millis for each in rest) < cpu
            assert less_cpu or sum(each.needed.memory_bytes for each in rest) < memory or not rest
    assert gone == victims(Free(0, 0, 0, NONE), needed, list(reversed(found)))


def test_a_bid_says_at_whose_cost_only_if_there_is_no_other_way_and_nothing_else_is_wrong():
    small = replace(full_host(), occupants=(pod("a", 500), pod("b", 700, 3)))
    task = Task(b"t", "u", 1, 2, Requirements(600, 0, priority=5))
    bid = evaluate(task, small, 0)
    assert (bid.slots, bid.victims, bid.victim_priority) == (0, 1, 3)
    assert bid.refusals

    equal = evaluate(replace(task, requirements=Requirements(600, 0, priority=3)), small, 0)
    assert (equal.slots, equal.victims) == (0, 0)
    elsewhere = Requirements(600, 0, priority=5, node_selector={"disk": "fast"})
    assert evaluate(replace(task, requirements=elsewhere), small, 0).victims == 0
    cordoned = replace(small, member=replace(small.member, unschedulable=True))
    assert evaluate(task, cordoned, 0).victims == 0
    roomy = replace(small, free=Free(600, GIB, 5, NONE))
    assert (evaluate(task, roomy, 0).slots, evaluate(task, roomy, 0).victims) == (1, 0)


def test_what_does_not_fit_an_empty_machine_costs_nobody_anything():
    small = replace(full_host(), occupants=(pod("a", 500),))
    huge = Task(b"t", "u", 1, 1, Requirements(member("m").cpu_allocatable + 1, 0, priority=5))
    assert evaluate(huge, small, 0).victims == 0
