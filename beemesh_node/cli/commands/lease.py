"""`beectl lease`: who may run what must never run twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from beemesh_node.cli.errors import InvalidInputError
from beemesh_node.cli.options import context_options, examples, namespace_option, output_option, timeout_option
from beemesh_node.cli.output import Format, Table, echo_facts, echo_table
from beemesh_node.cli.targets import ResourceType, Target, parse_targets

if TYPE_CHECKING:
    from beemesh_node.cli.leases import Leases
    from beemesh_node.cli.live import Live
    from beemesh_node.cli.mesh import Mesh

_words = click.argument("words", nargs=-1, required=True, metavar="[statefulset/NAME | deployment/NAME]")


class _NameOrBreak(click.Group):
    """`lease NAME` shows; a workload called "break" is named as `statefulset/break`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = bool(args) and args[0] in self.commands
        return super().resolve_command(ctx, args if known else ["show", *args])


@click.group(
    cls=_NameOrBreak,
    context_settings={"ignore_unknown_options": True},
    epilog=examples("beectl lease statefulset/db", "beectl lease break statefulset/db --dead crab --dead squid"),
)
def lease() -> None:
    """Show the leases of a StatefulSet, or of a Deployment with strategy Recreate.

    Each of its slots runs on one machine only while a majority of its own voters grants that.
    """


@lease.command(hidden=True, epilog=examples("beectl lease statefulset/db"))
@_words
@context_options
@namespace_option
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def show(words: tuple[str, ...], form: Format) -> None:
    """Show term, holder, voters and end of each lease."""
    from beemesh_node.cli.leases import look_at
    from beemesh_node.cli.mesh import in_mesh
    from beemesh_node.cli.workload_client import WorkloadClient

    target = _target(words)

    async def work(mesh: Mesh) -> tuple[dict[str, Any], Table]:
        live = await WorkloadClient(mesh).find(mesh.namespace, target.resource.kind, target.name)
        leases = await look_at(mesh, live)
        return _facts(mesh, live, leases), _table(mesh, live, leases)

    facts, table = in_mesh(work, steadily=True)
    if form is Format.TABLE:
        voters = ", ".join(f"{each['name']}{'' if each['answers'] else ' (silent)'}" for each in facts["voters"])
        click.echo(f"Voters: {voters}; {facts['majority']} are needed (voter set {facts['voterSet']})")
        echo_table(table)
    echo_facts(facts, form, "")


@lease.command("break", epilog=examples("beectl lease break statefulset/db --dead crab --dead squid"))
@_words
@click.option("--dead", "dead", multiple=True, required=True, metavar="MACHINE", help="Gone for ever. Repeatable.")
@click.option("--confirm", metavar="NAME", help="The name of the workload, instead of typing it when asked.")
@timeout_option
@context_options
@namespace_option
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def break_(words: tuple[str, ...], dead: tuple[str, ...], confirm: str | None, timeout: float, form: Format) -> None:
    """Declare a workload anew because most of its voters are gone for ever.

    Only for this: as long as a majority of its voters lives, its leases move by themselves. The new declaration has
    voters that live, and a uid of its own. If a machine that you call dead is not, what runs on it runs twice: you
    answer for that.
    """
    from beemesh_node.cli.leases import break_leases, check_broken, look_at
    from beemesh_node.cli.mesh import in_mesh
    from beemesh_node.cli.outcomes import outcome_facts
    from beemesh_node.cli.progress import progress
    from beemesh_node.cli.workload_client import WorkloadClient

    target = _target(words)

    async def find(mesh: Mesh) -> str:
        live = await WorkloadClient(mesh).find(mesh.namespace, target.resource.kind, target.name)
        check_broken(mesh, live, await look_at(mesh, live), dead)
        return ", ".join(sorted({mesh.machine_name(word) for word in dead}))

    gone = in_mesh(find, steadily=True)
    if confirm is None:
        click.echo(f"{target}: if {gone} still run, what they hold runs twice from now on.", err=True)
        confirm = click.prompt("Type the name of the workload to go on", err=True)
    if confirm != target.name:
        raise InvalidInputError(f"{confirm!r} is not {target.name!r}: nothing has been changed")

    async def work(mesh: Mesh) -> dict[str, Any]:
        live = await WorkloadClient(mesh).find(mesh.namespace, target.resource.kind, target.name)
        machines = check_broken(mesh, live, await look_at(mesh, live), dead)
        with progress("Waiting until no machine in reach runs any of it") as line:
            return outcome_facts(await break_leases(mesh, live, machines, timeout, line.say))

    facts = in_mesh(work)
    if form is Format.TABLE:
        click.echo(f"{target} declared anew: `beectl lease {target}` shows its voters")
    echo_facts(facts, form, "")


def _target(words: tuple[str, ...]) -> Target:
    targets = parse_targets(words, ResourceType.WORKLOADS)
    allowed = (ResourceType.DEPLOYMENTS, ResourceType.STATEFULSETS, ResourceType.WORKLOADS)
    if len(targets) != 1 or targets[0].resource not in allowed or not targets[0].name:
        raise InvalidInputError("name one workload, for example statefulset/db")
    return targets[0]


def _facts(mesh: Mesh, live: Live, leases: Leases) -> dict[str, Any]:
    return {
        "kind": live.record.kind,
        "namespace": live.record.namespace,
        "name": live.record.name,
        "uid": live.record.uid,
        "voterSet": leases.voter_set,
        "majority": leases.majority,
        "voters": [
            {"name": mesh.machine_name(voter), "machine": voter, "answers": voter in leases.answered}
            for voter in leases.voters
        ],
        "slots": [
            {
                "slot": slot.number,
                "term": slot.term,
                "holder": mesh.machine_name(slot.holder) if slot.holder else "",
                "endsInSeconds": round(slot.remaining_ms / 1000, 1),
                "grantedBy": slot.granted,
                "volumesOn": mesh.machine_name(slot.home) if slot.home else "",
            }
            for slot in leases.slots
        ],
    }


def _table(mesh: Mesh, live: Live, leases: Leases) -> Table:
    rows = tuple(
        (
            str(slot.number),
            str(slot.term),
            mesh.machine_name(slot.holder) if slot.holder else "<none>",
            f"{slot.granted}/{len(leases.voters)}",
            f"{slot.remaining_ms / 1000:.1f}s" if slot.holder else "",
            mesh.machine_name(slot.home) if slot.home else "",
        )
        for slot in leases.slots
    )
    return Table(("SLOT", "TERM", "HOLDER", "GRANTED BY", "ENDS IN", "VOLUMES ON"), rows)
