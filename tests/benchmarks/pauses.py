"""Daemons that are stopped for a second at random moments, on a busy computer: none may be held dead.

python -m tests.benchmarks.pauses [--machines 5] [--minutes 200] [--busy 8] [--seed 1]

A daemon is stopped (SIGSTOP) for one second, then left alone for at least one second; on average each is stopped every
five. `--busy` processes that only compute run beside them: four for each processor are four times its load. Needs root.

Where this computer is a virtual one, its host may keep the processors for itself, which stops all daemons at once and
for as long as it likes: minutes are told apart by how much of the processors was stolen in them.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.node.integration.dying import deaths, time_ns
from tests.node.integration.machine import BEEMESHD, Machine
from tests.node.integration.mesh import Mesh
from tests.node.integration.segment import Segment

_MOST = 60
_PAUSE, _REST = 1.0, 1.0
_MEAN_REST = 4.0


_WINDOW = 10.0
"""Seconds for which it is measured how much of the processors was stolen."""
_STOLEN = (0.05, 0.25, 1.01)
"""Shares up to which windows are told apart."""


def _stolen() -> float:
    """Seconds of all processors that the host has kept since the start ("steal" in proc(5))."""
    return int(Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")


@dataclass
class Theft:
    """How much of the processors the host kept, window by window."""

    windows: list[tuple[int, float]] = field(default_factory=list)
    """When each ended, in ns since the epoch, and the share that was stolen in it."""
    _began: float = field(default_factory=time.monotonic)
    _before: float = field(default_factory=_stolen)

    def look(self) -> None:
        """End the window if it is time to."""
        now = time.monotonic()
        if now >= self._began + _WINDOW:
            stolen, before = _stolen(), self._before
            share = (stolen - before) / (now - self._began) / len(os.sched_getaffinity(0))
            self.windows.append((time_ns(), share))
            self._began, self._before = now, stolen

    def worst(self, at_ns: int) -> float:
        """Return the greater share of the window of a moment and the one before it, which may have caused it."""
        later = next((n for n, (end, _) in enumerate(self.windows) if end >= at_ns), len(self.windows) - 1)
        return max((share for _, share in self.windows[max(later - 1, 0) : later + 1]), default=0.0)


@dataclass
class Victim:
    """A machine, and when it is stopped or goes on next."""

    machine: Machine
    due: float
    stopped: bool = False
    pauses: int = field(default=0)


def torment(machines: list[Machine], minutes: float, draw: Random, theft: Theft) -> int:
    """Stop daemons and let them go on, for so many minutes; return how often."""
    os.nice(-15)  # who is late here makes longer pauses than it should
    end = time.monotonic() + minutes * 60
    victims = [Victim(machine, time.monotonic() + draw.uniform(0, _MEAN_REST)) for machine in machines]
    while time.monotonic() < end:
        victim = min(victims, key=lambda each: each.due)
        time.sleep(max(0.0, victim.due - time.monotonic()))
        theft.look()
        victim.stopped = not victim.stopped
        os.kill(victim.machine.pid, signal.SIGSTOP if victim.stopped else signal.SIGCONT)
        victim.pauses += victim.stopped
        rest = _REST + draw.expovariate(1 / (_MEAN_REST - _REST))
        victim.due = time.monotonic() + (_PAUSE if victim.stopped else rest)
    for victim in victims:
        os.kill(victim.machine.pid, signal.SIGCONT)
    return sum(victim.pauses for victim in victims)


def _hears_all(others: int, status: dict[str, Any]) -> bool:
    """Whether a machine knows so many others, and hears each of those that it is to watch."""
    detection = status["detection"]
    return len(status["members"]) == others and detection["heard"] == detection["watched"]


def measure(count: int, minutes: float, busy: int, seed: int, niceness: int) -> None:
    """Print what was suspected, and who was held dead."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bmp-")))
        mesh = stack.enter_context(Mesh(directory, stack.enter_context(Segment()), "pauses"))
        program = ("nice", "-n", str(niceness), *BEEMESHD)
        machines = [mesh.add(name, program=program, podman=False) for name in (f"m{number}" for number in range(count))]
        for machine in machines:
            machine.configure(bootstrap=[other.multiaddr for other in machines if other is not machine])
            machine.start()
        for machine in machines:
            machine.until(partial(_hears_all, count - 1), "hears all that it watches", 600.0)
        for _ in range(busy):
            burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(burner.kill)
        time.sleep(3.0)
        began, loads = time_ns(), [os.getloadavg()[0]]
        theft = Theft()
        pauses = torment(machines, minutes, Random(seed), theft)
        loads.append(os.getloadavg()[0])
        time.sleep(3.0)
        held = [(each, line) for each in machines for line in deaths(each, began)]
        for each, line in sorted(held, key=lambda one: one[1].at_ns):
            print(f"{(line.at_ns - began) / 1e9:8.3f} s: {each.name} holds {line.facts}", file=sys.stderr)
        dead = {(line.facts["machine"], line.at_ns // 10**10): theft.worst(line.at_ns) for _, line in held}
        counted = [status["detection"] for machine in machines if (status := machine.status()) is not None]
    suspicions = sum(each.get("suspicions", 0) for each in counted)
    print(
        f"{count} machines, {count * minutes:.0f} machine-minutes, load {loads[0]:.1f} to {loads[-1]:.1f}, seed {seed}:"
    )
    print(f"{pauses} pauses of {_PAUSE:g} s, {suspicions} suspicions, {len(dead)} machines held dead")
    least = 0.0
    for most in _STOLEN:
        windows = sum(least <= theft.worst(end) < most for end, _ in theft.windows)
        wrongly = sum(least <= share < most for share in dead.values())
        spent = windows * count * _WINDOW / 60
        print(f"  {least:4.0%} to {most:4.0%} stolen: {spent:6.0f} machine-minutes, {wrongly} held dead")
        least = most


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description="Pauses of a second must not evict anybody.")
    parser.add_argument("--machines", type=int, default=5, choices=range(2, _MOST + 1), metavar="N")
    parser.add_argument("--minutes", type=float, default=200.0)
    parser.add_argument("--busy", type=int, default=4 * len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nice", type=int, default=-10, help="of the daemons, as their unit has it")
    chosen = parser.parse_args()
    measure(chosen.machines, chosen.minutes, chosen.busy, chosen.seed, chosen.nice)


if __name__ == "__main__":
    main()
