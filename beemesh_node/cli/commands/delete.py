"""`beectl delete`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from beemesh_node.cli.context import default_namespace
from beemesh_node.cli.errors import CliError, InvalidInputError
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
from beemesh_node.cli.targets import DECLARED, parse_targets

if TYPE_CHECKING:
    from beemesh_node.cli.mesh import Mesh
    from beemesh_node.cli.workload_client import Outcome


@click.command(
    epilog=examples(
        "beectl delete deployment hello",
        "beectl delete deployment/hello pod/job --wait",
        "beectl delete -f hello.yml --ignore-not-found",
    )
)
@click.argument("words", nargs=-1, metavar="[KIND NAME... | KIND/NAME...]")
@filename_option(required=False)
@click.option("--ignore-not-found", is_flag=True, help="What is not there is no failure.")
@click.option("--uid", metavar="UID", default="", help="Only if its metadata.uid is this.")
@click.option(
    "--resource-version", "version", metavar="N", default="", help="Only if its metadata.resourceVersion is this."
)
@click.option("--wait", is_flag=True, help="Wait until no machine runs any of it.")
@timeout_option
@context_options
@namespace_option
@output_option(Format.TABLE, Format.JSON, Format.YAML, Format.NAME)
def delete(
    words: tuple[str, ...],
    filenames: tuple[str, ...],
    recursive: bool,
    ignore_not_found: bool,
    uid: str,
    version: str,
    wait: bool,
    timeout: float,
    form: Format,
) -> None:
    """Delete workloads, named on the command line or by the manifests that declared them.

    Every declaration under the name ends for good, wherever that has been heard. A machine that cannot be reached ends
    its replicas as soon as it can.
    """
    if bool(words) == bool(filenames):
        raise InvalidInputError("say what to delete: KIND NAME, KIND/NAME, or -f FILE")
    named = _from_files(filenames, recursive) if filenames else _from_words(words)
    if (uid or version) and len(named) != 1:
        raise InvalidInputError("--uid and --resource-version are of one workload: name it alone")
    wanted = {"uid": uid, "version": version}
    _delete(named, wanted, ignore_not_found=ignore_not_found, wait=wait, seconds=timeout, form=form)


def _from_words(words: tuple[str, ...]) -> list[tuple[str, str, str]]:
    targets = parse_targets(words)
    for target in targets:
        if target.resource not in DECLARED:
            raise InvalidInputError(f"{target} is nothing that was declared: only workloads can be deleted")
        if not target.name:
            raise InvalidInputError(f"{target.resource.value}: give the names of those to delete")
    namespace = default_namespace(settings())
    return [(namespace, target.resource.kind, target.name) for target in targets]


def _from_files(filenames: tuple[str, ...], recursive: bool) -> list[tuple[str, str, str]]:
    from beemesh_node.workloads.manifest import WORKLOADS, load_all

    chosen = settings()
    objects = load_all(
        read(filenames, recursive=recursive),
        namespace=default_namespace(chosen),
        enforce=chosen.namespace is not None,
    )
    found = [(each.namespace, each.kind, each.name) for each in objects if each.kind in WORKLOADS]
    if not found:
        raise InvalidInputError(
            "no workload in these manifests: ConfigMaps and Secrets go with the workload that uses them"
        )
    return found


def _delete(
    named: list[tuple[str, str, str]],
    wanted: Mapping[str, str],
    *,
    ignore_not_found: bool,
    wait: bool,
    seconds: float,
    form: Format,
) -> None:
    from beemesh_node.cli.live import subject
    from beemesh_node.cli.mesh import in_mesh, once
    from beemesh_node.cli.outcomes import outcome_facts
    from beemesh_node.cli.progress import progress
    from beemesh_node.cli.waiting import wait_for_end
    from beemesh_node.cli.workload_client import NotFoundError, WorkloadClient

    outcomes: list[Outcome] = []
    open_names = list(named)
    failures: list[CliError] = []

    async def work(mesh: Mesh) -> None:
        client = WorkloadClient(mesh)
        while open_names:
            try:
                ended = await once(client.delete(*open_names[0], **wanted))
            except NotFoundError as error:
                ended = []
                if not ignore_not_found:
                    failures.append(error)
            outcomes.extend(ended)
            del open_names[0]
            for record in (outcome.attested.record for outcome in ended[:1]):
                if form in (Format.TABLE, Format.NAME):
                    click.echo(subject(record) + ("" if form is Format.NAME else " deleted"))
        if wait:
            with progress("Waiting until no machine runs any of it") as line:
                for outcome in outcomes:
                    await wait_for_end(mesh, [outcome.attested.record], outcome.subject, seconds, line.say)

    try:
        in_mesh(work, steadily=True)
    finally:
        echo_facts(outcome_facts(outcomes), form, "")
    if failures:
        raise CliError("\n".join(failure.message for failure in failures))
