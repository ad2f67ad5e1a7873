"""A machine dies: what ran on it runs elsewhere at once, and a machine that does not die is left alone."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.node.integration.dying import WAYS, dead, deaths, started_ns, time_ns
from tests.node.integration.grove import Grove, machines_of, roaming
from tests.node.integration.machine import Machine
from tests.node.integration.waiting import until

_BOUND = 10.0
"""Seconds: this computer does much else meanwhile. What an idle one reaches, tests/benchmarks/heal.py measures."""


@pytest.mark.parametrize("way", WAYS)
def test_what_ran_on_a_dead_machine_runs_elsewhere(grove: Grove, way: str) -> None:
    admin, name = grove.admin.enter_by(*grove.machines), f"orphan-{way.replace(' ', '-')}"
    grove.watch()
    admin.apply(roaming(name))
    placed = machines_of(grove.pods(admin, "-l", f"app={name}"))
    (victim,) = (machine for machine in grove.machines if machine.name in placed)
    others = [machine for machine in grove.machines if machine is not victim]

    with dead(victim, way, grove.segment) as moment:
        until(lambda: _started(others, moment, name), f"{name} runs elsewhere", _BOUND)
        for other in others:
            assert [line.facts["machine"] for line in deaths(other, moment)] == [victim.id]

    grove.settle()
    grove.watch()
    until(lambda: len(grove.running(name)) == 1, f"one {name} is left")
    admin.delete(f"deployment/{name}")


def test_a_daemon_that_restarts_is_not_dead(grove: Grove) -> None:
    admin = grove.admin.enter_by(*grove.machines)
    grove.watch()
    admin.apply(roaming("steady", 2))
    before, moment = grove.containers(), time_ns()
    for machine in grove.machines:
        machine.restart(signal.SIGTERM)
        grove.settle()
        grove.watch()
    assert grove.containers() == before
    assert [line for machine in grove.machines for line in deaths(machine, moment)] == []
    admin.delete("deployment/steady")


def test_pauses_of_a_second_evict_nobody(grove: Grove) -> None:
    grove.watch()
    moment = time_ns()
    for machine in (*grove.machines, *grove.machines):
        os.kill(machine.pid, signal.SIGSTOP)
        time.sleep(1.0)  # what is tested is a pause of this length
        os.kill(machine.pid, signal.SIGCONT)
    grove.watch()
    assert [line for machine in grove.machines for line in deaths(machine, moment)] == []


def test_a_frozen_machine_that_comes_back_counts_again(grove: Grove) -> None:
    """It was held dead and is not: it says so, and everyone believes it."""
    grove.watch()
    oak, elm, fir = grove.oak, grove.elm, grove.fir
    with dead(oak, "stopped", grove.segment):
        for other in (elm, fir):
            other.until(lambda status: "oak" not in status["members"], "holds oak dead")
    for other in (elm, fir):
        other.until(lambda status: "oak" in status["members"], "oak is back")
    grove.watch()


def _started(machines: list[Machine], moment: int, name: str) -> int | None:
    return next((at for machine in machines if (at := started_ns(machine, moment, name)) is not None), None)
