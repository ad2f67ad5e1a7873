"""`beectl mesh root`: the key that says who belongs to the mesh, and how another one takes over while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from beemesh_node.cli import context as contexts
from beemesh_node.cli.errors import CliError, InvalidInputError
from beemesh_node.cli.options import context_options, examples, output_option, settings
from beemesh_node.cli.output import Format, Table, echo_facts, echo_table, told_lines

if TYPE_CHECKING:
    from beemesh_node.cli.mesh import Mesh
    from beemesh_node.protocol.ids import MachineId


@click.group(
    epilog=examples(
        "beectl mesh root status",
        "beectl mesh root add",
        "beectl cert renew --all",
        "beectl mesh root retire",
    )
)
def root() -> None:
    """Replace the root of the mesh, with a time in which both are believed.

    `add` makes a new root and has all machines trust it beside the old one; from then on it signs. `beectl cert renew
    --all` gives every machine a certificate by it. `retire` ends the old one. Whoever stops in between has a mesh that
    works, and goes on by running the same command again. The id of the mesh stays what it is.
    """


@root.command(epilog=examples("beectl mesh root status", "beectl mesh root status -o json"))
@context_options
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def status(form: Format) -> None:
    """Show which roots are trusted, and under which of them each machine is."""
    from beemesh_node.cli.mesh import in_mesh
    from beemesh_node.cli.rooting import standing

    context = contexts.resolve(settings())

    async def work(mesh: Mesh) -> dict[str, Any]:
        return standing(context, mesh)

    facts = in_mesh(work, steadily=True)
    if form is Format.TABLE:
        for each in facts["roots"]:
            click.echo(f"Root {each['id'][:16]}: {each['state']}")
        rows = tuple(
            (each["kind"], each["name"], each["root"][:16], "yes" if each["renewed"] else "no")
            for each in facts["members"]
        )
        echo_table(Table(("KIND", "NAME", "ROOT", "RENEWED"), rows))
    echo_facts(facts, form, "")


@root.command(epilog=examples("beectl mesh root add", "BEEMESH_PASSPHRASE_FILE=secret beectl mesh root add --encrypt"))
@context_options
@click.option("--encrypt", is_flag=True, help="Guard the new key with a passphrase, as the old one is in any case.")
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def add(encrypt: bool, form: Format) -> None:
    """Make the next root, and have all machines trust it beside the present one."""
    from beemesh_node.cli.mesh import in_mesh, once
    from beemesh_node.cli.rooting import prepare_next
    from beemesh_node.cli.trusting import learn, tell

    context = contexts.resolve(settings())
    extend = prepare_next(context, contexts.ContextSettings.load(context), encrypt=encrypt)

    async def work(mesh: Mesh) -> dict[str, Any]:
        await learn(mesh)
        changed = extend(mesh)
        told = await tell(mesh, context)
        return {"changed": changed, **_roots(mesh), **told.facts}

    facts = in_mesh(lambda mesh: once(work(mesh)))
    since = "is trusted now" if facts["changed"] else "was trusted already"
    lines = [
        f"root {facts['roots'][0][:16]} {since}, beside the old one (bundle {facts['bundle']})",
        *told_lines(facts),
        "Next: `beectl cert renew --all`, then `beectl mesh root retire`. Keep a backup of root.next.key.",
    ]
    echo_facts(facts, form, "\n".join(lines))


@root.command(epilog=examples("beectl mesh root retire", "beectl mesh root retire --stolen"))
@context_options
@click.option("--force", is_flag=True, help="Also while members are under the old root: they are locked out.")
@click.option(
    "--stolen",
    is_flag=True,
    help="The old key is in wrong hands: sign again what was signed under it, and believe nothing else of it.",
)
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def retire(force: bool, stolen: bool, form: Format) -> None:
    """End the old root: certificates by it are believed no more.

    Workloads that were declared under it stay, unless it was --stolen. Members that are still under it are named, and
    nothing is changed, unless you --force it.
    """
    from beemesh_node.cli.mesh import in_mesh, once
    from beemesh_node.cli.rooting import finish, lingering, open_next, retired, sign_past_again
    from beemesh_node.cli.trusting import learn, tell

    context = contexts.resolve(settings())
    following = open_next(context, contexts.ContextSettings.load(context))

    async def work(mesh: Mesh) -> dict[str, Any]:
        await learn(mesh)
        changed = following.root_id in mesh.operator.trust.roots and len(mesh.operator.trust.roots) > 1
        done: list[str] = []
        if changed:
            left = lingering(context, mesh, following)
            if left and not force:
                raise CliError(
                    f"still under the old root: {', '.join(left)}. Renew machines with `beectl cert renew`, operators "
                    "with `beectl keys request` and `beectl cert operator`; or leave them behind with --force"
                )
            if stolen:
                done, failed = await sign_past_again(mesh, following)
                if failed and not force:
                    told = "".join(f"\n  {name}: {why}" for name, why in failed.items())
                    raise CliError(f"not everything under the old root could be signed again:{told}")
            retired(context, mesh, following, stolen=stolen)
        told_to = await tell(mesh, context)
        finish(context, mesh)
        return {"changed": changed, **_roots(mesh), **told_to.facts, "signed_again": done}

    facts = in_mesh(lambda mesh: once(work(mesh)))
    lines = [
        f"root {facts['roots'][0][:16]} is the root of the mesh (bundle {facts['bundle']})",
        *told_lines(facts),
        "The old key lies beside it as root.retired.key: destroy it, in backups too, once you need it no more.",
    ]
    echo_facts(facts, form, "\n".join(lines))


def _roots(mesh: Mesh) -> dict[str, Any]:
    trust = mesh.operator.trust
    return {"bundle": trust.sequence, "roots": [identity.hex() for identity in trust.roots]}


@click.command(
    epilog=examples("beectl cert renew --all", "beectl cert renew web1 web2 -o json", "beectl cert renew --all --again")
)
@context_options
@click.argument("names", nargs=-1, metavar="[MACHINE...]")
@click.option("--all", "everybody", is_flag=True, help="All machines that are reached, and your own as an operator.")
@click.option("--again", is_flag=True, help="Also those that are under the present root already.")
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def renew(names: tuple[str, ...], everybody: bool, again: bool, form: Format) -> None:
    """Give machines new certificates for the keys that they have, over the mesh.

    They go on with it at once: no daemon and no container is restarted. New keys need a new request instead:
    `beemeshd keys generate --renew` on the machine, and `beectl cert sign --renew` here.
    """
    from beemesh_node.cli.authority import open_root
    from beemesh_node.cli.machines import find_machine
    from beemesh_node.cli.mesh import in_mesh, once
    from beemesh_node.cli.renewing import Renewed, renew, renew_own
    from beemesh_node.cli.trusting import believed, learn, tell

    if bool(names) == everybody:
        raise InvalidInputError("give names of machines, or --all")
    context = contexts.resolve(settings())
    signer = open_root(context, contexts.ContextSettings.load(context))

    async def work(mesh: Mesh) -> dict[str, Any]:
        await learn(mesh)
        await tell(mesh, context)
        chosen = list(mesh.session.machines) if everybody else [find_machine(mesh, name).id for name in names]
        stay: list[tuple[MachineId, str]] = []
        turn: list[tuple[MachineId, str]] = []
        for machine in chosen:
            certificate = believed(mesh, machine)
            if certificate is not None:
                done = certificate.issuer == signer.root_id and not again
                (stay if done else turn).append((machine, certificate.name))
        outcomes = await renew(context, mesh, signer, [machine for machine, _ in turn])
        own = mesh.operator.certificate
        if everybody and (own.issuer != signer.root_id or again):
            outcomes.append(renew_own(context, mesh, signer))
        return _renewed(outcomes, [name for _, name in stay])

    def _renewed(outcomes: list[Renewed], stay: list[str]) -> dict[str, Any]:
        return {
            "changed": any(each.serial for each in outcomes),
            "root": signer.root_id.hex(),
            "renewed": [
                {"name": each.name, "serial": each.serial, "replaced": each.replaced}
                for each in outcomes
                if each.serial
            ],
            "unchanged": sorted(stay),
            "failed": {each.name: each.why_not for each in outcomes if not each.serial},
        }

    facts = in_mesh(lambda mesh: once(work(mesh)))
    lines = [f"{each['name']} renewed" for each in facts["renewed"]]
    lines += [f"{name} is under this root already" for name in facts["unchanged"]]
    lines += [f"{name} NOT renewed: {why}" for name, why in facts["failed"].items()]
    echo_facts(facts, form, "\n".join(lines))
    if facts["failed"]:
        raise CliError(f"{len(facts['failed'])} certificates are not renewed: run this again when they can be reached")
