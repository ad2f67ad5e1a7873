"""`beectl context`: which mesh commands mean when they do not say."""

from __future__ import annotations

import click

from beemesh_node.cli import context as contexts
from beemesh_node.cli.options import context_options, examples, output_option, settings
from beemesh_node.cli.output import Format, Table, echo_facts, echo_lines, echo_table


@click.group(
    epilog=examples(
        "beectl context list",
        "beectl context use production",
        "beectl context show -o json",
    )
)
def context() -> None:
    """Choose between meshes."""


@context.command(name="list")
@output_option(Format.TABLE, Format.JSON, Format.YAML, Format.NAME)
def list_(form: Format) -> None:
    """List the named contexts; a star marks the current one."""
    current = contexts.current_name()
    known = [(name, contexts.ContextSettings.load(contexts.named(name))) for name in contexts.names()]
    if form is Format.NAME:
        echo_lines(name for name, _ in known)
        return
    if form is Format.TABLE:
        rows = tuple(
            ("*" if name == current else "", name, loaded.name, loaded.mesh_id[:16], loaded.namespace)
            for name, loaded in known
        )
        echo_table(Table(("CURRENT", "NAME", "MESH", "MESH ID", "NAMESPACE"), rows))
        return
    facts = [
        {"name": name, "current": name == current, "mesh": loaded.name, "meshId": loaded.mesh_id}
        for name, loaded in known
    ]
    echo_facts({"contexts": facts}, form, "")


@context.command()
@click.argument("name")
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def use(name: str, form: Format) -> None:
    """Make NAME the context of later commands."""
    changed = contexts.current_name() != name
    contexts.use(name)
    echo_facts({"changed": changed, "context": name}, form, f"context {name} is the current one")


@context.command()
@context_options
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def show(form: Format) -> None:
    """Show the context that commands use here, and where it lies."""
    chosen = contexts.resolve(settings())
    loaded = contexts.ContextSettings.load(chosen)
    facts = {
        "directory": str(chosen.path),
        "mesh": loaded.name,
        "meshId": loaded.mesh_id,
        "namespace": loaded.namespace,
        "bootstrap": list(loaded.bootstrap),
        "signsCertificates": chosen.root_key.is_file(),
    }
    lines = [
        f"Directory:   {chosen.path}",
        f"Mesh:        {loaded.name} ({loaded.mesh_id})",
        f"Namespace:   {loaded.namespace}",
        f"Bootstrap:   {', '.join(loaded.bootstrap) or 'none yet'}",
        f"Root key:    {'here' if chosen.root_key.is_file() else 'elsewhere'}",
    ]
    echo_facts(facts, form, "\n".join(lines))


@context.command(name="add-address", epilog=examples("beectl context add-address /ip4/192.0.2.7/tcp/7400/p2p/PEER"))
@context_options
@click.argument("addresses", nargs=-1, required=True, metavar="MULTIADDR...")
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def add_address(addresses: tuple[str, ...], form: Format) -> None:
    """Note addresses through which the mesh can be entered."""
    from beemesh_node.network.addresses import parse_with_peer

    chosen = contexts.resolve(settings())
    loaded = contexts.ContextSettings.load(chosen)
    for address in addresses:
        parse_with_peer(address)
    extended = loaded.with_bootstrap(addresses)
    changed = set(extended.bootstrap) != set(loaded.bootstrap)
    extended.save(chosen)
    done = f"{chosen.path} knows {len(extended.bootstrap)} addresses"
    echo_facts({"changed": changed, "bootstrap": list(extended.bootstrap)}, form, done)
