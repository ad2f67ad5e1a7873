"""`beectl cert`: who belongs to the mesh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from beemesh_node.cli import context as contexts
from beemesh_node.cli.commands.revoke import revoke
from beemesh_node.cli.commands.root import renew
from beemesh_node.cli.commands.terms import Terms, terms_options
from beemesh_node.cli.errors import InvalidInputError
from beemesh_node.cli.options import context_options, examples, hexadecimal, output_option, pairs, settings
from beemesh_node.cli.output import Format, echo_facts

if TYPE_CHECKING:
    from beemesh_node.protocol.certificate import Certificate
    from beemesh_node.protocol.root import Profile

_LEDGER = ("machine_id", "peer_id", "serial", "not_before", "not_after", "labels", "guardian", "namespaces", "verbs")
"""What is told of a certificate that stays: all that the ledger knows of it and that is of use."""

_request_option = click.option(
    "--request",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="What `beemeshd keys request` or `beectl keys request` wrote.",
)
_nonce_option = click.option(
    "--nonce", metavar="HEX", help="What the request must carry; without it a request of any age is signed."
)
_out_option = click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write the join bundle, which only the maker of the request can open.",
)
_renew_option = click.option(
    "--renew", "same", is_flag=True, help="It is the same member with new keys: it keeps its id, and all it holds."
)
_root_option = click.option(
    "--root",
    "which",
    type=click.Choice(["present", "next"]),
    help="Which root signs while two are trusted; by default the next one.",
)
_bootstrap_option = click.option(
    "--bootstrap",
    multiple=True,
    metavar="MULTIADDR",
    help="A machine to meet first, as /ip4/192.0.2.7/tcp/7400/p2p/PEER. May be repeated.",
)


@click.group(
    epilog=examples(
        "beectl cert sign --request request --role machine --name web1 --out bundle",
        "beectl cert operator --request request --name ci --namespace shop --verb get --verb apply --out bundle",
        "beectl cert inspect machine.cert",
        "beectl cert renew --all",
        "beectl cert revoke web3 --reason stolen",
    )
)
def cert() -> None:
    """Sign, renew, revoke and inspect certificates: who belongs to the mesh."""


cert.add_command(renew)
cert.add_command(revoke)


@cert.command(
    epilog=examples(
        "beectl cert sign --request request --role machine --name web1 --label region=eu --out bundle",
        "beectl cert sign --request request --role machine --name sensor --no-guardian --out bundle",
        "beectl cert sign --request request --name web1 --out bundle --if-changed --ending-within 30d --not-after +2w",
    )
)
@context_options
@_request_option
@click.option("--role", type=click.Choice(["machine"]), default="machine", show_default=True)
@click.option("--name", required=True, metavar="HOST", help="What the machine is called.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label to be believed. May be repeated.")
@click.option("--no-guardian", is_flag=True, help="Never make it responsible for workloads.")
@_bootstrap_option
@click.option(
    "--address", "addresses", multiple=True, metavar="MULTIADDR", help="Where this machine itself is reached, by you."
)
@_nonce_option
@_renew_option
@_root_option
@terms_options
@_out_option
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def sign(
    request: Path,
    role: str,
    name: str,
    labels: tuple[str, ...],
    no_guardian: bool,
    bootstrap: tuple[str, ...],
    addresses: tuple[str, ...],
    nonce: str | None,
    same: bool,
    which: str | None,
    terms: Terms,
    out: Path,
    form: Format,
) -> None:
    """Sign the request of a machine, and write the bundle with which it joins.

    Name and labels come from you, never from the request. The addresses become yours too: through them beectl enters.
    """
    from beemesh_node.protocol.root import MachineProfile

    profile = MachineProfile(name, pairs(labels, "--label"), not no_guardian)
    _answer(request, profile, bootstrap, addresses, nonce, out, form, same=same, which=which, terms=terms)


@cert.command(
    epilog=examples(
        "beectl cert operator --request request --name ci --namespace shop --verb get --verb apply --out bundle",
        "beectl cert operator --request request --name ann --namespace '*' --verb '*' --out bundle",
    )
)
@context_options
@_request_option
@click.option("--name", required=True, help="Who it is.")
@click.option("--namespace", "namespaces", multiple=True, required=True, metavar="NS", help="Where it may act, or *.")
@click.option(
    "--verb",
    "verbs",
    multiple=True,
    required=True,
    help="get, apply, delete, logs, exec, cordon, drain, label, revoke …, or *.",
)
@_bootstrap_option
@_nonce_option
@_renew_option
@_root_option
@terms_options
@_out_option
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def operator(
    request: Path,
    name: str,
    namespaces: tuple[str, ...],
    verbs: tuple[str, ...],
    bootstrap: tuple[str, ...],
    nonce: str | None,
    same: bool,
    which: str | None,
    terms: Terms,
    out: Path,
    form: Format,
) -> None:
    """Sign the request of another operator, who may use VERBs in NAMESPACEs and nothing else."""
    from beemesh_node.protocol.root import OperatorProfile

    profile = OperatorProfile(name, namespaces, verbs)
    _answer(request, profile, bootstrap, (), nonce, out, form, same=same, which=which, terms=terms)


@cert.command(epilog=examples("beectl cert inspect operator.cert", "beectl cert inspect machine.cert -o json"))
@context_options
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def inspect(file: Path, form: Format) -> None:
    """Show what the certificate in FILE says, once its signature is checked against the roots of the mesh."""
    from beemesh_node.cli.files import read_file
    from beemesh_node.cli.operator import load_trust
    from beemesh_node.cli.times import date
    from beemesh_node.protocol.certificate import MAX_CERTIFICATE, fingerprint_of

    context = contexts.resolve(settings())
    raw = read_file(file, MAX_CERTIFICATE)
    certificate = load_trust(context, contexts.ContextSettings.load(context)).verify_chain(raw)
    facts = {**_facts(certificate), "fingerprint": fingerprint_of(raw).hex()}
    shown = {**facts, "not_before": date(certificate.not_before), "not_after": date(certificate.not_after)}
    echo_facts(facts, form, "\n".join(f"{key + ':':<14}{_text(value)}" for key, value in shown.items()))


def _answer(
    request: Path,
    profile: Profile,
    bootstrap: tuple[str, ...],
    addresses: tuple[str, ...],
    nonce: str | None,
    out: Path,
    form: Format,
    *,
    same: bool,
    which: str | None,
    terms: Terms,
) -> None:
    from beemesh_node.cli import authority, keeping
    from beemesh_node.cli.files import read_file, write_file
    from beemesh_node.cli.times import moment, now_ms
    from beemesh_node.network.addresses import parse_with_peer
    from beemesh_node.protocol.request import MAX_REQUEST, NONCE_SIZE

    context = contexts.resolve(settings())
    loaded = contexts.ContextSettings.load(context)
    for address in (*bootstrap, *addresses):
        parse_with_peer(address)
    expected = None if nonce is None else hexadecimal(nonce, NONCE_SIZE, "--nonce")
    if which is not None and terms.root_key is not None:
        raise InvalidInputError("give --root or --root-key, not both")
    now = now_ms()
    times = (None if text is None else moment(text, now) for text in (terms.not_before, terms.not_after))
    wanted = keeping.Wanted(
        read_file(request, MAX_REQUEST),
        profile,
        authority.Validity(*times),
        terms.compare_times,
        round(terms.ending_within * 1000),
        terms.root_key or {"present": context.root_key, "next": context.next_root_key}.get(which or ""),
    )
    before = keeping.known(context, profile)
    reasons = keeping.reasons(context, loaded, wanted, out, now)
    if not terms.if_changed:
        reasons = reasons or ("asked for",)
    told = {"changed": bool(reasons), "reasons": list(reasons), "name": profile.name, "bundle": str(out)}
    if reasons:
        # Also for a dry run: what would be refused is no change.
        authority.verified(loaded, wanted.request, expected)
    if not reasons or terms.dry_run:
        kept = {key: before[key] for key in _LEDGER if key in before}
        would = f"would sign {profile.name}: {', '.join(reasons)}"
        done = would if reasons else f"{profile.name} has the certificate that is wanted; its bundle is {out}"
        echo_facts({**kept, **told}, form, done)
        return
    certificate, bundle = authority.answer(
        context,
        loaded,
        wanted.request,
        profile,
        bootstrap or loaded.bootstrap,
        expected,
        same=same,
        root_key=wanted.root_key,
        validity=wanted.validity,
    )
    write_file(out, bundle)
    authority.remember_bootstrap(context, loaded, (*addresses, *bootstrap))
    done = f"signed {certificate.name} ({certificate.machine_id}); its bundle is {out}"
    replaced = before.get("serial", 0) if before.get("machine_id") == certificate.machine_id else 0
    echo_facts({**told, **_facts(certificate), "replaced": replaced}, form, done)


def _facts(certificate: Certificate) -> dict[str, Any]:
    facts = {
        "name": certificate.name,
        "role": certificate.role.name.lower(),
        "machine_id": certificate.machine_id,
        "peer_id": certificate.peer_id,
        "mesh_id": certificate.mesh_id.hex(),
        "serial": certificate.serial,
        "root": certificate.issuer.hex(),
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
    }
    if facts["role"] == "machine":
        return {**facts, "labels": dict(certificate.labels), "guardian": certificate.guardian}
    return {**facts, "namespaces": list(certificate.namespaces), "verbs": list(certificate.verbs)}


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items()) or "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
