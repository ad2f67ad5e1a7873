"""What a declaration contains: its blocks opened and read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from beemesh_node.cli.errors import CliError, NotAllowedError
from beemesh_node.cli.survey import Declaration
from beemesh_node.protocol.block import open_block, parse_cid
from beemesh_node.protocol.record import Record, RevisionRef
from beemesh_node.workloads.manifest import KubernetesObject
from beemesh_node.workloads.spec import WorkloadSpec


@dataclass(frozen=True, slots=True)
class Live:
    """A declaration with its present content."""

    declaration: Declaration
    spec: WorkloadSpec
    content: bytes = field(repr=False)

    @property
    def record(self) -> Record:
        """The record in force."""
        return self.declaration.attested.record

    @property
    def objects(self) -> Sequence[KubernetesObject]:
        """The workload, and then the ConfigMaps and Secrets that it uses."""
        return self.spec.objects


def subject(record: Record) -> str:
    """How messages name a workload: `deployment/hello`."""
    return f"{record.kind.lower()}/{record.name}"


def open_live(declaration: Declaration) -> Live:
    """Read the present content. Raises `CliError` when nobody gave it, and what opening and parsing it raises."""
    record = declaration.attested.record
    content = _open(declaration, record.cid, record.key_commitment, "its content")
    return Live(declaration, WorkloadSpec.parse(content, record.uid), content)


def open_revision(declaration: Declaration, revision: RevisionRef) -> WorkloadSpec:
    """Read an earlier content. Raises as `open_live`."""
    content = _open(declaration, revision.cid, revision.key_commitment, f"revision {revision.number}")
    return WorkloadSpec.parse(content, declaration.attested.record.uid)


def _open(declaration: Declaration, cid: str, commitment: bytes, what: str) -> bytes:
    block = declaration.blocks.get(cid)
    name = subject(declaration.attested.record)
    if block is None:
        raise CliError(
            f"{name}: no machine that answered has {what}: try again when more of its guardians are reachable or apply "
            "its manifest again"
        )
    if not block.content_key:
        raise NotAllowedError(f"{name}: you may not read {what}: your certificate lacks the verb get there")
    return open_block(parse_cid(cid), block.block, block.content_key, commitment)
