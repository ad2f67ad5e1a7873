"""From the death of a machine to its workload running elsewhere, and from its return to running once.

python -m tests.benchmarks.heal [--rounds 20] [--machines 3] [--ways killed "cut off" stopped] [--leased]

Needs root, Podman and busybox, as the integration tests do. The mesh is real: each machine is a network namespace with
a Podman and a `beemeshd`, all on this computer. Also measures what the daemons of a quiet mesh take of a processor.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.node.integration.dying import WAYS, containers, dead, deaths, logged, started_ns, time_ns
from tests.node.integration.machine import BEEMESHD, Machine
from tests.node.integration.manifests import deployment
from tests.node.integration.mesh import Mesh
from tests.node.integration.segment import Segment
from tests.node.integration.waiting import until

_NAMES = ("ash", "yew", "box", "bay", "asp", "elder", "rowan")
_WITHIN = 60.0
_QUIET = 30.0
"""Seconds over which a quiet mesh is measured."""
_TICKS = os.sysconf("SC_CLK_TCK")
_WORKLOAD = "healed"


@dataclass(frozen=True)
class Round:
    """Seconds from the death on, by the clock that all share."""

    detected: float
    """The first of the others holds the machine dead, two watchers having said so."""
    assigned: float
    """Another machine was given the replica, and has written so."""
    running: float
    """Podman started its program there."""
    once: float
    """Seconds from the return of the machine until Podman knows of one replica only; looked at every 0.1 s or so."""


class Bench:
    """A mesh with one workload of one replica."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh

    def settle(self) -> None:
        """Wait until everyone hears everyone and one replica runs."""
        machines = self.mesh.machines
        for machine in machines:
            machine.until(
                lambda status: status["detection"]["heard"] == status["detection"]["watched"] == len(machines) - 1,
                "hears all others",
                _WITHIN,
            )
        self.mesh.settle()
        until(lambda: len(self._running()) == 1, "one replica runs", _WITHIN)

    def round(self, way: str) -> Round:
        """One death; afterwards the machine is back."""
        self.settle()
        time.sleep(2.0)  # what the last round left to do is no business of this one
        (victim,) = self._running()
        others = [machine for machine in self.mesh.machines if machine is not victim]
        with dead(victim, way, self.mesh.segment) as moment:
            running = until(lambda: _first(started_ns(each, moment, _WORKLOAD) for each in others), "it heals", _WITHIN)
            lines = [line for each in others for line in logged(each, moment)]
            detected = min(line.at_ns for each in others for line in deaths(each, moment))
            assigned = min(line.at_ns for line in lines if line.event == "pod begins")
        back = time_ns()
        until(lambda: len(self._running()) == 1, "one replica is left", _WITHIN)
        once = (time_ns() - back) / 1e9
        return Round(*((at - moment) / 1e9 for at in (detected, assigned, running)), once)

    def quiet(self) -> list[float]:
        """Share of a processor that each daemon takes while nothing happens, in percent."""
        self.settle()
        time.sleep(10.0)
        before, began = [_processor_time(machine) for machine in self.mesh.machines], time.monotonic()
        time.sleep(_QUIET)
        passed = time.monotonic() - began
        return [
            (_processor_time(machine) - spent) / passed * 100
            for machine, spent in zip(self.mesh.machines, before, strict=True)
        ]

    def _running(self) -> list[Machine]:
        return [machine for machine in self.mesh.machines for _ in containers(machine, _WORKLOAD)]


def _first(moments: Iterator[int | None]) -> int | None:
    return min((at for at in moments if at is not None), default=None)


def _processor_time(machine: Machine) -> float:
    words = Path(f"/proc/{machine.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICKS


@contextmanager
def bench(count: int, niceness: int, *, leased: bool) -> Iterator[Bench]:
    """A mesh of `count` machines that know each other. A `leased` replica never runs twice."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bmh-")))
        mesh = stack.enter_context(Mesh(directory, stack.enter_context(Segment()), "heal"))
        program = ("nice", "-n", str(niceness), *BEEMESHD)
        machines = [mesh.add(name, program=program) for name in _NAMES[:count]]
        for machine in machines:
            machine.configure(bootstrap=[other.multiaddr for other in machines if other is not machine])
            machine.start_podman()
            machine.start()
        mesh.settle()
        operator = mesh.admin.enter_by(*machines)
        operator.apply(_everywhere("first", count))  # networks and caches of the first time are nobody's business here
        operator.delete("deployment/first")
        manifest = deployment(_WORKLOAD)
        if leased:
            manifest["spec"]["strategy"] = {"type": "Recreate"}
        operator.apply(manifest)
        yield Bench(mesh)


def _everywhere(name: str, count: int) -> dict[str, Any]:
    """A replica on each of so many machines."""
    manifest = deployment(name, count)
    apart = {"labelSelector": {"matchLabels": {"app": name}}, "topologyKey": "kubernetes.io/hostname"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}}
    manifest["spec"]["template"]["spec"]["affinity"] = affinity
    return manifest


def table(results: dict[str, list[Round]]) -> str:
    """Markdown: median / worst in milliseconds."""
    lines = [
        "| the machine is | rounds | detected | assigned | running | once again |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    phases: Sequence[Callable[[Round], float]] = (
        lambda each: each.detected,
        lambda each: each.assigned,
        lambda each: each.running,
        lambda each: each.once,
    )
    for way, rounds in results.items():
        cells = []
        for phase in phases:
            values = [phase(each) * 1000 for each in rounds]
            cells.append(f"{statistics.median(values):.0f} / {max(values):.0f}")
        lines.append("| " + " | ".join((way, str(len(rounds)), *cells)) + " |")
    return "\n".join(lines)


def measure(ways: Sequence[str], rounds: int, count: int, niceness: int, *, leased: bool) -> None:
    """Print each round as it ends, then the table."""
    results: dict[str, list[Round]] = {}
    loads = [os.getloadavg()[0]]
    quiet: list[float] = []
    try:
        with bench(count, niceness, leased=leased) as running:
            quiet = running.quiet()
            for _ in range(rounds):
                for way in ways:
                    measured = running.round(way)
                    results.setdefault(way, []).append(measured)
                    loads.append(os.getloadavg()[0])
                    print(f"{way}: {measured}, load {loads[-1]:.1f}", file=sys.stderr, flush=True)
    finally:
        cores = len(os.sched_getaffinity(0))
        load = f"load {min(loads):.1f} to {max(loads):.1f}"
        print(f"{count} machines on {cores} processors, daemons at nice {niceness}, {load}")
        print(f"Quiet: {', '.join(f'{share:.1f} %' for share in quiet)} of a processor for each daemon.\n")
        print(table(results), flush=True)


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description="Time from a machine's death to its workload running elsewhere.")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--machines", type=int, default=3, choices=range(2, len(_NAMES) + 1))
    parser.add_argument("--nice", type=int, default=-10, help="of the daemons, as their unit has it")
    parser.add_argument("--leased", action="store_true", help="a replica that may never run twice")
    chosen = parser.parse_args()
    measure(chosen.ways, chosen.rounds, chosen.machines, chosen.nice, leased=chosen.leased)


if __name__ == "__main__":
    main()
