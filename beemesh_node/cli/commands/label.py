"""`beectl label`: labels of machines, changed while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from beemesh_node.cli.errors import CliError
from beemesh_node.cli.options import context_options, examples, output_option
from beemesh_node.cli.output import Format, echo_facts, echo_lines
from beemesh_node.cli.terminal import note

if TYPE_CHECKING:
    from beemesh_node.cli.labelling import Labelling
    from beemesh_node.cli.machines import NamedMachine
    from beemesh_node.cli.mesh import Mesh
    from beemesh_node.protocol.messages import LabelReply


@click.command(
    epilog=examples(
        "beectl label machine oak disk=ssd",
        "beectl label machine/oak machine/elm disk=nvme --overwrite",
        "beectl label oak disk-",
        "beectl label machines -l class=iot window=night --dry-run",
    )
)
@click.argument("words", nargs=-1, required=True, metavar="[MACHINE...] KEY=VALUE|KEY-...")
@click.option("--overwrite", is_flag=True, help="Give labels that are there another value.")
@click.option("-l", "--selector", metavar="LABELS", help="The machines that have these labels, instead of names.")
@click.option("--all", "everyone", is_flag=True, help="All machines.")
@click.option("--dry-run", is_flag=True, help="Only have the machines say what would change.")
@context_options
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def label(
    words: tuple[str, ...], overwrite: bool, selector: str | None, everyone: bool, dry_run: bool, form: Format
) -> None:
    """Set labels of machines (KEY=VALUE), or remove them (KEY-). They hold until changed again, over restarts too.

    Workloads select machines by labels; what runs already stays where it is, as in Kubernetes. What is set here goes
    before beemeshd.yaml, and KEY- also hides a label of that file. Labels of the certificate go before both and cannot
    be changed here, and only they are more than the machine's own word.

    Takes the verb label for every namespace in your certificate.
    """
    from beemesh_node.cli.labelling import read_labelling
    from beemesh_node.cli.mesh import in_mesh

    wanted = read_labelling(words, selector, everyone=everyone, overwrite=overwrite, dry_run=dry_run)
    chosen: list[NamedMachine] = []
    done: dict[str, dict[str, Any]] = {}
    failed = in_mesh(lambda mesh: _label(mesh, wanted, chosen, done, form), steadily=True)
    if done or not failed:
        facts = {"machines": list(done.values()), **({"dryRun": True} if dry_run else {})}
        echo_facts(facts, form, "")
    if not done and not failed:
        note("No machine has these labels.")
    if failed:
        first, *others = failed.values()
        for other in others:
            other.show()
        raise first


async def _label(
    mesh: Mesh, wanted: Labelling, chosen: list[NamedMachine], done: dict[str, dict[str, Any]], form: Format
) -> dict[str, CliError]:
    """Order it of each machine that has not done it yet; return who has not, and why.

    The machines are `chosen` once: a selector may not fit any more what was labelled before a connection was lost.
    """
    from beemesh_node.cli.labelling import order_labels

    failed: dict[str, CliError] = {}
    if not chosen:
        chosen.extend(wanted.machines(mesh))
    for machine in chosen:
        if machine.id in done:
            continue
        try:
            reply = await order_labels(mesh, machine, wanted.order)
        except CliError as error:
            failed[machine.id] = error
            continue
        changed = reply.before != reply.after
        labels = {"before": dict(sorted(reply.before.items())), "labels": dict(sorted(reply.after.items()))}
        done[machine.id] = {"machine": machine.name, "changed": changed, **labels}
        if form is Format.TABLE:
            echo_lines(_told(machine.name, wanted, reply))
    return failed


def _told(name: str, wanted: Labelling, reply: LabelReply) -> list[str]:
    """What kubectl would say."""
    lines = [f'label "{key}" not found.' for key in wanted.order.removed if key not in reply.before]
    word = "not labeled"
    if reply.before != reply.after:
        word = "unlabeled" if set(reply.after.items()) < set(reply.before.items()) else "labeled"
    return [*lines, f"node/{name} {word}{' (dry run)' if wanted.order.dry_run else ''}"]
