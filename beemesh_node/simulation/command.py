"""The command that simulates: options in, a report and a picture out."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from beemesh_node.simulation.picture import picture
from beemesh_node.simulation.report import report
from beemesh_node.simulation.run import Outcome, Scenario, Simulation
from beemesh_node.simulation.scale import SIZES, Point, measure, table


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--machines", type=click.IntRange(1, 20_000), default=100, show_default=True, help="How many.")
@click.option("--minutes", type=click.FloatRange(0.1), default=5, show_default=True, help="Of virtual time.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Decides everything.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Simulate so many, from --seed on.")
@click.option("--workloads", type=click.IntRange(0), default=0, help="Declared at first; 0: one for three machines.")
@click.option("--scale", is_flag=True, help=f"Also measure what meshes of up to {SIZES[-1]} machines cost.")
@click.option(
    "--picture",
    "drawn",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw an SVG of the last run, and of what meshes of up to so many machines cost.",
)
def simulate(
    machines: int, minutes: float, seed: int, seeds: int, workloads: int, scale: bool, drawn: Path | None
) -> None:
    """Simulate a mesh with everything that may go wrong, and check what may never happen.

    Exits with 1 if it happened all the same; the report then has the command that replays it.
    """
    failed: list[str] = []
    for number in range(seed, seed + seeds):
        outcome = _run(Scenario(number, machines, minutes, workloads))
        if outcome.violations:
            failed.append(outcome.scenario.command)
    points: list[Point] = []
    if scale or drawn is not None:
        points = measure((size for size in SIZES if scale or size <= max(machines, SIZES[0])), seed)
        click.echo(table(points))
    if drawn is not None:
        drawn.parent.mkdir(parents=True, exist_ok=True)
        drawn.write_text(picture(outcome, points), "utf-8")
        click.echo(f"drawn: {drawn}")
    if failed:
        click.echo("\nreplay what failed with:")
        for command in failed:
            click.echo(f"  {command}")
        sys.exit(1)


def _run(scenario: Scenario) -> Outcome:
    outcome = Simulation(scenario, lambda text: click.echo(text, err=True)).run()
    click.echo(report(outcome))
    return outcome
