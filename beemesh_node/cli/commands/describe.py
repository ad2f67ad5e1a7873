"""`beectl describe`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from beemesh_node.cli.errors import CliError, InvalidInputError
from beemesh_node.cli.options import context_options, examples, namespace_option
from beemesh_node.cli.targets import ResourceType, Target, parse_targets

if TYPE_CHECKING:
    from beemesh_node.cli.mesh import Mesh


@click.command(
    epilog=examples(
        "beectl describe deployment hello",
        "beectl describe pod/hello-7d4b8c9f5x-k2m9q",
        "beectl describe machine web1",
    )
)
@click.argument("words", nargs=-1, required=True, metavar="TYPE [NAME...]")
@context_options
@namespace_option
def describe(words: tuple[str, ...]) -> None:
    """Show everything about one thing: how it is, why it is not as declared, and what happened to it."""
    from beemesh_node.cli.mesh import in_mesh

    targets = parse_targets(words)
    for target in targets:
        if target.resource is ResourceType.EVENTS:
            raise InvalidInputError("events cannot be described: see `beectl get events`")
        if target.resource is ResourceType.REVOCATIONS:
            raise InvalidInputError("revocations cannot be described: see `beectl get revocations -o yaml`")
    for number, text in enumerate(in_mesh(lambda mesh: _describe(mesh, targets), steadily=True)):
        if number:
            click.echo("\n")
        click.echo(text)


async def _describe(mesh: Mesh, targets: Sequence[Target]) -> list[str]:
    from beemesh_node.cli import described

    tellers = {
        ResourceType.MACHINES: described.machines,
        ResourceType.PODS: described.pods,
        ResourceType.DEPLOYMENTS: described.workloads,
        ResourceType.STATEFULSETS: described.workloads,
        ResourceType.WORKLOADS: described.workloads,
    }
    texts = []
    for target in targets:
        found = await tellers[target.resource](mesh, target)
        if not found and target.name:
            raise CliError(f"{target} not found: see `beectl get {target.resource.value} -A`")
        texts += found
    return texts
