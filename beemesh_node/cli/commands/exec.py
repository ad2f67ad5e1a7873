"""`beectl exec`."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from beemesh_node.cli.errors import InvalidInputError
from beemesh_node.cli.options import context_options, examples, namespace_option, output_option
from beemesh_node.cli.output import Format, echo_facts
from beemesh_node.cli.targets import ResourceType, Target, parse_targets

if TYPE_CHECKING:
    from beemesh_node.cli.mesh import Mesh


@click.command(
    name="exec",
    epilog=examples(
        "beectl exec hello-7d4b8c9f5x-k2m9q -- ls -l /",
        "beectl exec -it deployment/hello -- sh",
        "beectl exec -i deployment/db -c postgres -- psql < dump.sql",
    ),
)
@click.argument("target")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND [ARGS]...")
@click.option("-c", "--container", help="Container; the first one if not given.")
@click.option("-i", "--stdin", is_flag=True, help="Send on what is typed or piped in.")
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@context_options
@namespace_option
@output_option(Format.TABLE, Format.JSON)
def exec_(target: str, command: tuple[str, ...], container: str | None, stdin: bool, tty: bool, form: Format) -> None:
    """Run COMMAND in a container of TARGET: a pod, or a workload, of which one pod is taken.

    Ends with the exit code of COMMAND. What is typed and shown is sealed between you and the pod's machine.

    With -o json what COMMAND wrote and its exit code come as one object, and beectl itself ends with 0 once it ran.
    """
    from beemesh_node.cli.mesh import in_mesh

    (parsed,) = parse_targets([target], ResourceType.PODS)
    if tty and form is Format.JSON:
        raise InvalidInputError("-t shows a terminal, which -o json has none of: leave one of them out")
    if tty and not (stdin and sys.stdin.isatty()):
        click.echo("Standard input is no terminal, or -i is missing: running without a terminal.", err=True)
        tty = False
    collecting = form is Format.JSON
    code = in_mesh(
        partial(_exec, target=parsed, command=command, container=container, stdin=stdin, tty=tty, collecting=collecting)
    )
    if code:
        raise click.exceptions.Exit(code)


async def _exec(
    mesh: Mesh,
    *,
    target: Target,
    command: tuple[str, ...],
    container: str | None,
    stdin: bool,
    tty: bool,
    collecting: bool,
) -> int:
    from contextlib import nullcontext

    from beemesh_node.cli.attach import attach, collect
    from beemesh_node.cli.keyboard import raw_mode
    from beemesh_node.cli.pods import find_container, find_pod
    from beemesh_node.protocol.ids import MachineId
    from beemesh_node.protocol.messages import ExecRequest

    pod = await find_pod(mesh, target)
    request = ExecRequest(
        claim=pod.claim,
        container=find_container(pod, container),
        command=command,
        stdin=stdin,
        tty=tty,
        stream_secret=b"",
    )
    async with mesh.session.stream(MachineId(pod.claim.machine), request) as stream:
        subject = f"pod/{pod.pod_name}"
        if collecting:
            ran = await collect(stream, subject, typing=stdin)
            facts = {
                "pod": pod.pod_name,
                "container": request.container,
                "machine": mesh.machine_name(pod.claim.machine),
            }
            echo_facts({**facts, "rc": ran.code, "stdout": ran.stdout, "stderr": ran.stderr}, Format.JSON, "")
            return 0
        with raw_mode() if tty else nullcontext():
            return await attach(stream, subject, typing=stdin, tty=tty)
