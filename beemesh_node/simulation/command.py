"""The command that simulates: options in, a report and a picture out."""

from __future__ import annotations

import sys

import click

from beemesh_node.simulation.report import report
from beemesh_node.simulation.run import Scenario, Simulation


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--machines", type=click.IntRange(1, 20_000), default=100, show_default=True, help="How many.")
@click.option("--minutes", type=click.FloatRange(0.1), default=5, show_default=True, help="Of virtual time.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Decides everything.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Simulate so many, from --seed on.")
@click.option(
    "--workloads", type=click.IntRange(0), default=0, help="Declared at the beginning; 0: a third of machines."
)
def simulate(machines: int, minutes: float, seed: int, seeds: int, workloads: int) -> None:
    """Simulate a mesh with everything that may go wrong, and check what may never happen.

    Exits with 1 if it happened all the same; the report then has the command that replays it.
    """
    failed = []
    for number in range(seed, seed + seeds):
        scenario = Scenario(number, machines, minutes, workloads)
        outcome = Simulation(scenario, lambda text: click.echo(text, err=True)).run()
        click.echo(report(outcome))
        if outcome.violations:
            failed.append(scenario.command)
    if failed:
        click.echo("\nreplay what failed with:")
        for command in failed:
            click.echo(f"  {command}")
        sys.exit(1)
