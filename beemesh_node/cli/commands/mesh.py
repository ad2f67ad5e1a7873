"""`beectl mesh`: creating a mesh, and what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from beemesh_node.cli import context as contexts
from beemesh_node.cli.commands.revoke import rotate_epoch
from beemesh_node.cli.commands.root import root
from beemesh_node.cli.options import context_options, examples, output_option, settings
from beemesh_node.cli.output import Format, echo_facts


@click.group(
    epilog=examples(
        "beectl mesh init --dir ~/.config/beemesh/home --name home",
        "beectl mesh info -o json",
        "beectl mesh join --bundle bundle",
    )
)
def mesh() -> None:
    """Create a mesh, join one as an operator, show which one this is, or renew its secrets."""


mesh.add_command(rotate_epoch)
mesh.add_command(root)


@mesh.command(
    epilog=examples(
        "beectl mesh init --dir ./mesh",
        "beectl mesh init --dir ./mesh --name home --encrypt",
        "BEEMESH_PASSPHRASE_FILE=secret beectl mesh init --dir ./mesh --encrypt",
    )
)
@context_options
@click.option("--name", default="mesh", show_default=True, help="What people call it.")
@click.option("--if-missing", is_flag=True, help="Keep a mesh that is there.")
@click.option("--encrypt", is_flag=True, help="Guard the root's and the operator's key with a passphrase.")
@click.option(
    "--root-key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Take this as the root, made by `beectl keys generate`. It stays where it is and is not copied.",
)
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def init(name: str, if_missing: bool, encrypt: bool, root_key: Path | None, form: Format) -> None:
    """Make a new mesh: its root key, the first operator, who may do everything, and what machines need to join.

    The root key signs who belongs to the mesh. It stays in the directory, which belongs into a safe backup.
    """
    from beemesh_node.cli import authority

    context = contexts.resolve(settings())
    if if_missing and context.settings.is_file():
        loaded = contexts.ContextSettings.load(context)
        done = f"mesh {loaded.name} was in {context.path} already"
        echo_facts({"changed": False, **_facts(context, loaded)}, form, done)
        return
    made = authority.create_mesh(context, name, encrypt=encrypt, root_key=root_key)
    done = (
        f"mesh {made.name} is made in {context.path}\n"
        f"mesh id: {made.mesh_id}\n"
        "Next: let machines join with `ansible-playbook playbooks/join-mesh.yml`. Keep a backup of root.key."
    )
    echo_facts({"changed": True, **_facts(context, made)}, form, done)


@mesh.command(epilog=examples("beectl mesh info", "beectl mesh info --dir ./mesh -o json"))
@context_options
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def info(form: Format) -> None:
    """Show which mesh this is, who signs for it and who is asking."""
    from beemesh_node.cli.operator import load_certificate, load_trust
    from beemesh_node.cli.times import date

    context = contexts.resolve(settings())
    loaded = contexts.ContextSettings.load(context)
    trust = load_trust(context, loaded)
    operator, _ = load_certificate(context, trust)
    facts = {
        **_facts(context, loaded),
        "trust_sequence": trust.sequence,
        "roots": [identity.hex() for identity in trust.roots],
        "epoch": trust.revocations.number,
        "revoked": len(trust.revocations.entries),
        "operator": operator.name,
        "operator_not_after": operator.not_after,
        "namespaces": list(operator.namespaces),
        "verbs": list(operator.verbs),
    }
    lines = (
        f"Name:        {loaded.name}",
        f"Mesh id:     {loaded.mesh_id}",
        f"Directory:   {context.path}",
        f"Roots:       {', '.join(identity.hex()[:16] for identity in trust.roots)} (bundle {trust.sequence})",
        f"Epoch:       {facts['epoch']} ({facts['revoked']} revoked, see `beectl get revocations`)",
        f"Signs here:  {'yes' if facts['signs'] else 'no'}",
        f"Operator:    {operator.name}, until {date(operator.not_after)}",
        f"Namespaces:  {', '.join(operator.namespaces)}",
        f"Verbs:       {', '.join(operator.verbs)}",
        f"Bootstrap:   {', '.join(loaded.bootstrap) or 'none yet: machines are added as they join'}",
    )
    echo_facts(facts, form, "\n".join(lines))


@mesh.command(epilog=examples("beectl mesh join --dir ~/.config/beemesh/home --bundle bundle"))
@context_options
@click.option("--bundle", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@click.option("--name", default="mesh", show_default=True, help="What you call the mesh here.")
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def join(bundle: Path, name: str, form: Format) -> None:
    """Take the bundle that answers `beectl keys request`: from then on the context can be used."""
    from beemesh_node.cli import operator

    context = contexts.resolve(settings())
    joined = operator.take_bundle(context, bundle, name)
    done = f"{context.path} is a context of mesh {joined.mesh_id[:16]} now; try `beectl get machines`"
    echo_facts({"changed": True, **_facts(context, joined)}, form, done)


def _facts(context: contexts.Context, loaded: contexts.ContextSettings) -> dict[str, Any]:
    return {
        "name": loaded.name,
        "mesh_id": loaded.mesh_id,
        "directory": str(context.path),
        "bootstrap": list(loaded.bootstrap),
        "signs": context.root_key.is_file(),
    }
