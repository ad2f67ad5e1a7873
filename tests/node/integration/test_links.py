"""Links that carry one way only, or now and then: what need not move stays, and nothing runs twice once they hold."""

from __future__ import annotations

import math
import select
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from random import Random

from tests.node.integration.dying import deaths, time_ns
from tests.node.integration.grove import Grove, machines_of, roaming
from tests.node.integration.machine import Machine
from tests.node.integration.waiting import until

_BOUND = 10.0
"""Seconds for what an idle computer does in two, and for the 5 s in which what is too much ends."""
_FLAPS = 24


class Links:
    """The links between the machines of a grove, in either direction; what was cut carries again in the end."""

    def __init__(self, grove: Grove) -> None:
        self._grove = grove
        self._cut: set[tuple[str, str]] = set()

    def toggle(self, source: Machine, target: Machine) -> None:
        """Cut what goes from one machine to another, or let it through again."""
        link = (source.namespace, target.address)
        self._grove.segment.carries(*link, link in self._cut)
        self._cut ^= {link}

    def mend(self) -> None:
        for link in self._cut:
            self._grove.segment.carries(*link, True)
        self._cut.clear()


@contextmanager
def links(grove: Grove) -> Iterator[Links]:
    found = Links(grove)
    try:
        yield found
    finally:
        found.mend()


def test_a_link_that_carries_one_way_is_made_up_for_by_the_others(grove: Grove) -> None:
    admin, moment = grove.admin.enter_by(grove.oak), time_ns()
    grove.watch()
    admin.apply(roaming("before", 3))
    before = grove.containers()
    with links(grove) as way:
        way.toggle(grove.oak, grove.elm)
        grove.elm.until(lambda status: status["detection"]["heard"] == 1, "does not hear oak")
        admin.apply(roaming("meanwhile", 3))
        assert {name: grove.containers()[name] for name in before} == before
        assert [line for machine in grove.machines for line in deaths(machine, moment)] == []
    grove.watch()
    admin.delete("deployment/before", "deployment/meanwhile")


def test_a_machine_that_hears_and_is_not_heard_is_replaced_and_gives_way_when_it_is(grove: Grove) -> None:
    admin = grove.admin.enter_by(*grove.machines)
    grove.watch()
    admin.apply(roaming("mute"))
    (placed,) = machines_of(grove.pods(admin, "-l", "app=mute"))
    mute = next(machine for machine in grove.machines if machine.name == placed)
    others = [machine for machine in grove.machines if machine is not mute]
    with links(grove) as way:
        for other in others:
            way.toggle(mute, other)
        until(lambda: len(grove.running("mute")) == 2, "it runs elsewhere too", _BOUND)
    until(lambda: len(grove.running("mute")) == 1, "one is left", _BOUND)
    grove.watch()
    assert len(grove.pods(admin, "-l", "app=mute")) == len(grove.running("mute")) == 1
    admin.delete("deployment/mute")


def test_links_that_come_and_go_leave_everything_once(grove: Grove) -> None:
    admin, draw = grove.admin.enter_by(*grove.machines), Random(7)
    grove.watch()
    admin.apply(roaming("one"), roaming("three", 3))
    least = {"one": 1, "three": 3}
    with links(grove) as way:
        for _ in range(_FLAPS):
            way.toggle(*draw.sample(grove.machines, 2))
            select.select([], [], [], draw.uniform(0.05, 0.6))
            for name, count in least.items():
                # Machines are looked at one after the other: what moves meanwhile may be seen on none of them.
                until(partial(_serves, grove, name, count), f"{count} of {name} run", 1.0)
    grove.watch()
    for name, count in least.items():
        until(partial(_serves, grove, name, count, most=count), f"{count} of {name} are left", _BOUND)
    admin.delete("deployment/one", "deployment/three")


def _serves(grove: Grove, name: str, least: int, most: float = math.inf) -> bool:
    return least <= len(grove.running(name)) <= most
