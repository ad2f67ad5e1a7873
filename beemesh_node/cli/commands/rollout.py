"""`beectl rollout`: how a change reaches every replica, and back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from beemesh_node.cli.errors import InvalidInputError
from beemesh_node.cli.options import context_options, examples, namespace_option, output_option, timeout_option
from beemesh_node.cli.output import Format, Table, echo_facts, echo_table
from beemesh_node.cli.targets import ResourceType, Target, parse_targets

if TYPE_CHECKING:
    from beemesh_node.cli.mesh import Mesh
    from beemesh_node.cli.workload_client import Outcome

Make = Callable[["Mesh", Target], Awaitable["Outcome"]]

_REPLICATED = (ResourceType.DEPLOYMENTS, ResourceType.STATEFULSETS, ResourceType.WORKLOADS)
_words = click.argument("words", nargs=-1, required=True, metavar="[deployment/NAME | statefulset/NAME]")


@click.group(
    epilog=examples(
        "beectl rollout status deployment/hello",
        "beectl rollout history deployment/hello",
        "beectl rollout undo deployment/hello --to-revision 2",
        "beectl rollout restart deployment/hello",
    )
)
def rollout() -> None:
    """Watch the rollout of a change, go back to an earlier revision, or replace all replicas."""


@rollout.command(epilog=examples("beectl rollout status deployment/hello --timeout 2m"))
@_words
@click.option("--watch/--no-watch", "-w", default=True, show_default=True, help="Wait until it is over.")
@timeout_option
@context_options
@namespace_option
def status(words: tuple[str, ...], watch: bool, timeout: float) -> None:
    """Say how far a rollout is, until it is over. Exit code 1 when it failed, 4 when it is not over in time."""
    from beemesh_node.cli.following import look
    from beemesh_node.cli.live import subject
    from beemesh_node.cli.mesh import in_mesh
    from beemesh_node.cli.waiting import rollout_state, wait_for_rollout
    from beemesh_node.cli.workload_client import WorkloadClient
    from beemesh_node.workloads.kubernetes import progress

    (target,) = replicated(words, "has no rollout", single=True)
    said = ""

    def say(text: str) -> None:
        nonlocal said
        if text != said:
            said = text
            click.echo(f"Waiting for {text}...")

    async def work(mesh: Mesh) -> None:
        live = await WorkloadClient(mesh).find(mesh.namespace, target.resource.kind, target.name)
        if watch:
            await wait_for_rollout(mesh, live.declaration.attested, live.spec, timeout, say)
        else:
            view = await look(mesh, live.record)
            state = rollout_state(live.spec, progress(live.spec, view.pods, mesh.session.mesh_time_ms))
            if state:
                click.echo(f"Waiting for {subject(live.record)}: {state}...")
                return
        click.echo(f'{live.record.kind.lower()} "{live.record.name}" successfully rolled out')

    in_mesh(work, steadily=True)


@rollout.command(
    epilog=examples("beectl rollout history deployment/hello", "beectl rollout history deployment/hello --revision 2")
)
@_words
@click.option("--revision", type=click.IntRange(min=1), metavar="N", help="Show the template of one.")
@context_options
@namespace_option
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def history(words: tuple[str, ...], revision: int | None, form: Format) -> None:
    """List the revisions that are kept, or show one."""
    from beemesh_node.cli.live import open_revision, subject
    from beemesh_node.cli.mesh import in_mesh
    from beemesh_node.cli.output import echo_yaml
    from beemesh_node.cli.workload_client import WorkloadClient
    from beemesh_node.workloads.kubernetes import timestamp

    (target,) = replicated(words, "has no rollout", single=True)

    async def work(mesh: Mesh) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        live = await WorkloadClient(mesh).find(mesh.namespace, target.resource.kind, target.name)
        listed = [
            {
                "revision": each.number,
                "createdAt": timestamp(each.created_at),
                "template": each.template_hash,
                "changeCause": each.change_cause,
            }
            for each in live.record.revisions
        ]
        if revision is None:
            return listed, None
        found = next((each for each in live.record.revisions if each.number == revision), None)
        if found is None:
            known = ", ".join(str(each["revision"]) for each in listed)
            raise InvalidInputError(f"{subject(live.record)} has no revision {revision}: it has {known}")
        template: dict[str, Any] = open_revision(live.declaration, found).manifest["spec"]["template"]
        return listed, template

    listed, template = in_mesh(work, steadily=True)
    if template is not None:
        if form is Format.TABLE:
            echo_yaml(template)
        echo_facts({"revision": revision, "template": template}, form, "")
    elif form is Format.TABLE:
        rows = tuple(
            (str(each["revision"]), each["createdAt"] or "", each["template"], each["changeCause"] or "<none>")
            for each in listed
        )
        echo_table(Table(("REVISION", "CREATED", "TEMPLATE", "CHANGE-CAUSE"), rows))
    else:
        echo_facts({"revisions": listed}, form, "")


@rollout.command(
    epilog=examples("beectl rollout undo deployment/hello", "beectl rollout undo deployment/hello --to-revision 2")
)
@_words
@click.option("--to-revision", type=click.IntRange(min=0), default=0, metavar="N", help="Instead of the one before.")
@click.option("--wait", is_flag=True, help="Wait until all replicas run it.")
@timeout_option
@context_options
@namespace_option
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def undo(words: tuple[str, ...], to_revision: int, wait: bool, timeout: float, form: Format) -> None:
    """Go back to the revision before the present one, or to revision N. Replicas stay as many as they are."""
    from beemesh_node.cli.workload_client import WorkloadClient

    async def change(mesh: Mesh, target: Target) -> Outcome:
        client = WorkloadClient(mesh)
        return await client.undo(await client.find(mesh.namespace, target.resource.kind, target.name), to_revision)

    facts = change_and_wait(
        replicated(words, "has no rollout", single=True), change, wait=timeout if wait else None, form=form
    )
    echo_facts(facts, form, "")


@rollout.command(epilog=examples("beectl rollout restart deployment/hello --wait"))
@_words
@click.option("--wait", is_flag=True, help="Wait until all replicas are new.")
@timeout_option
@context_options
@namespace_option
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def restart(words: tuple[str, ...], wait: bool, timeout: float, form: Format) -> None:
    """Replace every replica, as for a change: new before old where there is room."""
    from beemesh_node.cli.workload_client import WorkloadClient

    async def change(mesh: Mesh, target: Target) -> Outcome:
        client = WorkloadClient(mesh)
        return await client.restart(await client.find(mesh.namespace, target.resource.kind, target.name))

    echo_facts(
        change_and_wait(replicated(words, "has no rollout"), change, wait=timeout if wait else None, form=form),
        form,
        "",
    )


def change_and_wait(targets: Sequence[Target], make: Make, *, wait: float | None, form: Format) -> dict[str, Any]:
    """Make a change to each of `targets`, say so, wait for `wait` seconds at most, and return the facts."""
    from beemesh_node.cli.mesh import in_mesh, once
    from beemesh_node.cli.outcomes import outcome_facts
    from beemesh_node.cli.progress import progress
    from beemesh_node.cli.waiting import wait_for_rollout

    outcomes: list[Outcome] = []

    async def work(mesh: Mesh) -> None:
        for target in targets[len(outcomes) :]:
            outcomes.append(await once(make(mesh, target)))
            if form is Format.TABLE:
                record = outcomes[-1].attested.record
                click.echo(f"{record.kind.lower()}.apps/{record.name} {outcomes[-1].action}")
        if wait is None:
            return
        with progress("Waiting until all replicas run") as line:
            for outcome in outcomes:
                if outcome.spec is not None:
                    await wait_for_rollout(mesh, outcome.attested, outcome.spec, wait, line.say)

    in_mesh(work, steadily=True)
    return outcome_facts(outcomes)


def replicated(words: tuple[str, ...], cannot: str, *, single: bool = False) -> tuple[Target, ...]:
    """Read names of what has replicas; a lone name is a Deployment's. Raises `CliError`, saying what it `cannot`."""
    targets = parse_targets(words, ResourceType.DEPLOYMENTS)
    for target in targets:
        if target.resource not in _REPLICATED or not target.name:
            raise InvalidInputError(
                f"{target} {cannot}: name a deployment or statefulset, for example deployment/hello"
            )
    if single and len(targets) != 1:
        raise InvalidInputError("name one workload, for example deployment/hello")
    return targets
