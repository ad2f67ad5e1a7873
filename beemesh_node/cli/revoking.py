"""Who is to be revoked, and what they could read: members by the names that people give, and workloads."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from beemesh_node.cli.authority import issued
from beemesh_node.cli.changes import Change
from beemesh_node.cli.context import Context
from beemesh_node.cli.errors import CliError, InvalidInputError
from beemesh_node.cli.gather import gather
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.superseding import superseded, to_be_revoked
from beemesh_node.cli.survey import Declaration, Survey, reachable, survey
from beemesh_node.cli.workload_client import WorkloadClient
from beemesh_node.membership.closeness import GUARDIANS, key_of_name, position
from beemesh_node.protocol.certificate import Certificate, Role
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import ClaimReport, ListReply, ListRequest, Resource
from beemesh_node.protocol.revocation import Revocation, Revocations

_ID = re.compile(r"[0-9a-f]{32}")
_PREFIXES = {"machine": "machine", "machines": "machine", "node": "machine", "operator": "operator", "serial": "serial"}
MACHINE, OPERATOR, MEMBER, CERTIFICATE = "machine", "operator", "member", "certificate"


@dataclass(frozen=True, slots=True)
class Suspect:
    """A member, or one certificate, as far as it is known here."""

    kind: str
    """machine or operator; `member` for an id and `certificate` for a serial that nobody knows."""
    name: str
    machine_id: MachineId
    serial: int = 0
    """Of the one certificate that is meant; 0: the member with all its certificates."""

    @property
    def title(self) -> str:
        """`machine/web1`."""
        what = f"{self.kind}/{self.name or self.machine_id}"
        return f"{what} (certificate {self.serial})" if self.serial else what

    @property
    def key(self) -> tuple[MachineId, int]:
        """As `Revocation.key`."""
        return self.machine_id, self.serial

    @property
    def facts(self) -> dict[str, Any]:
        """For `-o json`."""
        return {"kind": self.kind, "name": self.name, "machine_id": self.machine_id, "serial": self.serial}


@dataclass(frozen=True, slots=True)
class Exposed:
    """A workload whose content a member could read, and as what."""

    namespace: str
    kind: str
    name: str
    roles: tuple[str, ...]

    @property
    def facts(self) -> dict[str, Any]:
        """For `-o json`."""
        return {"namespace": self.namespace, "kind": self.kind, "name": self.name, "as": list(self.roles)}


@dataclass(frozen=True, slots=True)
class _Known:
    kind: str
    name: str
    machine_id: MachineId
    serial: int


def find_suspects(context: Context, mesh: Mesh, words: Sequence[str]) -> tuple[Suspect, ...]:
    """The members that `NAME`, `machine/NAME`, `operator/NAME`, an id or `serial/NUMBER` mean.

    Raises `CliError` for one that nobody knows, for a name that several have, and for ourselves.
    """
    known = _known(context, mesh)
    found = tuple(dict.fromkeys(_find(word, known) for word in words))
    own = mesh.operator.certificate
    for suspect in found:
        if suspect.serial == own.serial or (not suspect.serial and suspect.machine_id == own.machine_id):
            raise InvalidInputError(f"{suspect.title} is you: have another operator, or the root's, revoke it")
    return found


def find_superseded(context: Context, mesh: Mesh) -> tuple[tuple[Suspect, ...], tuple[Suspect, ...]]:
    """The certificates for keys that members have replaced: those to be revoked, and those to be left for now.

    These are for keys that a member of the mesh still shows, since it has not joined with the new ones: it would be
    locked out. Raises `CliError` where there is no ledger.
    """
    if not context.ledger.is_file():
        raise InvalidInputError(f"{context.path} has no ledger of certificates: revoke them where the root is")
    in_use = {mesh.operator.certificate.peer_id}
    for machine in mesh.session.machines.values():
        with contextlib.suppress(ProtocolError):
            in_use.add(mesh.chain(machine.certificate).peer_id)
    free: list[Suspect] = []
    left: list[Suspect] = []
    for each in to_be_revoked(issued(context), mesh.operator.trust.revocations):
        suspect = Suspect(each.kind, each.name, each.machine_id, each.serial)
        (left if each.peer_id in in_use else free).append(suspect)
    return tuple(free), tuple(left)


def peers_of(context: Context, words: Sequence[str]) -> frozenset[str]:
    """The peer ids of these members, as far as the ledger knows them."""
    if not context.ledger.is_file():
        return frozenset()
    names = {word.rpartition("/")[2] for word in words}
    return frozenset(
        entry["peer_id"]
        for key, entry in issued(context).items()
        if not names.isdisjoint((key.partition("/")[2], entry["machine_id"], str(entry["serial"])))
    )


def _known(context: Context, mesh: Mesh) -> tuple[_Known, ...]:
    """Everybody who is or was a member, as the ledger, the machines of the mesh and the revocations tell."""
    known: list[_Known] = []
    if context.ledger.is_file():
        for key, entry in issued(context).items():
            kind, _, name = key.partition("/")
            known.append(_Known(kind, name, MachineId(entry["machine_id"]), int(entry["serial"])))
        known += [_Known(old.kind, old.name, old.machine_id, old.serial) for old in superseded(issued(context))]
    for machine in mesh.session.machines.values():
        try:
            certificate = mesh.chain(machine.certificate)
        except ProtocolError:
            continue
        known.append(_of(certificate))
    known.append(_of(mesh.operator.certificate))
    for gone in mesh.operator.trust.revocations.entries:
        if gone.machine_id not in {each.machine_id for each in known}:
            known.append(_Known(MEMBER, gone.name, gone.machine_id, gone.serial))
    return tuple(known)


def _of(certificate: Certificate) -> _Known:
    kind = MACHINE if certificate.role is Role.MACHINE else OPERATOR
    return _Known(kind, certificate.name, certificate.machine_id, certificate.serial)


def _find(word: str, known: Sequence[_Known]) -> Suspect:
    prefix, slash, name = word.rpartition("/")
    kind = _PREFIXES.get(prefix) if slash else ""
    if kind is None or not name:
        raise InvalidInputError(f"{word!r}: give NAME, machine/NAME, operator/NAME, an id or serial/NUMBER")
    named = [each for each in known if kind in ("", each.kind) and name in (each.name, each.machine_id)]
    members = {each.machine_id: each for each in named}
    if len(members) > 1:
        which = ", ".join(f"{each.kind} {each.machine_id}" for each in members.values())
        raise InvalidInputError(f"several members are called {name}: give the id of one of {which}")
    if members:
        (member,) = members.values()
        return Suspect(member.kind, member.name, member.machine_id)
    if name.isdecimal() and kind in ("", "serial"):
        holder = next((each for each in known if each.serial == int(name)), None)
        if holder is not None:
            return Suspect(holder.kind, holder.name, holder.machine_id, holder.serial)
        if not 0 < int(name) < 1 << 63:
            raise InvalidInputError(f"{name} is no serial")
        return Suspect(CERTIFICATE, "", MachineId(""), int(name))
    if _ID.fullmatch(name) and kind != "serial":
        return Suspect(kind or MEMBER, "", MachineId(name))
    raise CliError(f"{word}: no such member is known: see `beectl get machines`, or give its id or serial")


async def what_they_held(mesh: Mesh, suspects: Sequence[Suspect]) -> tuple[Exposed, ...]:
    """The workloads whose keys the members had, as far as the machines in reach know what there is."""
    members = {suspect.machine_id for suspect in suspects if not suspect.serial}
    if not members:
        return ()
    seen = await survey(mesh.session, mesh.chain)
    request = ListRequest(Resource.PODS)
    answers = await gather(mesh.session, reachable(mesh.session), request, ListReply)
    pods = [report for reply in answers.replies.values() for report in reply.pods]
    exposed = []
    for declaration in seen.declarations:
        roles = sorted({role for member in members for role in _roles(mesh, member, declaration, pods)})
        if roles and not declaration.deleted:
            namespace, kind, name = declaration.key
            exposed.append(Exposed(namespace, kind, name, tuple(roles)))
    return tuple(sorted(exposed, key=lambda each: (each.namespace, each.kind, each.name)))


def _roles(mesh: Mesh, member: MachineId, declaration: Declaration, pods: Sequence[ClaimReport]) -> list[str]:
    roles = []
    record, closest = declaration.attested.record, _closest(mesh, member, declaration)
    if declaration.attested.owner.machine_id == member:
        roles.append("owner")
    if member in declaration.entry.guardians or closest:
        roles.append("guardian")
    if any(pod.claim.uid == record.uid and pod.claim.machine == member for pod in pods):
        roles.append("runner")
    if member in record.voters:
        roles.append("voter")
    if member in declaration.holders and not roles:
        roles.append("holder")
    return roles


def _closest(mesh: Mesh, member: MachineId, declaration: Declaration) -> bool:
    """Whether a machine that may be silent for long is, or was, one of the guardians of a name."""
    entry = mesh.session.machines.get(member)
    if entry is None:
        return False
    target = position(key_of_name(*declaration.key))
    guardians = [machine for machine in mesh.session.machines if _may_guard(mesh, machine)]
    closest = sorted(guardians, key=lambda machine: position(machine) ^ target)[:GUARDIANS]
    return member in closest


def _may_guard(mesh: Mesh, machine: MachineId) -> bool:
    try:
        return mesh.chain(mesh.session.machines[machine].certificate).guardian
    except ProtocolError:
        return False


async def sign_again(mesh: Mesh, wanted: Sequence[Declaration]) -> tuple[list[str], dict[str, str]]:
    """Sign declarations anew with our own key, unchanged: those of authors who are not to be believed any more.

    Nothing restarts: the manifest stays as it is. Returns which were, and why others could not be.
    """
    done: list[str] = []
    failed: dict[str, str] = {}
    client = WorkloadClient(mesh)
    for each in wanted:
        namespace, kind, name = each.key
        title = f"{namespace}/{kind.lower()}/{name}"
        try:
            seen = await survey(mesh.session, mesh.chain, namespace=namespace, kind=kind, name=name, content=True)
            found = next((d for d in seen.declarations if d.attested.record.uid == each.attested.record.uid), each)
            await client.send(_same(found))
            done.append(title)
        except CliError as error:
            failed[title] = error.message
    return done, failed


def _same(declaration: Declaration) -> Change:
    record = declaration.attested.record
    again = replace(record, sequence=record.sequence + 1, parent=declaration.attested.digest)
    return Change("signed again", again, None, tuple(declaration.blocks.values()))


def owned_by(seen: Survey, suspects: Sequence[Suspect]) -> list[Declaration]:
    """The declarations, deleted ones too, that these members signed last."""
    members = {suspect.machine_id for suspect in suspects if not suspect.serial}
    serials = {suspect.serial for suspect in suspects if suspect.serial}
    return [
        each
        for each in seen.declarations
        if each.attested.owner.machine_id in members or each.attested.owner.serial in serials
    ]


def is_revoked(suspect: Suspect, revocations: Revocations) -> bool:
    """Whether the lists say so already. A serial says the same with and without the id of its member."""
    keys = {entry.key for entry in revocations.entries}
    return suspect.key in keys or (suspect.serial != 0 and suspect.serial in {serial for _, serial in keys})


def revocation(suspect: Suspect, now_ms: int, reason: str) -> Revocation:
    """What the list says of a member. Raises `CliError` for a reason that no list may give."""
    try:
        return Revocation(suspect.machine_id, suspect.serial, suspect.name, now_ms, reason)
    except ValueError as error:
        raise InvalidInputError(str(error)) from None
