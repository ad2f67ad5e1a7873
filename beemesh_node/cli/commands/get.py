"""`beectl get`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from beemesh_node.cli.errors import CliError, InvalidInputError
from beemesh_node.cli.options import context_options, examples, namespace_option, output_option
from beemesh_node.cli.output import Format, echo_objects, echo_table
from beemesh_node.cli.targets import ALIASES, Target, parse_targets
from beemesh_node.cli.terminal import note

if TYPE_CHECKING:
    from beemesh_node.cli.listing import Listing, Query
    from beemesh_node.cli.mesh import Mesh
    from beemesh_node.protocol.messages import Expression


def _complete(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[click.shell_completion.CompletionItem]:
    return [click.shell_completion.CompletionItem(each) for each in ALIASES if each.startswith(incomplete)]


@click.command(
    epilog=examples(
        "beectl get machines",
        "beectl get pods -o wide -w",
        "beectl get deployment hello -o yaml",
        "beectl get pods,deployments -A -l app=hello",
        "beectl get events",
    )
)
@click.argument("words", nargs=-1, required=True, metavar="TYPE [NAME...]", shell_complete=_complete)
@click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")
@click.option("-l", "--selector", metavar="LABELS", help="Only what has these labels, as app=hello,tier!=db.")
@click.option("-w", "--watch", is_flag=True, help="Go on showing what changes.")
@click.option("--no-headers", is_flag=True, help="Without the titles of the columns.")
@context_options
@namespace_option
@output_option(Format.TABLE, Format.WIDE, Format.JSON, Format.YAML, Format.NAME)
def get(
    words: tuple[str, ...], all_namespaces: bool, selector: str | None, watch: bool, no_headers: bool, form: Format
) -> None:
    """List machines, workloads, deployments, pods, events or revocations, or show those with a NAME.

    JSON and YAML have Kubernetes' own shapes: Node, Deployment, Pod, Event.
    """
    from beemesh_node.cli.listing import selector_of
    from beemesh_node.cli.mesh import in_mesh

    targets = parse_targets(words)
    chosen = selector_of(selector)
    if selector and any(target.name for target in targets):
        raise InvalidInputError("give names or -l, not both")
    if watch and len({target.resource for target in targets}) > 1:
        raise InvalidInputError("-w watches one type at a time")

    async def work(mesh: Mesh) -> None:
        namespace = "" if all_namespaces else mesh.namespace
        queries = _queries(targets, namespace, chosen, detailed=form in (Format.JSON, Format.YAML))
        if watch:
            await _watch(mesh, queries[0], form, headers=not no_headers, shown=shown)
        else:
            await _show(mesh, queries, targets, form, headers=not no_headers)

    shown: dict[str, str] = {}
    in_mesh(work, steadily=True)


def _queries(
    targets: Sequence[Target], namespace: str, selector: tuple[Expression, ...], *, detailed: bool
) -> list[Query]:
    from beemesh_node.cli.listing import Query

    return [
        Query(
            resource,
            namespace,
            tuple(target.name for target in targets if target.resource is resource and target.name),
            selector,
            detailed,
        )
        for resource in dict.fromkeys(target.resource for target in targets)
    ]


async def _show(
    mesh: Mesh, queries: Sequence[Query], targets: Sequence[Target], form: Format, *, headers: bool
) -> None:
    from beemesh_node.cli.listing import list_objects, table_of
    from beemesh_node.cli.progress import progress

    with progress("Asking the mesh"):
        listings = [await list_objects(mesh, query) for query in queries]
    for listing in listings:
        _warn(mesh, listing)
    if form in (Format.TABLE, Format.WIDE):
        for number, (query, listing) in enumerate(zip(queries, listings, strict=True)):
            if not listing.objects:
                if not query.names:
                    where = f"in namespace {query.namespace}" if query.namespace else "in the mesh"
                    note(f"No {query.resource.value} found {where}.")
                continue
            if number:
                click.echo()
            table = table_of(query.resource, listing.objects, mesh.session.mesh_time_ms, namespaces=not query.namespace)
            echo_table(table, wide=form is Format.WIDE, headers=headers)
    else:
        single = len(targets) == 1 and bool(targets[0].name)
        objects = [shape for listing in listings for shape in listing.objects]
        if objects or not single:
            echo_objects(objects, form, single=single)
    _check_missing(queries, listings)


def _warn(mesh: Mesh, listing: Listing) -> None:
    for subject, why in listing.unreadable.items():
        note(f"Warning: {subject} is not shown in full: {why}")
    if absences := mesh.absences(listing.silent):
        note(f"Warning: {absences}.")


def _check_missing(queries: Sequence[Query], listings: Sequence[Listing]) -> None:
    missing = []
    for query, listing in zip(queries, listings, strict=True):
        found = {shape["metadata"]["name"] for shape in listing.objects}
        found |= {shape["metadata"].get("uid") for shape in listing.objects}
        found |= {shape.get("involvedObject", {}).get("name") for shape in listing.objects}
        missing += [f"{query.resource.singular}/{name}" for name in query.names if name not in found]
    if missing:
        where = f" in namespace {queries[0].namespace}" if queries[0].namespace else ""
        raise CliError(f"not found{where}: {', '.join(missing)}")


async def _watch(mesh: Mesh, query: Query, form: Format, *, headers: bool, shown: dict[str, str]) -> None:
    """Show everything once and then whatever has changed, for ever. `shown` outlives a lost connection."""
    import trio

    from beemesh_node.cli.listing import list_objects
    from beemesh_node.cli.watch import Watch

    watch = Watch(query.resource, form, shown, namespaces=not query.namespace, headers=headers)
    while True:
        listing = await list_objects(mesh, query)
        watch.show(listing.objects, mesh.session.mesh_time_ms)
        await trio.sleep(watch.PERIOD)
        await mesh.refresh()
