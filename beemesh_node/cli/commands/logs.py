"""`beectl logs`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from beemesh_node.cli.options import context_options, duration, examples, namespace_option
from beemesh_node.cli.targets import ResourceType, Target, parse_targets

if TYPE_CHECKING:
    from beemesh_node.cli.mesh import Mesh


@click.command(
    epilog=examples(
        "beectl logs hello-7d4b8c9f5x-k2m9q",
        "beectl logs -f deployment/hello",
        "beectl logs deployment/hello -c web --tail 100 --since 10m",
    )
)
@click.argument("target")
@click.option("-c", "--container", help="Container; the first one if not given.")
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is written.")
@click.option("--tail", type=click.IntRange(min=-1), default=-1, metavar="N", help="Only the last N lines.")
@click.option("--since", type=duration, metavar="TIME", help="Only what was written in the last 10m, say.")
@click.option("-p", "--previous", is_flag=True, help="Of the container before its last restart.")
@click.option("--timestamps", is_flag=True, help="With the time in front of each line.")
@context_options
@namespace_option
def logs(
    target: str,
    container: str | None,
    follow: bool,
    tail: int,
    since: float | None,
    previous: bool,
    timestamps: bool,
) -> None:
    """Print what a container of TARGET writes: a pod, or a workload, of which one pod is taken.

    The output is sealed by the pod's machine to you; machines between cannot read it.
    """
    from beemesh_node.cli.mesh import in_mesh

    (parsed,) = parse_targets([target], ResourceType.PODS)
    in_mesh(
        partial(
            _logs,
            target=parsed,
            container=container,
            follow=follow,
            tail=tail,
            since=since,
            previous=previous,
            timestamps=timestamps,
        )
    )


async def _logs(
    mesh: Mesh,
    *,
    target: Target,
    container: str | None,
    follow: bool,
    tail: int,
    since: float | None,
    previous: bool,
    timestamps: bool,
) -> None:

    from beemesh_node.cli.attach import attach
    from beemesh_node.cli.pods import find_container, find_pod
    from beemesh_node.protocol.ids import MachineId
    from beemesh_node.protocol.messages import LogsRequest

    pod = await find_pod(mesh, target)
    request = LogsRequest(
        claim=pod.claim,
        container=find_container(pod, container),
        follow=follow,
        previous=previous,
        timestamps=timestamps,
        tail=tail,
        since=0 if since is None else max(1, mesh.session.mesh_time_ms - int(since * 1000)),
        stream_secret=b"",
    )
    async with mesh.session.stream(MachineId(pod.claim.machine), request) as stream:
        await attach(stream, f"logs of pod/{pod.pod_name}")
