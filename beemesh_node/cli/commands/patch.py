"""`beectl patch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from beemesh_node.cli.errors import InvalidInputError
from beemesh_node.cli.manifests import read
from beemesh_node.cli.options import context_options, examples, namespace_option, output_option, timeout_option
from beemesh_node.cli.output import Format
from beemesh_node.cli.targets import DECLARED, ResourceType, parse_targets

if TYPE_CHECKING:
    from beemesh_node.cli.mesh import Mesh
    from beemesh_node.cli.workload_client import Outcome


@click.command(
    epilog=examples(
        """beectl patch deployment/hello -p '{"spec": {"replicas": 3}}'""",
        "beectl patch deployment/hello --patch-file image.yml --wait",
        """beectl patch deployment/hello --type json -p '[{"op": "remove", "path": "/spec/minReadySeconds"}]'""",
    )
)
@click.argument("target", metavar="KIND/NAME")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["strategic", "merge", "json"]),
    default="strategic",
    show_default=True,
    help="strategic merges lists by name, merge (RFC 7386) replaces them, json (RFC 6902) is a list of operations.",
)
@click.option("-p", "--patch", metavar="PATCH", help="The patch, as JSON or YAML.")
@click.option("--patch-file", metavar="FILE|-", help="A file with the patch, or - for standard input.")
@click.option(
    "--dry-run", type=click.Choice(["none", "server"]), default="none", show_default=True, help="Only try it."
)
@click.option("--wait", is_flag=True, help="Wait until all replicas run as declared.")
@timeout_option
@context_options
@namespace_option
@output_option(Format.TABLE, Format.JSON, Format.YAML, Format.NAME)
def patch(
    target: str,
    kind: str,
    patch: str | None,
    patch_file: str | None,
    dry_run: str,
    wait: bool,
    timeout: float,
    form: Format,
) -> None:
    """Change some fields of a declared workload, and nothing else.

    A patch with metadata.resourceVersion is refused when the workload has been changed since. ConfigMaps and Secrets
    that came with the workload stay; to change one, apply it with its workload.
    """
    from beemesh_node.cli.declaring import declare
    from beemesh_node.cli.workload_client import WorkloadClient
    from beemesh_node.workloads.documents import read_documents
    from beemesh_node.workloads.patching import PatchType

    (meant,) = parse_targets([target], ResourceType.WORKLOADS)
    if meant.resource not in DECLARED or not meant.name:
        raise InvalidInputError(f"{target} cannot be patched: name a workload, for example deployment/hello")
    if (patch is None) == (patch_file is None):
        raise InvalidInputError("give the patch with either -p or --patch-file")
    data = read([patch_file])[0][1] if patch_file is not None else (patch or "").encode()
    documents = read_documents(data, "patch")
    if len(documents) != 1:
        raise InvalidInputError(f"patch: {len(documents)} documents: give one")

    async def change(mesh: Mesh, report: Callable[[Outcome], None]) -> None:
        client = WorkloadClient(mesh)
        live = await client.find(mesh.namespace, meant.resource.kind, meant.name)
        report(await client.patch(live, documents[0][1], PatchType(kind), dry_run=dry_run == "server"))

    tried = dry_run == "server"
    declare(change, dry_run=tried, wait=timeout if wait and not tried else None, form=form)
