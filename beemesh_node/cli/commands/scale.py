"""`beectl scale`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from beemesh_node.cli.errors import InvalidInputError
from beemesh_node.cli.options import context_options, examples, namespace_option, output_option, timeout_option
from beemesh_node.cli.output import Format, echo_facts
from beemesh_node.cli.targets import ResourceType, parse_targets

if TYPE_CHECKING:
    from beemesh_node.cli.mesh import Mesh


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
    """Change the number of replicas of a Deployment. This makes no new revision."""
    from beemesh_node.cli.commands.rollout import change_and_wait
    from beemesh_node.cli.workload_client import Outcome, WorkloadClient

    targets = parse_targets(words, ResourceType.DEPLOYMENTS)
    for target in targets:
        if target.resource not in (ResourceType.DEPLOYMENTS, ResourceType.WORKLOADS) or not target.name:
            raise InvalidInputError(f"{target} cannot be scaled: name a deployment, for example deployment/hello")

    async def change(mesh: Mesh, name: str) -> Outcome:
        client = WorkloadClient(mesh)
        return await client.scale(await client.find(mesh.namespace, "Deployment", name), replicas)

    facts = change_and_wait([target.name for target in targets], change, wait=timeout if wait else None, form=form)
    echo_facts(facts, form, "")
