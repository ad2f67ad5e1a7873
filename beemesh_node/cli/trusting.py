"""Changing what a mesh believes: learning it from every machine in reach, and showing them what is new."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from beemesh_node.cli.authority import Epoch, open_root
from beemesh_node.cli.context import Context, ContextSettings
from beemesh_node.cli.errors import CliError, InvalidInputError, NotAllowedError
from beemesh_node.cli.gather import gather
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.operator import Operator, save_trust
from beemesh_node.cli.survey import reachable
from beemesh_node.cli.terminal import note, printable
from beemesh_node.crypto import SUITE, SigningKey
from beemesh_node.protocol.certificate import Certificate, fingerprint_of
from beemesh_node.protocol.encryption import epoch_id
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.join import SECRET_SIZE
from beemesh_node.protocol.messages import TrustNews, TrustReply
from beemesh_node.protocol.revocation import (
    REVOKE_VERB,
    Revocation,
    RevocationList,
    Revocations,
    open_list,
    sift,
    sign_list,
)
from beemesh_node.protocol.root import MeshRoot
from beemesh_node.protocol.trust import TrustStore


@dataclass(frozen=True, slots=True)
class Author:
    """Who signs revocation lists: a root, or an operator with the verb for it."""

    key: SigningKey = field(repr=False)
    issuer: bytes
    certificate: bytes = field(default=b"", repr=False)
    """An operator's own."""
    member: MachineId | None = None
    """An operator's id; None for a root."""

    @classmethod
    def of_root(cls, root: MeshRoot) -> Author:
        """A root."""
        return cls(root.key, root.root_id)

    @classmethod
    def of_operator(cls, operator: Operator) -> Author:
        """An operator. Raises `CliError` for one who may not."""
        if not operator.certificate.allows(REVOKE_VERB, None):
            raise NotAllowedError(
                f"{operator.certificate.name} may not revoke: do it where the root is, or with a certificate that has "
                f"the verb {REVOKE_VERB} in every namespace"
            )
        raw = operator.certificate_bytes
        return cls(operator.identity.signing, fingerprint_of(raw), raw, operator.certificate.machine_id)


def root_for_lists(context: Context, loaded: ContextSettings, by: str | None) -> MeshRoot | None:
    """The root that signs, opened before anything is asked; None if the operator does. `by` is `root` or `operator`."""
    if by == "operator" or (by is None and not context.root_key.is_file()):
        return None
    return open_root(context, loaded)


@dataclass(frozen=True, slots=True)
class Told:
    """Which machines believe what is new, and which do not yet."""

    told: tuple[str, ...]
    untold: Mapping[str, str]
    """Name -> why not."""

    @property
    def facts(self) -> dict[str, Any]:
        """For `-o json`."""
        return {"told": list(self.told), "untold": sorted(self.untold)}


async def learn(mesh: Mesh) -> None:
    """Take in what any machine in reach knows: another operator may have changed it in another part of the mesh."""
    trust = mesh.operator.trust
    question = TrustNews(trust.digest, (), (), ())
    answers = await gather(mesh.session, reachable(mesh.session), question, TrustReply)
    for machine, reply in sorted(answers.replies.items()):
        try:
            trust.catch_up(reply.bundles)
            genuine, errors = sift(reply.lists, trust, trust.revocations)
            trust.heed(trust.revocations.merged(genuine))
        except ProtocolError as error:
            errors = [error]
        for each in errors:
            note(f"Warning: what {mesh.machine_name(machine)} shows is not believed: {printable(str(each))}")


async def tell(mesh: Mesh, context: Context) -> Told:
    """Show every machine in reach that is believed what this context believes. Raises `CliError` if none takes it."""
    trust = mesh.operator.trust
    lists = tuple(each.raw for each in trust.revocations.lists)
    news = TrustNews(trust.digest, trust.chain[1:], lists, _secrets(context, trust))
    there = [machine for machine in reachable(mesh.session) if believed(mesh, machine) is not None]
    connected = {machine for machine in there if mesh.session.machines[machine].connected}
    answers = await gather(
        mesh.session, there, news, TrustReply, enough=lambda replies: bool(replies) and connected <= replies.keys()
    )
    told, untold = [], {}
    for machine in mesh.session.machines:
        certificate = believed(mesh, machine)
        if certificate is None:
            continue
        reply = answers.replies.get(machine)
        if reply is not None and reply.digest == trust.digest:
            told.append(certificate.name)
        else:
            why = (reply.refused or "it knows more") if reply is not None else answers.silent.get(machine, "not heard")
            untold[certificate.name] = printable(why)
    if not told:
        reasons = "".join(f"\n  {name}: {why}" for name, why in sorted(untold.items()))
        raise CliError(f"no machine took it; it is signed and kept in {context.path}: run this again{reasons}")
    return Told(tuple(sorted(told)), untold)


def believed(mesh: Mesh, machine: str) -> Certificate | None:
    """The certificate of a machine, if it is believed."""
    entry = next((entry for known, entry in mesh.session.machines.items() if known == machine), None)
    if entry is None:
        return None
    try:
        certificate = mesh.operator.trust.verify_chain(entry.certificate)
    except ProtocolError:
        return None
    return certificate if mesh.operator.trust.believes(certificate) else None


def carried(revocations: Revocations, author: Author, added: Iterable[Revocation]) -> tuple[Revocation, ...]:
    """What the next list repeats of those in force: a root's all but what falls with those it revokes by this.

    An operator's repeats its own words and the roots': another operator's must not outlive that one's fall by it.
    """
    return revocations.outlasting(added) if author.member is None else revocations.said_by(author.member)


def new_epoch(context: Context, mesh: Mesh, author: Author, added: Iterable[Revocation]) -> None:
    """Sign the next list, with what was revoked before and what is `added`, and keep it and its secret in the context.

    Kept first, so that whoever is interrupted goes on with the same list.
    """
    trust = mesh.operator.trust
    secret = secrets.token_bytes(SECRET_SIZE)
    given = tuple(added)
    entries = {entry.key: entry for entry in (*carried(trust.revocations, author, given), *given)}
    issued_at = mesh.session.mesh_time_ms
    if author.member is None:
        by_roots = (each.content.issued_at for each in trust.revocations.lists if each.signer is None)
        issued_at = max(issued_at, *by_roots, 0)
        entries = {key: entry for key, entry in entries.items() if not entry.over(issued_at)}
    try:
        content = RevocationList(
            suite=SUITE,
            mesh_id=trust.mesh_id,
            issuer=author.issuer,
            number=trust.revocations.number + 1,
            entries=tuple(entries.values()),
            epoch=epoch_id(secret),
            issued_at=issued_at,
        )
        raw = sign_list(content, author.key, author.certificate)
        merged = trust.revocations.merged([open_list(raw, trust)])
    except (ProtocolError, ValueError) as error:
        raise InvalidInputError(
            f"the list cannot be made: {error}. Nothing has changed. Certificates of machines leave the root's list "
            "some time after their end, members never do: revoke fewer at a time, or move the others into a new mesh"
        ) from error
    # Secret before list, and the one in force beside it: killed in between, this context goes on with that.
    before = Epoch.load(context, trust.revocations.top) if context.epoch.is_file() else None
    Epoch(content.number, secret).save(context, before)
    trust.heed(merged)
    save_trust(context, trust)


def _secrets(context: Context, trust: TrustStore) -> tuple[bytes, ...]:
    """The secret of the present epoch, if it was made here."""
    top = trust.revocations.top
    if top is None or not context.epoch.is_file():
        return ()
    epoch = Epoch.load(context, top)
    return (epoch.secret,) if epoch.belongs_to(top) else ()
