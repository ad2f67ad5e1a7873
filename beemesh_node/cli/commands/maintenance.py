"""`beectl cordon`, `uncordon` and `drain`: machines out of use and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from beemesh_node.cli.errors import InvalidInputError
from beemesh_node.cli.options import context_options, examples, output_option, timeout_option
from beemesh_node.cli.output import Format, echo_facts
from beemesh_node.cli.terminal import note
from beemesh_node.protocol.messages import Maintenance

if TYPE_CHECKING:
    from beemesh_node.cli.mesh import Mesh

_machines = click.argument("names", nargs=-1, required=True, metavar="MACHINE...")
_output = output_option(Format.TABLE, Format.JSON, Format.YAML)


@click.command(epilog=examples("beectl cordon oak", "beectl cordon oak elm"))
@_machines
@context_options
@_output
def cordon(names: tuple[str, ...], form: Format) -> None:
    """Have machines take no new work. What runs there goes on. It holds until `uncordon`, over restarts too.

    Takes the verb cordon for every namespace in your certificate.
    """
    _set(names, Maintenance.CORDON, "cordoned", form)


@click.command(epilog=examples("beectl uncordon oak"))
@_machines
@context_options
@_output
def uncordon(names: tuple[str, ...], form: Format) -> None:
    """Have machines take work again. A drain that is not over ends: what has not been moved stays."""
    _set(names, Maintenance.NONE, "uncordoned", form)


@click.command(
    epilog=examples(
        "beectl drain oak",
        "beectl drain oak --grace-period 10 --timeout 2m",
        "beectl drain oak --force",
        "beectl drain oak --dry-run",
    )
)
@click.argument("name", metavar="MACHINE")
@click.option(
    "--grace-period",
    type=click.IntRange(min=-1),
    default=-1,
    metavar="SECONDS",
    help="How long each pod has to end, instead of what its manifest says.",
)
@click.option("--force", is_flag=True, help="End what no other machine can take; it waits until one can.")
@click.option("--dry-run", is_flag=True, help="Only show what would be moved.")
@timeout_option
@context_options
@_output
def drain(name: str, grace_period: int, force: bool, dry_run: bool, timeout: float, form: Format) -> None:
    """Cordon a machine and move everything that runs there to others.

    For each replica another one is placed, and has to be ready, before the first one ends, as in a rollout. Where
    maxSurge is 0, and for a Pod, the first ends as soon as another machine has room.

    The machine goes on by itself: Ctrl-C only stops the watching, running drain again goes on with it, and `uncordon`
    ends it. Exit code 4 when it is not over in time. Takes the verbs cordon and drain for every namespace.
    """
    from beemesh_node.cli.draining import Drain
    from beemesh_node.cli.machines import find_machine
    from beemesh_node.cli.mesh import in_mesh
    from beemesh_node.cli.progress import progress

    began = False

    async def work(mesh: Mesh) -> dict[str, Any]:
        nonlocal began
        machine = find_machine(mesh, name)
        drain = Drain(mesh, machine, grace_period, _printer(form))
        if dry_run:
            return {"machine": machine.name, "pods": [each.facts for each in await drain.pods()], "dryRun": True}
        began = True
        with progress(f"Draining {machine.name}") as line:
            return await drain.run(timeout, line.say, force=force)

    try:
        facts = in_mesh(work, steadily=True)
    except KeyboardInterrupt:
        if began:
            note(f"{name} goes on draining; `beectl drain {name}` watches again, `beectl uncordon {name}` ends it.")
        raise
    if dry_run and form is Format.TABLE:
        for pod in facts["pods"]:
            click.echo(f"pod {pod['namespace']}/{pod['pod']} would be moved")
    echo_facts(facts, form, "")


def _set(names: tuple[str, ...], mode: Maintenance, word: str, form: Format) -> None:
    from beemesh_node.cli.machines import find_machine, maintain
    from beemesh_node.cli.mesh import in_mesh

    if len(set(names)) != len(names):
        raise InvalidInputError("name each machine once")
    done: dict[str, dict[str, Any]] = {}

    async def work(mesh: Mesh) -> None:
        machines = [find_machine(mesh, name) for name in names]
        for machine in machines:
            if machine.id in done:
                continue
            before = machine.cordoned
            await maintain(mesh, machine, mode)
            changed = before is not (mode is Maintenance.CORDON)
            done[machine.id] = {"machine": machine.name, "unschedulable": mode > Maintenance.NONE, "changed": changed}
            _printer(form)(f"node/{machine.name} {'' if changed else 'already '}{word}")

    in_mesh(work, steadily=True)
    echo_facts({"machines": list(done.values())}, form, "")


def _printer(form: Format) -> Any:
    return click.echo if form is Format.TABLE else _nothing


def _nothing(_: str) -> None:
    """Programs get the facts at the end."""
