"""What a mesh costs as it grows: the same work per machine, a few deaths, and what each machine has to send for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from beemesh_node.simulation.run import Scenario, Simulation

SIZES = (100, 300, 1000, 3000, 10_000)
BEATS = 5.0
"""Beats in a second that a machine sends to each of its watchers."""
MACHINES_PER_WORKLOAD = 10
"""Workloads are declared in proportion to the mesh, three replicas of each."""
DEATHS = 6
SETTLE, WATCH = 6.0, 30.0
"""Seconds for placing, and for which is looked on after that."""


@dataclass(frozen=True, slots=True)
class Point:
    """A mesh of one size."""

    machines: int
    bids_per_task: float
    """Machines asked for each round of placing."""
    probes: float
    """Beats that a machine sends in a second, on average."""
    messages: float
    """Other messages that a machine sends in a second, on average, in a calm mesh."""
    presences: float
    """Presences that a machine hears in a second."""
    heal: float
    """Seconds from the death of a machine to as many replicas serving as are declared: the worst."""


def measure(sizes: Iterable[int], seed: int) -> list[Point]:
    """Simulate a mesh of each size."""
    return [_measure(size, seed) for size in sizes]


def _measure(size: int, seed: int) -> Point:
    workloads = max(size // MACHINES_PER_WORKLOAD, 1)
    simulation = Simulation(Scenario(seed, size))
    mesh, census, world = simulation.mesh, simulation.census, simulation.mesh.world
    simulation.operator.declare_alike(workloads, 3)
    world.run(SETTLE)
    asked = sum(machine.asked["Task"] for machine in mesh.machines.values())
    sent = sum(machine.messages for machine in mesh.machines.values())
    world.run(WATCH)
    calm = sum(machine.messages for machine in mesh.machines.values()) - sent
    spoken = mesh.gossip.spoken / world.now
    busy = [machine for machine in mesh.machines.values() if machine.runtime.pods]
    for machine in world.random.sample(busy, min(DEATHS, len(busy))):
        machine.crash()
        world.run(10)
    return Point(
        machines=size,
        bids_per_task=asked / workloads,
        probes=simulation.beats.per_machine()[0] * BEATS,
        messages=calm / size / WATCH,
        presences=spoken,
        heal=max(census.times.healed, default=0.0),
    )


def table(points: Iterable[Point]) -> str:
    """Write the points as a table."""
    head = f"{'machines':>9} {'asked/task':>11} {'beats/s':>9} {'messages/s':>11} {'presences/s':>12} {'heal s':>8}"
    rows = [
        f"{p.machines:>9} {p.bids_per_task:>11.2f} {p.probes:>9.2f} {p.messages:>11.3f} {p.presences:>12.2f}"
        f" {p.heal:>8.2f}"
        for p in points
    ]
    return "\n".join([head, *rows])
