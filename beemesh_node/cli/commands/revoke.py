"""`beectl cert revoke` and `beectl mesh rotate-epoch`: who belongs to the mesh no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from beemesh_node.cli import context as contexts
from beemesh_node.cli.errors import InvalidInputError
from beemesh_node.cli.options import context_options, examples, output_option, settings
from beemesh_node.cli.output import Format, echo_facts, told_lines

if TYPE_CHECKING:
    from beemesh_node.cli.mesh import Mesh

_by_option = click.option(
    "--by",
    type=click.Choice(["root", "operator"]),
    help="Who signs: the root (where there is one), or you as an operator with the verb revoke.",
)


@click.command(
    epilog=examples(
        "beectl cert revoke web3 --reason stolen",
        "beectl cert revoke operator/ann machine/web4",
        "beectl cert revoke serial/6120741392118053265",
        "beectl cert revoke web3 --dry-run",
        "beectl cert revoke --superseded",
    )
)
@context_options
@click.argument("members", nargs=-1, metavar="NAME|ID|SERIAL...")
@click.option(
    "--superseded",
    is_flag=True,
    help="All certificates for keys that their members have replaced, as far as no member uses them any more.",
)
@click.option("--reason", default="", metavar="TEXT", help="Kept in the list, for people.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done, and what they can read.")
@_by_option
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def revoke(
    members: tuple[str, ...], superseded: bool, reason: str, dry_run: bool, by: str | None, form: Format
) -> None:
    """Believe machines or operators no more, from now on and for good.

    A NAME (also machine/NAME, operator/NAME) or ID means the member with all its certificates; a SERIAL only that one
    certificate, such as the one before a renewal. What was revoked never comes back: give the member new keys instead.

    What a revoked machine ran is placed anew. Workloads that a revoked operator declared go on: you sign them again by
    this. Printed are the workloads that the member could read, so that you can replace their Secrets.
    """
    from beemesh_node.cli.mesh import in_mesh, once
    from beemesh_node.cli.revoking import (
        find_superseded,
        find_suspects,
        is_revoked,
        owned_by,
        peers_of,
        revocation,
        sign_again,
        what_they_held,
    )
    from beemesh_node.cli.survey import survey
    from beemesh_node.cli.trusting import Author, learn, new_epoch, root_for_lists, tell

    if bool(members) == superseded:
        raise InvalidInputError("give names, ids or serials, or --superseded")
    context = contexts.resolve(settings())
    root = root_for_lists(context, contexts.ContextSettings.load(context), by)

    async def work(mesh: Mesh) -> dict[str, Any]:
        author = Author.of_root(root) if root is not None else Author.of_operator(mesh.operator)
        await learn(mesh)
        trust = mesh.operator.trust
        suspects, left = find_superseded(context, mesh) if superseded else (find_suspects(context, mesh, members), ())
        fresh = [suspect for suspect in suspects if not is_revoked(suspect, trust.revocations)]
        exposed = await what_they_held(mesh, suspects)
        seen = await survey(mesh.session, mesh.chain)
        owned = owned_by(seen, suspects)
        facts: dict[str, Any] = {
            "changed": bool(fresh or owned),
            "epoch": trust.revocations.number + (1 if dry_run and fresh else 0),
            "revoked": [{**suspect.facts, "changed": suspect in fresh} for suspect in suspects],
            "exposed": [each.facts for each in exposed],
        }
        if superseded:
            facts["in_use"] = [suspect.facts for suspect in left]
        if dry_run:
            again = ["/".join((each.key[0], each.key[1].lower(), each.key[2])) for each in owned]
            return {**facts, "told": [], "untold": [], "signed_again": again, "not_signed_again": {}}
        if fresh:
            added = [revocation(suspect, mesh.session.mesh_time_ms, reason) for suspect in fresh]
            new_epoch(context, mesh, author, added)
        told = await tell(mesh, context)
        done, failed = await sign_again(mesh, owned)
        return {
            **facts,
            "epoch": trust.revocations.number,
            **told.facts,
            "signed_again": done,
            "not_signed_again": failed,
        }

    facts = in_mesh(lambda mesh: once(work(mesh)), avoid=peers_of(context, members))
    echo_facts(facts, form, _text(facts, dry_run=dry_run))


@click.command(
    "rotate-epoch", epilog=examples("beectl mesh rotate-epoch", "beectl mesh rotate-epoch --by operator -o json")
)
@context_options
@_by_option
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def rotate_epoch(by: str | None, form: Format) -> None:
    """Give all machines a new secret for what is meant for all of them.

    Nobody is revoked by it. A machine that is away gets it from whichever machine it meets when it is back.
    """
    from beemesh_node.cli.mesh import in_mesh, once
    from beemesh_node.cli.trusting import Author, learn, new_epoch, root_for_lists, tell

    context = contexts.resolve(settings())
    root = root_for_lists(context, contexts.ContextSettings.load(context), by)

    async def work(mesh: Mesh) -> dict[str, Any]:
        author = Author.of_root(root) if root is not None else Author.of_operator(mesh.operator)
        await learn(mesh)
        new_epoch(context, mesh, author, ())
        told = await tell(mesh, context)
        return {"changed": True, "epoch": mesh.operator.trust.revocations.number, **told.facts}

    facts = in_mesh(lambda mesh: once(work(mesh)))
    lines = [f"epoch {facts['epoch']} has begun", *told_lines(facts)]
    echo_facts(facts, form, "\n".join(lines))


def _text(facts: dict[str, Any], *, dry_run: bool) -> str:
    lines = []
    for each in facts["revoked"]:
        done = ("would be revoked" if dry_run else "revoked") if each["changed"] else "was revoked already"
        serial = f" certificate {each['serial']}" if each["serial"] else ""
        lines.append(f"{each['kind']}/{each['name'] or each['machine_id']}{serial} {done}")
    for each in facts.get("in_use", ()):
        lines.append(
            f"{each['kind']}/{each['name']} certificate {each['serial']} is in use: have it join with its new keys, "
            "and run this again"
        )
    if "in_use" in facts and not (facts["revoked"] or facts["in_use"]):
        lines.append("no certificate for replaced keys is left")
    lines.append(f"epoch {facts['epoch']} {'would begin' if dry_run else 'is in force'}")
    if not dry_run:
        lines += told_lines(facts)
    if facts["signed_again"]:
        lines.append(f"signed again by you: {', '.join(facts['signed_again'])}")
    for name, why in facts["not_signed_again"].items():
        lines.append(f"NOT signed again: {name}: {why}; run this again once it is so")
    if facts["exposed"]:
        lines.append("They could read what these workloads contain; replace their Secrets:")
        for each in facts["exposed"]:
            lines.append(f"  {each['namespace']}/{each['kind'].lower()}/{each['name']} ({', '.join(each['as'])})")
    return "\n".join(lines)
