"""Admission control: what must hold of a record before this machine keeps it or acts on it, whoever brought it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from beemesh_node.crypto.errors import CryptoError
from beemesh_node.healing.declaration import Declaration
from beemesh_node.protocol.block import check_block, open_block, parse_cid
from beemesh_node.protocol.certificate import Role
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import KeyedBlock
from beemesh_node.protocol.record import AttestedRecord, open_record
from beemesh_node.protocol.trust import TrustStore
from beemesh_node.workloads.errors import ManifestError
from beemesh_node.workloads.pod import LocalVolume
from beemesh_node.workloads.spec import WorkloadSpec

MAX_BLOCKS = 64
"""Blocks that one record may name: its present and its earlier revisions."""


class AdmissionError(Exception):
    """The record is not admitted. `code` is a Kubernetes-like reason: Forbidden or Invalid."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Admitted:
    """A record that holds, with what its manifest means. Of a tombstone there is no manifest."""

    attested: AttestedRecord
    declaration: Declaration
    spec: WorkloadSpec | None = field(repr=False)
    blocks: tuple[KeyedBlock, ...] = field(repr=False)
    """The blocks that the record names and that were brought, the present one among them."""


def admit(raw: bytes, blocks: Mapping[str, KeyedBlock], trust: TrustStore, *, held: bool = False) -> Admitted:
    """Check a record, its owner's rights, and those of `blocks` (by content id) that it names. Raises `AdmissionError`.

    The owner's certificate is checked without its dates: expiry bars messages, never records. `held`: this machine has
    this very record already, so that its owner may have been revoked since, or the owner's root disowned.
    """
    try:
        attested = open_record(raw, trust.verify_stored if held else trust.verify_author)
    except (ProtocolError, CryptoError) as error:
        raise AdmissionError("Forbidden", f"the record is not believed: {error}") from error
    record, owner = attested.record, attested.owner
    subject = f"{record.kind} {record.namespace}/{record.name}"
    if record.mesh_id != trust.mesh_id:
        raise AdmissionError("Forbidden", f"{subject}: the record is of another mesh")
    verb = "delete" if record.deleted else "apply"
    if owner.role is not Role.OPERATOR or not owner.allows(verb, record.namespace):
        raise AdmissionError(
            "Forbidden",
            f"{subject}: {owner.name} may not {verb} in namespace {record.namespace}; "
            "ask for a certificate with that verb and namespace (beectl cert operator)",
        )
    if record.deleted:
        return Admitted(attested, _named_by(attested), None, ())
    named = _named(attested, blocks, subject)
    spec = _specification(attested, named, subject)
    if spec.leased != bool(record.voters):
        raise AdmissionError(
            "Invalid",
            f"{subject}: whether its replicas need leases cannot change: delete it, and apply the manifest again",
        )
    for need in sorted(spec.needs):
        verb = need.lower()
        if not owner.allows(verb, record.namespace):
            raise AdmissionError(
                "Forbidden", f"{subject}: uses {need}, for which {owner.name} needs the verb {verb} in its certificate"
            )
    return Admitted(attested, _declaration(attested, spec), spec, named)


def _named(attested: AttestedRecord, blocks: Mapping[str, KeyedBlock], subject: str) -> tuple[KeyedBlock, ...]:
    """Return the blocks that the record names, each checked to be what its name says."""
    record = attested.record
    names = {record.cid, *(revision.cid for revision in record.revisions)}
    if len(names) > MAX_BLOCKS:
        raise AdmissionError("Invalid", f"{subject}: names {len(names)} revisions; at most {MAX_BLOCKS} are kept")
    named = tuple(blocks[name] for name in sorted(names & blocks.keys()))
    try:
        for block in named:
            check_block(parse_cid(block.cid), block.block)
    except ProtocolError as error:
        raise AdmissionError("Invalid", f"{subject}: {error}") from error
    return named


def _specification(attested: AttestedRecord, blocks: Sequence[KeyedBlock], subject: str) -> WorkloadSpec:
    record = attested.record
    present = next((block for block in blocks if block.cid == record.cid), None)
    if present is None:
        raise AdmissionError("Invalid", f"{subject}: block {record.cid} was not brought with its record")
    try:
        content = open_block(parse_cid(record.cid), present.block, present.content_key, record.key_commitment)
        spec = WorkloadSpec.parse(content, record.uid)
    except (ProtocolError, CryptoError, ManifestError) as error:
        raise AdmissionError("Invalid", f"{subject}: {error}") from error
    if (spec.namespace, spec.kind, spec.name) != (record.namespace, record.kind, record.name):
        raise AdmissionError("Invalid", f"{subject}: its manifest is of {spec.kind} {spec.namespace}/{spec.name}")
    return spec


def _named_by(attested: AttestedRecord) -> Declaration:
    """What stands in the record itself: all that counts of a deleted declaration."""
    record = attested.record
    return Declaration(
        uid=Uid(record.uid),
        namespace=record.namespace,
        kind=record.kind,
        name=record.name,
        generation=record.generation,
        sequence=record.sequence,
        deleted=record.deleted,
        digest=attested.digest,
        voters=tuple(MachineId(voter) for voter in record.voters),
    )


def _declaration(attested: AttestedRecord, spec: WorkloadSpec) -> Declaration:
    return replace(
        _named_by(attested),
        revision=spec.revision,
        replicas=spec.replicas,
        max_surge=spec.max_surge,
        max_unavailable=spec.max_unavailable,
        min_ready_seconds=spec.min_ready_seconds,
        progress_deadline_seconds=spec.progress_deadline_seconds,
        requirements=replace(spec.requirements, leased=spec.leased),
        labels=spec.template.labels,
        restart_policy=spec.template.restart_policy,
        rollout=spec.rollout,
        binds=any(isinstance(volume.source, LocalVolume) for volume in spec.template.volumes),
    )
