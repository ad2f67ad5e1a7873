"""What an operator declares, ready to be decided on and run: `WorkloadSpec`, and the content that it travels as.

The content of a block is a canonical List of the workload and of the ConfigMaps and Secrets that it uses. Guardians and
runners read it with the same checks as the command line does: what a record's owner signed may still be hostile.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from beemesh_node.protocol.block import MAX_CONTENT
from beemesh_node.protocol.messages import Expression, Requirements
from beemesh_node.workloads.errors import Problems
from beemesh_node.workloads.manifest import WORKLOADS, KubernetesObject, load
from beemesh_node.workloads.names import REVISION_LENGTH, safe_hash
from beemesh_node.workloads.placement import requirements
from beemesh_node.workloads.pod import PodTemplate
from beemesh_node.workloads.references import KINDS, References, check_contents
from beemesh_node.workloads.replicas import MAX_REPLICAS, rules_of
from beemesh_node.workloads.rollout import Rollout
from beemesh_node.workloads.template import PRIORITY, needs, pod_template, template_of
from beemesh_node.workloads.values import Json

__all__ = ["MAX_REPLICAS", "WorkloadSpec", "build", "bundles", "content"]

_HASHED = ("data", "binaryData", "stringData")
_CHANGE_CAUSE = "kubernetes.io/change-cause"


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """One version of one declaration. Times are in seconds."""

    namespace: str
    kind: str
    name: str
    replicas: int
    max_surge: int
    max_unavailable: int
    min_ready_seconds: int
    progress_deadline_seconds: int
    revision_history_limit: int
    """Earlier revisions that are kept for `rollout undo`."""
    selector: tuple[Expression, ...]
    rollout: Rollout
    template: PodTemplate = field(repr=False)
    requirements: Requirements = field(repr=False)
    revision: str
    """Kubernetes' pod-template-hash: ten characters over the template and the contents that it refers to, salted with
    the declaration's uid. It is taken from the manifest as declared, so that every version of this software that reads
    the same content computes the same."""
    needs: frozenset[str]
    """What takes an operator's verb: `hostNetwork`, `hostPath`, `privileged`."""
    objects: tuple[KubernetesObject, ...] = field(repr=False)
    """The workload's manifest, and then the ConfigMaps and Secrets that it uses."""

    @property
    def leased(self) -> bool:
        """Whether its replicas run only while their machine holds a lease."""
        return self.rollout.leased

    @property
    def manifest(self) -> dict[str, Json]:
        """The workload's own manifest."""
        return self.objects[0].body

    @property
    def labels(self) -> dict[str, str]:
        """The workload's labels (not those of its pods)."""
        labels: dict[str, str] = self.manifest["metadata"].get("labels", {})
        return labels

    @property
    def annotations(self) -> dict[str, str]:
        """The workload's annotations (not those of its pods)."""
        annotations: dict[str, str] = self.manifest["metadata"].get("annotations", {})
        return annotations

    @property
    def change_cause(self) -> str:
        """Why it was changed, as `rollout history` shows it."""
        return self.annotations.get(_CHANGE_CAUSE, "")

    @classmethod
    def parse(cls, content: bytes, uid: str) -> WorkloadSpec:
        """Read what `content` made. `uid` is that of the declaration. Raises `ManifestError` for anything else."""
        if len(content) > MAX_CONTENT:
            problems = Problems("content")
            problems.add("", f"{len(content):,} bytes are too many for a declaration: at most {MAX_CONTENT:,}")
            problems.raise_if_any()
        (bundle,) = _only(bundles(load(content, "content")))
        return build(bundle, uid)


def _only(found: list[tuple[KubernetesObject, ...]]) -> list[tuple[KubernetesObject, ...]]:
    if len(found) != 1:
        problems = Problems("content")
        problems.add("", f"{len(found)} workloads in one declaration: give one")
        problems.raise_if_any()
    return found


def bundles(objects: Sequence[KubernetesObject]) -> list[tuple[KubernetesObject, ...]]:
    """Take an input apart: each workload, followed by the ConfigMaps and Secrets that it uses.

    Raises `ManifestError` with all that is wrong in any of them, and for a ConfigMap or Secret that none uses: nothing
    would ever hold it.
    """
    problems = Problems()
    found, unused = [], {(obj.kind, obj.namespace, obj.name): obj for obj in objects if obj.kind in KINDS}
    for obj in objects:
        if obj.kind in WORKLOADS:
            _, used = _build(obj, objects, "", problems)
            found.append((obj, *used))
            for each in used:
                unused.pop((each.kind, each.namespace, each.name), None)
        else:
            check_contents(obj, problems.within(obj.source, obj.subject))
    if not len(problems):
        for obj in unused.values():
            problems.within(obj.source, obj.subject).add(
                "", "no workload in this input uses it, and a mesh keeps it only with one: remove it, or refer to it"
            )
    problems.raise_if_any()
    return found


def content(bundle: Iterable[KubernetesObject]) -> bytes:
    """The canonical bytes of one of `bundles`: what is encrypted into a block.

    Equal declarations give equal bytes, whatever form they were written in. Raises `ManifestError` when they are more
    than a block holds.
    """
    objects = list(bundle)
    data = _canonical({"apiVersion": "v1", "kind": "List", "items": [obj.body for obj in objects]})
    if len(data) > MAX_CONTENT:
        problems = objects[0].problems()
        problems.add(
            "", f"with its ConfigMaps and Secrets it has {len(data):,} bytes, at most {MAX_CONTENT:,} fit: split it"
        )
        problems.raise_if_any()
    return data


def build(bundle: Sequence[KubernetesObject], uid: str) -> WorkloadSpec:
    """The specification of one of `bundles`. Raises `ManifestError`."""
    problems = Problems()
    spec, _ = _build(bundle[0], bundle, uid, problems)
    problems.raise_if_any()
    return spec


def _build(
    workload: KubernetesObject, objects: Sequence[KubernetesObject], uid: str, problems: Problems
) -> tuple[WorkloadSpec, list[KubernetesObject]]:
    """The specification, which is of use only without problems, and what `workload` uses."""
    problems = problems.within(workload.source, workload.subject)
    references = References(workload.namespace, objects, problems)
    template = pod_template(workload, references, problems)
    body, path = template_of(workload)
    required = requirements(body.get("spec", {}), path, workload.namespace, template, problems)
    rules = rules_of(workload, template, problems)
    used = references.used
    hashed: Json = [uid, workload.kind, {"metadata": _pod_metadata(body), "spec": body.get("spec")}]
    hashed += [[obj.kind, obj.name, {key: obj.body[key] for key in _HASHED if key in obj.body}] for obj in used]
    spec = WorkloadSpec(
        namespace=workload.namespace,
        kind=workload.kind,
        name=workload.name,
        replicas=rules.replicas,
        max_surge=rules.max_surge,
        max_unavailable=rules.max_unavailable,
        min_ready_seconds=rules.min_ready_seconds,
        progress_deadline_seconds=rules.progress_deadline_seconds,
        revision_history_limit=rules.revision_history_limit,
        selector=rules.selector,
        rollout=rules.rollout,
        template=template,
        requirements=required,
        revision=safe_hash(_canonical(hashed), REVISION_LENGTH),
        needs=needs(template) | ({PRIORITY} if required.priority > 0 else set()),
        objects=(workload, *used),
    )
    return spec, used


def _pod_metadata(body: Mapping[str, Json]) -> dict[str, Json]:
    metadata = body.get("metadata", {})
    return {key: metadata[key] for key in ("labels", "annotations") if metadata.get(key)}


def _canonical(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
