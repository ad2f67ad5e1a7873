"""How late a process gets the processor that wakes up beside others which only compute.

python -m tests.benchmarks.lateness [--busy 8] [--seconds 60] [--nice -10] [--weight 1000]

It sleeps to a deadline every 50 ms and then computes for 2 ms, as a daemon does that has a beat to send. Late is by how
much more than these 2 ms it was done after its deadline. `--weight` puts it into a control group of this CPUWeight
beside one of weight 100 that holds the others; 0 leaves all where they are. Needs root for either.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 1.0)
EVERY, WORK = 0.05, 0.002
_USUAL = 100
_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


@contextmanager
def group(name: str, weight: int) -> Iterator[Path]:
    """Make a control group of so much weight, by either version of the kernel's interface; it must be empty after."""
    unified = (_V2 / "cgroup.controllers").exists()
    path = (_V2 if unified else _V1) / name
    if unified:
        (_V2 / "cgroup.subtree_control").write_text("+cpu")
    path.mkdir()
    try:
        (path / ("cpu.weight" if unified else "cpu.shares")).write_text(
            str(weight if unified else weight * 1024 // 100)
        )
        yield path
    finally:
        path.rmdir()


def enter(path: Path, pid: int) -> None:
    """Put a process into a control group."""
    (path / "cgroup.procs").write_text(str(pid))


def compute(seconds: float) -> None:
    """Use so much time of a processor, however long that takes."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def sample(seconds: float) -> list[float]:
    """Return by how many seconds each answer was late, sorted."""
    due = time.monotonic()
    end, late = due + seconds, []
    while due < end:
        due = max(due + EVERY, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
        compute(WORK)
        late.append(max(0.0, time.monotonic() - due - WORK))
    return sorted(late)


def quantiles(late: Sequence[float]) -> list[float]:
    """Return the values at `QUANTILES` of what is sorted."""
    return [late[min(len(late) - 1, int(each * len(late)))] for each in QUANTILES]


def measure(busy: int, seconds: float, niceness: int, weight: int) -> None:
    """Print how late it was."""
    with ExitStack() as stack:
        ours = stack.enter_context(group("late-measured", weight)) if weight else None
        others = stack.enter_context(group("late-others", _USUAL)) if weight else None
        for _ in range(busy):
            burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(burner.wait)
            stack.callback(burner.kill)
            if others is not None:
                enter(others, burner.pid)
        os.nice(niceness)
        if ours is not None:
            home = ours.parent
            enter(ours, os.getpid())
            stack.callback(enter, home, os.getpid())
        time.sleep(2.0)
        late = sample(seconds)
        load = os.getloadavg()[0]
    print(
        f"{busy} busy, {os.cpu_count()} processors, nice {niceness}, weight {weight}: "
        f"{len(late)} times, load at the end {load:.1f}"
    )
    for at, value in zip(QUANTILES, quantiles(late), strict=True):
        print(f"{at:7.2%}  {value * 1000:8.3f} ms")


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description="How late a process gets the processor.")
    parser.add_argument("--busy", type=int, default=4 * len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--nice", type=int, default=-10)
    parser.add_argument("--weight", type=int, default=1000)
    chosen = parser.parse_args()
    measure(chosen.busy, chosen.seconds, chosen.nice, chosen.weight)


if __name__ == "__main__":
    main()
