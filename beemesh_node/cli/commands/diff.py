"""`beectl diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from beemesh_node.cli.context import default_namespace
from beemesh_node.cli.errors import ExitCode, InvalidInputError
from beemesh_node.cli.manifests import filename_option, read
from beemesh_node.cli.options import context_options, examples, namespace_option, settings
from beemesh_node.cli.terminal import colours

if TYPE_CHECKING:
    from beemesh_node.cli.mesh import Mesh, Work

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command(
    epilog=examples(
        "beectl diff -f hello.yml",
        "beectl diff -f manifests/ || echo different",
    )
)
@filename_option(required=True)
@context_options
@namespace_option
def diff(filenames: tuple[str, ...], recursive: bool) -> None:
    """Show what apply would change, as a unified diff. Values of Secrets are masked.

    Exit code 0 without a difference, 1 with one; failures are 2 and more, so that they cannot be mistaken for one.
    """
    from beemesh_node.workloads.manifest import load_all
    from beemesh_node.workloads.spec import bundles

    chosen = settings()
    objects = load_all(
        read(filenames, recursive=recursive),
        namespace=default_namespace(chosen),
        enforce=chosen.namespace is not None,
    )
    wanted = bundles(objects)

    async def work(mesh: Mesh) -> str:
        from beemesh_node.cli.workload_client import WorkloadClient
        from beemesh_node.workloads import diff as differences

        client = WorkloadClient(mesh)
        parts = []
        for bundle in wanted:
            live, merged = await client.plan(bundle)
            parts.append(differences.diff(live.objects if live is not None else (), merged))
        return "".join(parts)

    found = _run(work)
    for line in found.splitlines():
        colour = _COLOURS.get(line[:1]) if colours() else None
        click.echo(click.style(line, fg=colour) if colour else line)
    if found:
        raise click.exceptions.Exit(1)


def _run(work: Work[str]) -> str:
    from beemesh_node.cli.mesh import in_mesh
    from beemesh_node.cli.translate import translate

    try:
        return in_mesh(work, steadily=True)
    except Exception as error:
        translated = translate(error)
        if translated is None or translated.exit_code != ExitCode.FAILURE:
            raise
        raise InvalidInputError(translated.message) from error
