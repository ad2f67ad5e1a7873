"""What apply and patch do around their change: say what was done, wait for it, and look where it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import click
import trio

from beemesh_node.cli.errors import CliError
from beemesh_node.cli.following import View, look
from beemesh_node.cli.mesh import Mesh, in_mesh, once
from beemesh_node.cli.outcomes import forecast_lines, outcome_facts
from beemesh_node.cli.output import Format, echo_facts
from beemesh_node.cli.progress import progress
from beemesh_node.cli.shapes import Shape
from beemesh_node.cli.terminal import note
from beemesh_node.cli.waiting import wait_for_rollout
from beemesh_node.cli.workload_client import UNCHANGED, Outcome
from beemesh_node.messaging.errors import MeshError
from beemesh_node.protocol.errors import ProtocolError

Change = Callable[[Mesh, Callable[[Outcome], None]], Awaitable[None]]
"""Makes changes, telling of each."""

_LOOK_WITHIN = 5.0
"""Seconds that looking where replicas are may take."""
_SUFFIX = {True: " (server dry run)", False: ""}


def declare(change: Change, *, dry_run: bool, wait: float | None, form: Format) -> None:
    """Do `change` once, whatever becomes of the connection, and then `wait` so many seconds for what it declared."""
    outcomes: list[Outcome] = []
    facts: Shape = {}
    made = False

    async def work(mesh: Mesh) -> None:
        nonlocal made, facts
        try:
            if not made:
                with progress("Asking the mesh what it has"):
                    await once(change(mesh, lambda each: _report(each, mesh, outcomes, dry_run=dry_run, form=form)))
                made = True
            if wait is not None:
                with progress("Waiting until all replicas run") as line:
                    for outcome in outcomes:
                        if outcome.spec is not None:
                            await wait_for_rollout(mesh, outcome.attested, outcome.spec, wait, line.say)
        finally:
            if outcomes and form in (Format.JSON, Format.YAML):
                with trio.CancelScope(shield=True):
                    facts = outcome_facts(outcomes, mesh, await _look(mesh, outcomes, dry_run=dry_run))

    try:
        in_mesh(work, steadily=True)
    finally:
        if outcomes:
            echo_facts(facts, form, "")


async def _look(mesh: Mesh, outcomes: Sequence[Outcome], *, dry_run: bool) -> dict[str, View]:
    """How those declarations stand that are in force. Not to know is no failure: the change is made."""
    found: dict[str, View] = {}
    try:
        with trio.move_on_after(_LOOK_WITHIN):
            for outcome in outcomes:
                record = outcome.attested.record
                if not record.deleted and (not dry_run or outcome.action == UNCHANGED):
                    found[record.uid] = await look(mesh, record)
    except* (CliError, MeshError, ProtocolError) as group:
        note(f"Where replicas are is not known: {group.exceptions[0]}")
    return found


def _report(outcome: Outcome, mesh: Mesh, outcomes: list[Outcome], *, dry_run: bool, form: Format) -> None:
    outcomes.append(outcome)
    for warning in outcome.warnings:
        click.echo(f"Warning: {warning}", err=True)
    record = outcome.attested.record
    if form in (Format.TABLE, Format.NAME):
        name = title(record.kind, record.name)
        click.echo(name if form is Format.NAME else f"{name} {outcome.action}{_SUFFIX[dry_run]}")
    if form is Format.TABLE:
        for line in forecast_lines(outcome, mesh):
            click.echo(line)


def title(kind: str, name: str) -> str:
    """`deployment.apps/hello`."""
    group = "" if kind == "Pod" else ".apps"
    return f"{kind.lower()}{group}/{name}"
