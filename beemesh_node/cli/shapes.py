"""What was seen or done as Kubernetes objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beemesh_node.cli.errors import CliError
from beemesh_node.cli.live import open_live, open_revision, subject
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.survey import Declaration
from beemesh_node.crypto.errors import CryptoError
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.messages import ClaimReport, EventReport, MachineEntry, WorkloadEntry
from beemesh_node.protocol.record import Record
from beemesh_node.protocol.revocation import Revocation
from beemesh_node.workloads.errors import ManifestError
from beemesh_node.workloads.kubernetes import deployment, event, node, pod, stateful_set
from beemesh_node.workloads.kubernetes.times import timestamp
from beemesh_node.workloads.spec import WorkloadSpec

Shape = dict[str, Any]

REVOCATION_VERSION = "beemesh.io/v1"
"""Kubernetes has no such kind."""


@dataclass(slots=True)
class Specs:
    """The specifications of declarations, read from their contents once each. What cannot be read is noted."""

    declarations: Mapping[str, Declaration]
    """By uid."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """By subject, why."""
    _read: dict[tuple[str, str], WorkloadSpec | None] = field(default_factory=dict)

    @classmethod
    def of(cls, declarations: Iterable[Declaration]) -> Specs:
        """Those of `declarations`."""
        return cls({each.attested.record.uid: each for each in declarations})

    def present(self, declaration: Declaration) -> WorkloadSpec | None:
        """The declared one; None when it cannot be read."""
        record = declaration.attested.record
        return self.revision(record.uid, record.revisions[-1].template_hash) if record.revisions else None

    def revision(self, uid: str, revision: str) -> WorkloadSpec | None:
        """The one of a revision, present or earlier; None when it is not known or cannot be read."""
        key = (uid, revision)
        if key not in self._read:
            self._read[key] = self._open(uid, revision)
        return self._read[key]

    def kind(self, uid: str) -> str:
        """The kind of a declaration."""
        found = self.declarations.get(uid)
        return found.attested.record.kind if found is not None else "Deployment"

    def _open(self, uid: str, revision: str) -> WorkloadSpec | None:
        declaration = self.declarations.get(uid)
        if declaration is None:
            return None
        record = declaration.attested.record
        found = next((each for each in record.revisions if each.template_hash == revision), None)
        if found is None:
            return None
        try:
            return open_live(declaration).spec if found is record.revisions[-1] else open_revision(declaration, found)
        except (CliError, ProtocolError, CryptoError, ManifestError) as error:
            self.unreadable[subject(record)] = str(error)
            return None


def workload_shape(
    spec: WorkloadSpec, record: Record, entry: WorkloadEntry, pods: Sequence[ClaimReport], now: int
) -> Shape:
    """A declaration as the object that was declared: a Pod with what is known of its replica, or what has replicas."""
    if record.kind == "Deployment":
        return deployment(spec, record, entry, pods, now)
    if record.kind == "StatefulSet":
        return stateful_set(spec, record, entry, pods, now)
    shape: Shape = {**spec.manifest, "metadata": {**spec.manifest["metadata"], "uid": record.uid}}
    shape["metadata"]["resourceVersion"] = str(record.sequence)
    replica = next((report for report in pods if report.claim.revision == spec.revision), None)
    if replica is None:
        message = {"message": entry.message} if entry.message else {}
        return {**shape, "status": {"phase": "Pending", **message}}
    return {**shape, "status": pod(replica, "", spec, kind="Pod")["status"]}


def pod_shape(mesh: Mesh, report: ClaimReport, specs: Specs) -> Shape:
    """One replica as a Pod."""
    spec = specs.revision(report.claim.uid, report.claim.revision)
    return pod(report, mesh.machine_name(report.claim.machine), spec, kind=specs.kind(report.claim.uid))


def machine_shape(mesh: Mesh, entry: MachineEntry) -> Shape:
    """A machine as a Node. Raises `ProtocolError` for one whose certificate is not genuine."""
    return node(entry, mesh.chain(entry.certificate), mesh.session.mesh_time_ms)


def event_shape(mesh: Mesh, report: EventReport) -> Shape:
    """An Event."""
    return event(report, mesh.machine_name(report.machine))


def revocation_shape(entry: Revocation) -> Shape:
    """A member, or one certificate of it, that is believed no more. `serial` 0 means all certificates."""
    return {
        "apiVersion": REVOCATION_VERSION,
        "kind": "Revocation",
        "metadata": {
            "name": entry.name or entry.machine_id or str(entry.serial),
            "uid": entry.machine_id,
            "creationTimestamp": timestamp(entry.revoked_at),
        },
        "spec": {"serial": entry.serial, "reason": entry.reason},
    }
