"""The steps by which one root of a mesh follows another. Each can be made again by whoever was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beemesh_node.cli import passphrase
from beemesh_node.cli.authority import issued, open_root, root_of
from beemesh_node.cli.context import Context, ContextSettings
from beemesh_node.cli.errors import CliError, InvalidInputError
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.operator import load_trust, save_trust
from beemesh_node.cli.revoking import sign_again
from beemesh_node.cli.survey import survey
from beemesh_node.cli.times import now_ms
from beemesh_node.cli.trusting import Author, believed, new_epoch
from beemesh_node.crypto import generate_signing_key
from beemesh_node.crypto.armour import MAX_FILE_SIZE
from beemesh_node.crypto.files import read_private, write_private
from beemesh_node.crypto.keystore import inspect, save_root
from beemesh_node.protocol.errors import OversizeError
from beemesh_node.protocol.root import MeshRoot
from beemesh_node.protocol.trust import MAX_CHAIN, MAX_ROOTS, TrustStore

_RETIRED = "root.retired.key"


def prepare_next(context: Context, loaded: ContextSettings, *, encrypt: bool) -> Callable[[Mesh], bool]:
    """Make the key of the next root, unless it was made before; return what has the mesh trust it.

    That returns whether the mesh does so only from now on. Passphrases are asked for at once. Raises `CliError`.
    """
    trust = load_trust(context, loaded)
    present = root_of(context.root_key)
    if present is None:
        raise InvalidInputError(f"{context.path} has no root key: roots are replaced where the present one is")
    if present not in trust.roots and root_of(context.next_root_key) not in trust.roots:
        raise InvalidInputError(f"{context.root_key}: retired already; its successor must be here to go on")
    if not context.next_root_key.is_file():
        encrypted = encrypt or inspect(context.root_key).encrypted
        secret = passphrase.new(context.next_root_key) if encrypted else None
        save_root(context.next_root_key, generate_signing_key(), secret)
    following = root_of(context.next_root_key)
    signer = open_root(context, loaded, context.root_key) if following not in trust.roots else None
    fresh = open_root(context, loaded, context.next_root_key)

    def extend(mesh: Mesh) -> bool:
        trust = mesh.operator.trust
        if fresh.root_id in trust.roots:
            return False
        if signer is None:
            raise CliError("the mesh does not trust the next root any more: remove root.next.key to begin anew")
        roots = (fresh.key.public_key, *trust.roots.values())
        if len(roots) > MAX_ROOTS:
            raise CliError(f"the mesh trusts {len(roots) - 1} roots already: retire one first")
        bundle = signer.sign_bundle(trust.sequence + 1, now_ms(), roots)
        _check_room(trust, bundle)
        trust.adopt(bundle)
        save_trust(context, trust)
        return True

    return extend


def _check_room(trust: TrustStore, bundle: bytes) -> None:
    # Found out at `retire`, it would be too late: neither could be ended any more.
    after = TrustStore(trust.mesh_id, trust.chain)
    try:
        after.adopt(bundle)
    except OversizeError:
        fits = False
    else:
        fits = after.room > 0
    if not fits:
        raise CliError(
            f"the mesh has had so many roots that its chain of {MAX_CHAIN} trust bundles cannot take another one: "
            "nothing has changed, the present root goes on; for another root set up a new mesh"
        )


def open_next(context: Context, loaded: ContextSettings) -> MeshRoot:
    """Open the key of the root that is to remain. Raises `CliError` where there is none."""
    if not context.next_root_key.is_file():
        raise InvalidInputError(f"{context.path} has no next root: make one with `beectl mesh root add` first")
    return open_root(context, loaded, context.next_root_key)


def standing(context: Context, mesh: Mesh) -> dict[str, Any]:
    """How far the mesh has come: the roots, and under which of them everybody is."""
    trust = mesh.operator.trust
    present, following = root_of(context.root_key), root_of(context.next_root_key)
    states = {present: "signs", following: "signs"} if following not in trust.roots else {
        present: "to be retired", following: "signs"
    }  # fmt: skip
    chief = next(iter(trust.roots))
    return {
        "mesh_id": trust.mesh_id.hex(),
        "bundle": trust.sequence,
        "epoch": trust.revocations.number,
        "roots": [{"id": each.hex(), "state": states.get(each, "trusted")} for each in trust.roots],
        "members": [
            {"kind": kind, "name": name, "root": issuer, "renewed": issuer == chief.hex()}
            for kind, name, issuer in _issuers(context, mesh)
        ],
    }


def lingering(context: Context, mesh: Mesh, following: MeshRoot) -> list[str]:
    """Who is under another root than the next one and would be locked out."""
    own = following.root_id.hex()
    return [f"{kind}/{name}" for kind, name, issuer in _issuers(context, mesh) if issuer != own]


def _issuers(context: Context, mesh: Mesh) -> list[tuple[str, str, str]]:
    """Every member that is not revoked: kind, name, and the id of the root that certified it, hex."""
    trust = mesh.operator.trust
    first = trust.mesh_id.hex()
    revoked = {entry.machine_id for entry in trust.revocations.entries if not entry.serial}
    found: dict[str, tuple[str, str, str]] = {}
    if context.ledger.is_file():
        for key, entry in issued(context).items():
            kind, _, name = key.partition("/")
            if entry["machine_id"] not in revoked and entry["not_after"] > now_ms():
                found[entry["machine_id"]] = (kind, name, entry.get("issuer", first))
    for machine in mesh.session.machines:
        certificate = believed(mesh, machine)
        if certificate is not None:
            found[machine] = ("machine", certificate.name, certificate.issuer.hex())
    own = mesh.operator.certificate
    found.setdefault(own.machine_id, ("operator", own.name, own.issuer.hex()))
    return sorted(found.values())


async def sign_past_again(mesh: Mesh, following: MeshRoot) -> tuple[list[str], dict[str, str]]:
    """Sign again what was declared by operators of other roots: these are not to be believed for anything."""
    if mesh.operator.certificate.issuer != following.root_id:
        raise CliError("your own certificate is under the old root: run `beectl cert renew --all` first")
    seen = await survey(mesh.session, mesh.chain)
    past = [each for each in seen.declarations if each.attested.owner.issuer != following.root_id]
    return await sign_again(mesh, past)


def retired(context: Context, mesh: Mesh, following: MeshRoot, *, stolen: bool) -> None:
    """Sign the bundle that has only the next root, and before it what else the old one has signed that must last."""
    trust = mesh.operator.trust
    if trust.revocations.lists:
        new_epoch(context, mesh, Author.of_root(following), ())
    disowned = [identity for identity in trust.past_roots if identity != following.root_id] if stolen else []
    trust.adopt(following.sign_bundle(trust.sequence + 1, now_ms(), (), disowned))
    save_trust(context, trust)


def finish(context: Context, mesh: Mesh) -> None:
    """Put the next root's key in the place of the old one."""
    if root_of(context.root_key) in mesh.operator.trust.roots:
        raise CliError("the old root is still trusted; run this again")
    # Copied, not moved: whenever this is ended, a root key is there, and it can be made again.
    write_private(context.path / _RETIRED, read_private(context.root_key, MAX_FILE_SIZE), replace=True)
    context.next_root_key.replace(context.root_key)
