"""What an operator's wish makes of a declaration: the next record and the block it names. Nothing here asks anybody."""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from beemesh_node.cli.errors import InvalidInputError, UnchangeableError
from beemesh_node.cli.live import Live, subject
from beemesh_node.cli.survey import Declaration
from beemesh_node.healing.leases.voters import first_voters
from beemesh_node.protocol.block import seal_block
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import KeyedBlock
from beemesh_node.protocol.record import UID_NONCE_SIZE, Record, RevisionRef, uid_of
from beemesh_node.workloads import patching
from beemesh_node.workloads.manifest import KubernetesObject, load
from beemesh_node.workloads.patching import PatchType
from beemesh_node.workloads.spec import MAX_REPLICAS, WorkloadSpec, build, content
from beemesh_node.workloads.values import Json

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
CHANGE_CAUSE = "kubernetes.io/change-cause"
MAX_REVISIONS = 50
"""Revisions that a record names at most, so that it stays within `record.MAX_RECORD`."""
_MAX_CAUSE = 200
"""Characters of a change's cause that a record repeats."""


@dataclass(frozen=True, slots=True)
class Change:
    """The next state of a declaration, ready to be signed. `blocks` is empty for a tombstone."""

    action: str
    """The word that is printed: created, configured, replaced, patched, scaled, restarted, rolled back, deleted."""
    record: Record
    spec: WorkloadSpec | None = field(repr=False)
    blocks: tuple[KeyedBlock, ...] = field(repr=False)

    @property
    def subject(self) -> str:
        """`deployment/hello`."""
        return subject(self.record)


def create(
    mesh_id: bytes,
    bundle: Sequence[KubernetesObject],
    earlier: Sequence[Declaration],
    now_ms: int,
    guardians: Callable[[str, str, str], Sequence[MachineId]],
) -> Change:
    """Declare what is not declared yet. `earlier` are the tombstones under the same name.

    `guardians` gives those of a namespace, kind and name: what must not run twice gets its first voters from them.
    """
    workload = bundle[0]
    nonce = secrets.token_bytes(UID_NONCE_SIZE)
    voters: tuple[MachineId, ...] = ()
    uid = uid_of(mesh_id, workload.namespace, workload.kind, workload.name, nonce)
    if build(bundle, uid).leased:
        voters = first_voters(guardians(workload.namespace, workload.kind, workload.name))
        uid = uid_of(mesh_id, workload.namespace, workload.kind, workload.name, nonce, voters)
    spec = build(bundle, uid)
    generation = max((each.attested.record.generation for each in earlier), default=0) + 1
    sealed = seal_block(content(spec.objects))
    first = RevisionRef(1, sealed.cid, sealed.key_commitment, spec.revision, now_ms, spec.change_cause[:_MAX_CAUSE])
    record = Record(
        mesh_id=mesh_id,
        namespace=workload.namespace,
        kind=workload.kind,
        name=workload.name,
        uid=uid,
        uid_nonce=nonce,
        generation=generation,
        sequence=1,
        parent=b"",
        deleted=False,
        cid=sealed.cid,
        key_commitment=sealed.key_commitment,
        revisions=(first,),
        created_at=now_ms,
        voters=voters,
    )
    return Change("created", record, spec, (KeyedBlock(sealed.cid, sealed.block, sealed.content_key),))


def change(live: Live, bundle: Sequence[KubernetesObject], now_ms: int, action: str = "configured") -> Change | None:
    """Make `bundle` the content of a declaration; None when it is that already."""
    data = content(bundle)
    if data == live.content:
        return None
    record = live.record
    spec = build(bundle, record.uid)
    _check_unchangeable(live, spec)
    sealed = seal_block(data)
    revision = RevisionRef(0, sealed.cid, sealed.key_commitment, spec.revision, now_ms, spec.change_cause[:_MAX_CAUSE])
    changed = replace(
        record,
        sequence=record.sequence + 1,
        parent=live.declaration.attested.digest,
        cid=sealed.cid,
        key_commitment=sealed.key_commitment,
        revisions=next_revisions(record.revisions, revision, spec.revision_history_limit),
    )
    return Change(action, changed, spec, (KeyedBlock(sealed.cid, sealed.block, sealed.content_key),))


def _check_unchangeable(live: Live, spec: WorkloadSpec) -> None:
    """Refuse what no declaration may change. Raises `CliError`."""
    name, advice = subject(live.record), f"delete {subject(live.record)}, then apply the manifest again"
    if spec.leased != live.spec.leased:
        raise UnchangeableError(
            f"{name}: spec.strategy.type cannot change between RollingUpdate and Recreate: {advice}"
        )
    if live.record.kind == "StatefulSet":
        for field_ in ("serviceName", "podManagementPolicy", "volumeClaimTemplates", "selector"):
            if spec.manifest["spec"].get(field_) != live.spec.manifest["spec"].get(field_):
                raise UnchangeableError(f"{name}: spec.{field_} of a StatefulSet cannot change: {advice}")


def next_revisions(known: Sequence[RevisionRef], new: RevisionRef, limit: int) -> tuple[RevisionRef, ...]:
    """Put `new` behind the known ones, and forget those that are too old.

    While the template stays the same the revision does, with its number and time, as scaling does not make a new one.
    Going back to an earlier template renumbers that one, as in Kubernetes.
    """
    if known and known[-1].template_hash == new.template_hash:
        last = known[-1]
        cause = new.change_cause or last.change_cause
        new = replace(new, number=last.number, created_at=last.created_at, change_cause=cause)
    else:
        new = replace(new, number=known[-1].number + 1 if known else 1)
    earlier = [revision for revision in known if revision.template_hash != new.template_hash]
    kept = min(limit, MAX_REVISIONS - 1)
    return (*(earlier[-kept:] if kept else ()), new)


def tombstone(declaration: Declaration) -> Change:
    """The end of a declaration, for good."""
    record = declaration.attested.record
    ended = replace(
        record,
        sequence=record.sequence + 1,
        parent=declaration.attested.digest,
        deleted=True,
        cid="",
        key_commitment=b"",
        revisions=(),
    )
    return Change("deleted", ended, None, ())


def applied(live: Live, bundle: Sequence[KubernetesObject]) -> Sequence[KubernetesObject]:
    """What applying `bundle` means: a manifest that does not say how many replicas leaves their number as it is.

    Raises `ManifestError` when it was exported from another state than the live one.
    """
    workload = bundle[0]
    workload.check_preconditions(live.record.uid, str(live.record.sequence))
    if workload.kind == "Pod" or "replicas" in workload.body["spec"] or "replicas" not in live.spec.manifest["spec"]:
        return bundle
    body = copy.deepcopy(workload.body)
    body["spec"]["replicas"] = live.spec.replicas
    return (replace(workload, body=body), *bundle[1:])


def scaled(live: Live, replicas: int) -> Sequence[KubernetesObject]:
    """The same with another number of replicas. Raises `CliError` for what has none."""
    _only_replicated(live, "scaled")
    if replicas > MAX_REPLICAS:
        raise InvalidInputError(
            f"{subject(live.record)}: {replicas} replicas: at most {MAX_REPLICAS:,} can be asked for"
        )
    body = copy.deepcopy(live.spec.manifest)
    body["spec"]["replicas"] = replicas
    return (replace(live.objects[0], body=body), *live.objects[1:])


def patched(live: Live, patch: Json, kind: PatchType) -> Sequence[KubernetesObject]:
    """The same with a patch in its manifest; its ConfigMaps and Secrets stay, but for those that nothing uses any more.

    Raises `ManifestError` for a patch that cannot be made, or makes what is no manifest of this workload.
    """
    record = live.record
    metadata = {**live.spec.manifest["metadata"], "uid": record.uid, "resourceVersion": str(record.sequence)}
    body = patching.patched({**live.spec.manifest, "metadata": metadata}, patch, kind)
    (workload,) = load(json.dumps(body).encode(), "patch", namespace=record.namespace)
    if (workload.kind, workload.namespace, workload.name) != (record.kind, record.namespace, record.name):
        raise InvalidInputError(f"{subject(record)}: a patch cannot change kind, namespace or name")
    workload.check_preconditions(record.uid, str(record.sequence))
    return build((workload, *live.objects[1:]), record.uid).objects


def restarted(live: Live, when: str) -> Sequence[KubernetesObject]:
    """The same with a template that differs in an annotation, so that every replica is replaced."""
    _only_replicated(live, "restarted")
    body = copy.deepcopy(live.spec.manifest)
    annotations = body["spec"]["template"].setdefault("metadata", {}).setdefault("annotations", {})
    annotations[RESTARTED_AT] = when
    return (replace(live.objects[0], body=body), *live.objects[1:])


def rolled_back(live: Live, earlier: WorkloadSpec) -> Sequence[KubernetesObject]:
    """The template of an earlier revision, with what it refers to, under the present replicas and strategy."""
    _only_replicated(live, "rolled back")
    body = copy.deepcopy(live.spec.manifest)
    body["spec"]["template"] = copy.deepcopy(earlier.manifest["spec"]["template"])
    annotations = body["metadata"].setdefault("annotations", {})
    annotations.pop(CHANGE_CAUSE, None)
    if earlier.change_cause:
        annotations[CHANGE_CAUSE] = earlier.change_cause
    if not annotations:
        del body["metadata"]["annotations"]
    return (replace(live.objects[0], body=body), *earlier.objects[1:])


def _only_replicated(live: Live, verb: str) -> None:
    if live.record.kind == "Pod":
        raise InvalidInputError(f"{subject(live.record)} cannot be {verb}: only a Deployment or StatefulSet can")
