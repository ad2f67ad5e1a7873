"""`beectl scale`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from beemesh_node.cli.options import context_options, examples, namespace_option, output_option, timeout_option
from beemesh_node.cli.output import Format, echo_facts

if TYPE_CHECKING:
    from beemesh_node.cli.mesh import Mesh
    from beemesh_node.cli.targets import Target


@click.command(
    epilog=examples(
        "beectl scale deployment/hello --replicas 3",
        "beectl scale deploy hello web --replicas 0",
    )
)
@click.argument("words", nargs=-1, required=True, metavar="[deployment NAME... | deployment/NAME...]")
@click.option("--replicas", type=click.IntRange(min=0), required=True, help="How many there shall be.")
@click.option("--wait", is_flag=True, help="Wait until there are as many.")
@timeout_option
@context_options
@namespace_option
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def scale(words: tuple[str, ...], replicas: int, wait: bool, timeout: float, form: Format) -> None:
    """Change the number of replicas of a Deployment or StatefulSet. This makes no new revision."""
    from beemesh_node.cli.commands.rollout import change_and_wait, replicated
    from beemesh_node.cli.workload_client import Outcome, WorkloadClient

    targets = replicated(words, "cannot be scaled")

    async def change(mesh: Mesh, target: Target) -> Outcome:
        client = WorkloadClient(mesh)
        return await client.scale(await client.find(mesh.namespace, target.resource.kind, target.name), replicas)

    facts = change_and_wait(targets, change, wait=timeout if wait else None, form=form)
    echo_facts(facts, form, "")
