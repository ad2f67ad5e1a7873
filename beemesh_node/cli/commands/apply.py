"""`beectl apply`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from beemesh_node.cli.context import default_namespace
from beemesh_node.cli.manifests import filename_option, read
from beemesh_node.cli.options import (
    context_options,
    examples,
    namespace_option,
    output_option,
    settings,
    timeout_option,
)
from beemesh_node.cli.output import Format, echo_facts

if TYPE_CHECKING:
    from beemesh_node.cli.mesh import Mesh
    from beemesh_node.cli.workload_client import Outcome
    from beemesh_node.workloads.manifest import KubernetesObject


@click.command(
    epilog=examples(
        "beectl apply -f hello.yml",
        "beectl apply -f manifests/ --wait --timeout 2m",
        "cat hello.yml | beectl apply -f - --dry-run=server",
    )
)
@filename_option(required=True)
@click.option(
    "--dry-run",
    type=click.Choice(["none", "client", "server"]),
    default="none",
    show_default=True,
    help="Only check: client here, server also by the machines responsible.",
)
@click.option("--wait", is_flag=True, help="Wait until all replicas run as declared.")
@click.option("--force", is_flag=True, help="What cannot be changed is deleted, with its pods, and declared anew.")
@timeout_option
@context_options
@namespace_option
@output_option(Format.TABLE, Format.JSON, Format.YAML, Format.NAME)
def apply(
    filenames: tuple[str, ...], recursive: bool, dry_run: str, wait: bool, force: bool, timeout: float, form: Format
) -> None:
    """Make the mesh run what manifests declare: create what is new, change what differs, leave the rest.

    All manifests are checked before anything is sent. A Deployment that does not say how many replicas it wants keeps
    the number it has. The manifests are readable by the machines responsible and those that run them, by nobody else.

    With --dry-run=server machines also say which of them would run the replicas; nothing is reserved by that.
    """
    from beemesh_node.workloads.manifest import load_all
    from beemesh_node.workloads.spec import bundles, content

    chosen = settings()
    objects = load_all(
        read(filenames, recursive=recursive),
        namespace=default_namespace(chosen),
        enforce=chosen.namespace is not None,
    )
    wanted = bundles(objects)
    for bundle in wanted:
        content(bundle)
    if dry_run == "client":
        _report_checked(wanted, form)
        return
    tried = dry_run == "server"
    within = timeout if wait and not tried else None
    _apply(wanted, dry_run=tried, wait=within, force=force, timeout=timeout, form=form)


def _report_checked(wanted: Sequence[Sequence[KubernetesObject]], form: Format) -> None:
    """What a dry run without the mesh can say: that the manifests are valid."""
    from beemesh_node.cli.declaring import title

    results: list[dict[str, Any]] = []
    for bundle in wanted:
        results.append({"action": "valid", "changed": False, "object": bundle[0].body})
        if form in (Format.TABLE, Format.NAME):
            click.echo(title(bundle[0].kind, bundle[0].name) + ("" if form is Format.NAME else " valid (dry run)"))
    echo_facts({"changed": False, "results": results, "warnings": []}, form, "")


def _apply(
    wanted: Sequence[Sequence[KubernetesObject]],
    *,
    dry_run: bool,
    wait: float | None,
    force: bool,
    timeout: float,
    form: Format,
) -> None:
    from beemesh_node.cli.declaring import declare
    from beemesh_node.cli.terminal import note
    from beemesh_node.cli.waiting import wait_for_end
    from beemesh_node.cli.workload_client import WorkloadClient

    async def change(mesh: Mesh, report: Callable[[Outcome], None]) -> None:
        async def ended(outcomes: Sequence[Outcome]) -> None:
            for outcome in outcomes:
                note(f"{outcome.subject} cannot be changed so: it is deleted and declared anew")
                await wait_for_end(mesh, [outcome.attested.record], outcome.subject, timeout, lambda _: None)

        await WorkloadClient(mesh).apply(wanted, dry_run=dry_run, report=report, ended=ended if force else None)

    declare(change, dry_run=dry_run, wait=wait, form=form)
