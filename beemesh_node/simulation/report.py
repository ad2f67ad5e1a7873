"""What came of a simulation, for people."""

from __future__ import annotations

from collections.abc import Sequence

from beemesh_node.simulation.run import Outcome


def spread(values: Sequence[float]) -> str:
    """Say how values are spread: how many, their median, the 99th of a hundred, the worst."""
    if not values:
        return "none"
    ordered = sorted(values)
    middle, late = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return f"{len(ordered):5d}   median {middle:7.2f} s   99 % {late:7.2f} s   worst {ordered[-1]:7.2f} s"


def report(outcome: Outcome) -> str:
    """Write the report of one simulation."""
    scenario, times, rates = outcome.scenario, outcome.times, outcome.rates
    trouble = ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.trouble.items()))
    asked = ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.messages.items()))
    lines = [
        f"seed {scenario.seed}: {scenario.machines} machines, {outcome.virtual / 60:.1f} minutes, "
        f"{outcome.pods} pods at most, {outcome.steps} events",
        f"  trouble             {trouble or 'none'}",
        f"  placed              {spread(times.placed)}",
        f"  healed              {spread(times.healed)}",
        f"  excess drained      {spread(times.drained)}",
        f"  calm to declared    {spread(outcome.converged)}",
        f"  messages/machine/s  mean {rates.mean:.2f}, most {rates.most:.1f} over 10 s; "
        f"presences heard {outcome.presences:.1f}",
        f"  machines watched    mean {outcome.watched[0]:.2f}, most {outcome.watched[1]}",
        f"  questions           {asked}",
        f"  asked per assigned  {outcome.bids_per_task:.1f}",
        f"  violations          {len(outcome.violations) or 'none'}",
    ]
    return "\n".join([*lines, *(f"    {violation}" for violation in outcome.violations)])
