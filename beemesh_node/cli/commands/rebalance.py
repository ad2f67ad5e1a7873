"""`beectl rebalance`: replicas from crowded machines to emptier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from beemesh_node.cli.errors import InvalidInputError
from beemesh_node.cli.options import context_options, examples, namespace_option, output_option, timeout_option
from beemesh_node.cli.output import Format, Table, echo_facts, echo_table
from beemesh_node.cli.targets import DECLARED, ResourceType, parse_targets

if TYPE_CHECKING:
    from beemesh_node.cli.mesh import Mesh


@click.command(
    epilog=examples(
        "beectl rebalance deployment/hello --dry-run",
        "beectl rebalance deployment/hello",
        "beectl rebalance --all",
    )
)
@click.argument("words", nargs=-1, metavar="[KIND/NAME]")
@click.option("--all", "everything", is_flag=True, help="Of all workloads of the namespace.")
@click.option("--dry-run", is_flag=True, help="Only show what would be moved.")
@timeout_option
@context_options
@namespace_option
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def rebalance(words: tuple[str, ...], everything: bool, dry_run: bool, timeout: float, form: Format) -> None:
    """Move replicas from crowded machines to emptier ones, each as in a rollout: another one is ready before it ends.

    Where each goes in the end is decided by the bids of that moment. Nothing moves that would gain little, or that has
    a volume on its machine. Takes the verb drain in the namespace.
    """
    from beemesh_node.cli.mesh import in_mesh
    from beemesh_node.cli.progress import progress
    from beemesh_node.cli.rebalancing import Rebalancing

    if bool(words) == everything:
        raise InvalidInputError("say what to rebalance: one workload, for example deployment/hello, or --all")
    names = _names(words)

    async def work(mesh: Mesh) -> dict[str, Any]:
        with progress("Looking at all machines") as line:
            rebalancing = await Rebalancing.plan(mesh, names)
            if dry_run:
                return {"moves": rebalancing.facts, "dryRun": True}
            line.say("Moving replicas")
            await rebalancing.run(timeout, line.say, click.echo if form is Format.TABLE else _nothing)
            return {"moves": rebalancing.facts}

    facts = in_mesh(work)
    if form is not Format.TABLE:
        echo_facts(facts, form, "")
    elif not facts["moves"]:
        click.echo("Nothing to move: no replica would be better off elsewhere.")
    elif dry_run:
        rows = tuple((f"{m['namespace']}/{m['pod']}", m["from"], m["to"]) for m in facts["moves"])
        echo_table(Table(("POD", "FROM", "ROOM ON"), rows))


def _names(words: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    """Kind (empty: any) and name of each workload that is meant."""
    if not words:
        return frozenset()
    targets = parse_targets(words, ResourceType.WORKLOADS)
    for target in targets:
        if target.resource not in DECLARED or not target.name:
            raise InvalidInputError(f"{target} cannot be rebalanced: name a workload, for example deployment/hello")
    return frozenset((target.resource.kind, target.name) for target in targets)


def _nothing(_: str) -> None:
    """Programs get the facts at the end."""
