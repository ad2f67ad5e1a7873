"""`beectl keys`: the keys of this context, and key files by their path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from beemesh_node.cli import context as contexts
from beemesh_node.cli.options import context_options, examples, hexadecimal, output_option, settings
from beemesh_node.cli.output import Format, Table, echo_facts, echo_table


@click.group(
    epilog=examples(
        "beectl keys show",
        "beectl keys passphrase",
        "beectl keys request --dir ~/.config/beemesh/shop --mesh HEX --out request",
        "beectl keys generate root.key --kind mesh-root --encrypt",
    )
)
def keys() -> None:
    """Show the keys of a context, change their passphrase, ask for a certificate, or make and check key files."""


@keys.command(epilog=examples("beectl keys show", "beectl keys show -o json"))
@context_options
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def show(form: Format) -> None:
    """List the key files with their fingerprints. Needs no passphrase."""
    from beemesh_node.crypto.keystore import inspect

    context = contexts.resolve(settings())
    found: list[dict[str, Any]] = []
    for path in (context.root_key, context.operator_key):
        if path.exists():
            summary = inspect(path)
            fingerprint = summary.fingerprint.hex()
            found.append(
                {
                    "file": str(path),
                    "kind": str(summary.kind),
                    "fingerprint": fingerprint,
                    "encrypted": summary.encrypted,
                }
            )
    if form is Format.TABLE:
        rows = tuple(
            (Path(key["file"]).name, key["kind"], "yes" if key["encrypted"] else "no", key["fingerprint"])
            for key in found
        )
        echo_table(Table(("FILE", "KIND", "ENCRYPTED", "FINGERPRINT"), rows))
    else:
        echo_facts({"keys": found}, form, "")


@keys.command(
    epilog=examples(
        "beectl keys passphrase",
        "beectl keys passphrase --remove",
    )
)
@context_options
@click.option("--remove", is_flag=True, help="Leave the keys to the protection of the file system alone.")
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def passphrase(remove: bool, form: Format) -> None:
    """Give the keys of the context a passphrase, another one, or none.

    The present one is asked for, or read from the file that BEEMESH_PASSPHRASE_FILE names; the new one is typed, or
    read from the file that BEEMESH_NEW_PASSPHRASE_FILE names.
    """
    from beemesh_node.cli import passphrase as passphrases
    from beemesh_node.crypto.armour import KeyKind
    from beemesh_node.crypto.keystore import inspect, load_identity, load_root, save_identity, save_root

    context = contexts.resolve(settings())
    paths = [path for path in (context.root_key, context.operator_key) if path.exists()]
    present = passphrases.existing(paths[0]) if any(inspect(path).encrypted for path in paths) else None
    fresh = None if remove else passphrases.typed(context.operator_key)
    # Both are opened before one is written: a wrong passphrase changes nothing.
    root = load_root(context.root_key, present) if context.root_key in paths else None
    identity = load_identity(context.operator_key, KeyKind.OPERATOR, present)
    if root is not None:
        save_root(context.root_key, root, fresh, replace=True)
    save_identity(context.operator_key, KeyKind.OPERATOR, identity, fresh, replace=True)
    done = f"the keys in {context.path} are {'not encrypted any more' if remove else 'encrypted anew'}"
    echo_facts({"changed": True, "encrypted": not remove}, form, done)


@keys.command(
    epilog=examples(
        "beectl keys request --dir ~/.config/beemesh/shop --mesh HEX --out request",
        "beectl keys request --dir ~/.config/beemesh/shop --mesh HEX --out request --encrypt",
    )
)
@context_options
@click.option("--mesh", required=True, metavar="HEX", help="Id of the mesh, as `beectl mesh info` shows it.")
@click.option("--nonce", metavar="HEX", help="What the signer asked to see again.")
@click.option("--encrypt", is_flag=True, help="Guard new keys with a passphrase.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def request(mesh: str, nonce: str | None, encrypt: bool, out: Path, form: Format) -> None:
    """Make an operator's keys, unless the context has them, and ask for a certificate.

    Whoever holds the root answers with `beectl cert operator`; `beectl mesh join` takes the answer.
    """
    from beemesh_node.cli import operator
    from beemesh_node.protocol.request import NONCE_SIZE, new_nonce

    context = contexts.resolve(settings())
    answered = new_nonce() if nonce is None else hexadecimal(nonce, NONCE_SIZE, "--nonce")
    identity = operator.make_request(context, hexadecimal(mesh, 32, "--mesh"), answered, out, encrypt=encrypt)
    facts = {"changed": True, "peer_id": identity.peer.peer_id, "request": str(out)}
    done = f"wrote {out}: have it signed with `beectl cert operator`, then take the answer with `beectl mesh join`"
    echo_facts(facts, form, done)


@keys.command(
    epilog=examples(
        "beectl keys generate root.key --kind mesh-root --encrypt",
        "beectl keys generate /var/lib/beemesh/machine.key --kind machine",
    )
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--kind", required=True, type=click.Choice(["machine", "operator", "mesh-root"]), help="Whose key it is.")
@click.option("--encrypt", is_flag=True, help="Guard it with a passphrase.")
@click.option("--replace", is_flag=True, help="Make it anew where there is one. The old one is lost.")
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def generate(file: Path, kind: str, encrypt: bool, replace: bool, form: Format) -> None:
    """Make a key in FILE, readable by its owner alone. What is there already stays, unless --replace is given.

    A machine makes its own with `beemeshd keys generate`, and `beectl mesh init` makes those of a mesh.
    """
    from beemesh_node.cli import keyfiles
    from beemesh_node.crypto.armour import KeyKind

    made = keyfiles.generate(file, KeyKind(kind), encrypt=encrypt, replace=replace)
    echo_facts(made, form, f"made a {kind} key in {file}, fingerprint {made['fingerprint']}")


@keys.command(epilog=examples("beectl keys inspect root.key", "beectl keys inspect root.key --unlock -o json"))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--unlock", is_flag=True, help="Also find out whether its passphrase is right, and its public halves.")
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def inspect(file: Path, unlock: bool, form: Format) -> None:
    """Show what the key in FILE is, and that it is whole. Nothing private is shown.

    A key without a passphrase is always unlocked. Exit code 3 says that the passphrase is missing or wrong.
    """
    from beemesh_node.cli import keyfiles

    facts = keyfiles.look(file, unlock=unlock)
    shown = {key: value for key, value in facts.items() if key != "public_key"}  # 1,952 bytes are nothing for people
    echo_facts(facts, form, "\n".join(f"{key + ':':<14}{value}" for key, value in shown.items()))
