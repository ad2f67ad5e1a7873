"""`beectl apply`."""

from __future__ import annotations

from collections.abc import Sequence
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

_SUFFIX = {"client": " (dry run)", "server": " (server dry run)"}


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
@timeout_option
@context_options
@namespace_option
@output_option(Format.TABLE, Format.JSON, Format.YAML, Format.NAME)
def apply(filenames: tuple[str, ...], recursive: bool, dry_run: str, wait: bool, timeout: float, form: Format) -> None:
    """Make the mesh run what manifests declare: create what is new, change what differs, leave the rest.

    All manifests are checked before anything is sent. A Deployment that does not say how many replicas it wants keeps
    the number it has. The manifests are readable by the machines responsible and those that run them, by nobody else.
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
    _apply(wanted, dry_run=dry_run, wait=wait and dry_run == "none", timeout=timeout, form=form)


def _report_checked(wanted: Sequence[Sequence[KubernetesObject]], form: Format) -> None:
    """What a dry run without the mesh can say: that the manifests are valid."""
    results: list[dict[str, Any]] = []
    for bundle in wanted:
        results.append({"action": "valid", "changed": False, "object": bundle[0].body})
        if form in (Format.TABLE, Format.NAME):
            click.echo(_title(bundle[0].kind, bundle[0].name) + ("" if form is Format.NAME else " valid (dry run)"))
    echo_facts({"changed": False, "results": results, "warnings": []}, form, "")


def _apply(
    wanted: Sequence[Sequence[KubernetesObject]], *, dry_run: str, wait: bool, timeout: float, form: Format
) -> None:
    from beemesh_node.cli.mesh import in_mesh, once
    from beemesh_node.cli.progress import progress
    from beemesh_node.cli.shapes import outcome_facts
    from beemesh_node.cli.waiting import wait_for_rollout
    from beemesh_node.cli.workload_client import WorkloadClient

    outcomes: list[Outcome] = []
    applied = False

    def report(outcome: Outcome) -> None:
        outcomes.append(outcome)
        for warning in outcome.warnings:
            click.echo(f"Warning: {warning}", err=True)
        if form in (Format.TABLE, Format.NAME):
            title = _title(outcome.attested.record.kind, outcome.attested.record.name)
            click.echo(title if form is Format.NAME else f"{title} {outcome.action}{_SUFFIX.get(dry_run, '')}")

    async def work(mesh: Mesh) -> None:
        nonlocal applied
        if not applied:
            with progress("Asking the mesh what it has"):
                await once(WorkloadClient(mesh).apply(wanted, dry_run=dry_run == "server", report=report))
            applied = True
        if wait:
            with progress("Waiting until all replicas run") as line:
                for outcome in outcomes:
                    if outcome.spec is not None:
                        await wait_for_rollout(mesh, outcome.attested, outcome.spec, timeout, line.say)

    try:
        in_mesh(work, steadily=True)
    finally:
        if outcomes:
            echo_facts(outcome_facts(outcomes), form, "")


def _title(kind: str, name: str) -> str:
    group = "" if kind == "Pod" else ".apps"
    return f"{kind.lower()}{group}/{name}"
