"""Manifests as kubectl takes them: files with Kubernetes objects in, validated objects out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from beemesh_node.workloads import names
from beemesh_node.workloads.documents import MAX_MANIFEST, check_size, read_documents
from beemesh_node.workloads.errors import ManifestError, Problems, child
from beemesh_node.workloads.schema import kinds, validate
from beemesh_node.workloads.values import Json, describe

__all__ = ["MAX_MANIFEST", "WORKLOADS", "KubernetesObject", "ManifestError", "check_size", "load", "load_all"]

WORKLOADS = ("Deployment", "StatefulSet", "Pod")
"""The kinds that run; ConfigMap and Secret only serve them."""
DEFAULT_NAMESPACE = "default"
MAX_ANNOTATIONS = 256 * 1024
"""Bytes of all annotations of one object, as in Kubernetes."""

_OVERWRITTEN = ("kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision")
"""Annotations of an exported object that its next apply writes anew."""


@dataclass(frozen=True, slots=True)
class KubernetesObject:
    """A validated object. `body` has its manifest without nulls, without server fields, with its namespace."""

    api_version: str
    kind: str
    namespace: str
    name: str
    body: dict[str, Json] = field(repr=False)
    source: str = ""
    """Where it came from, `hello.yml: document 2`."""
    uid: str = ""
    """The declaration that this manifest was exported from, if it names one: see `check_preconditions`."""
    resource_version: str = ""

    @property
    def subject(self) -> str:
        """`Deployment default/hello`."""
        return f"{self.kind} {self.namespace}/{self.name}"

    def problems(self) -> Problems:
        """An empty collection for problems of this object."""
        return Problems(self.source, self.subject)

    def check_preconditions(self, uid: str, resource_version: str) -> None:
        """Raise `ManifestError` when the manifest was exported from another state than the live one given here."""
        problems = self.problems()
        if self.uid and self.uid != uid:
            problems.add("metadata.uid", "the object was deleted or made anew since: remove the field, or export again")
        elif self.resource_version and self.resource_version != resource_version:
            problems.add("metadata.resourceVersion", "the object has been changed since: export it again, then edit it")
        problems.raise_if_any()


def load(
    data: bytes, source: str = "-", *, namespace: str = DEFAULT_NAMESPACE, enforce: bool = False
) -> list[KubernetesObject]:
    """The objects of one input; see `load_all`."""
    return load_all([(source, data)], namespace=namespace, enforce=enforce)


def load_all(
    inputs: Iterable[tuple[str, bytes]], *, namespace: str = DEFAULT_NAMESPACE, enforce: bool = False
) -> list[KubernetesObject]:
    """The objects of several inputs, given as (name, bytes), in their order; Lists are taken apart.

    `namespace` is for objects that name none; with `enforce` (a `-n` on the command line) the others must name it too.
    Raises `ManifestError` with all that is wrong in all inputs: unreadable, unknown kind or field, unsupported, a name
    given twice.
    """
    problems = Problems()
    found: dict[tuple[str, str, str], KubernetesObject] = {}
    for source, data in inputs:
        try:
            documents = read_documents(data, source)
        except ManifestError as error:
            problems.merge(error)
            continue
        for number, document in documents:
            place = f"{source}: document {number}" if len(documents) > 1 else source
            for where, value in _items(document, place, problems):
                obj = _object(value, where, namespace, enforce, problems)
                if obj is None:
                    continue
                earlier = found.setdefault((obj.kind, obj.namespace, obj.name), obj)
                if earlier is not obj:
                    problems.within(where, obj.subject).add("", f"given twice, also in {earlier.source}: keep one")
    problems.raise_if_any()
    return list(found.values())


def _items(document: Json, place: str, problems: Problems) -> list[tuple[str, Json]]:
    """The document, or the items of the List that it is."""
    if not isinstance(document, dict) or document.get("kind") != "List":
        return [(place, document)]
    within = problems.within(place, "List")
    if document.get("apiVersion") != "v1":
        within.add("apiVersion", 'must be "v1"')
    for key in document:
        if key not in ("apiVersion", "kind", "metadata", "items"):
            within.add(child("", key), "unknown field")
    items = document.get("items")
    if not isinstance(items, list):
        within.add("items", f"expected array, got {describe(items)}")
        return []
    return [(f"{place}: items[{index}]", item) for index, item in enumerate(items)]


def _object(document: Json, where: str, namespace: str, enforce: bool, problems: Problems) -> KubernetesObject | None:
    within = problems.within(where)
    if not isinstance(document, dict):
        within.add("", f"expected a Kubernetes object, a mapping with apiVersion and kind, got {describe(document)}")
        return None
    api_version, kind = document.get("apiVersion"), document.get("kind")
    for key, value in (("apiVersion", api_version), ("kind", kind)):
        if not isinstance(value, str) or not value:
            within.add(key, "required, but missing" if value is None else f"expected string, got {describe(value)}")
            return None
    definition = kinds().get(f"{api_version} {kind}")
    if definition is None:
        within.add("", _unknown_kind(str(api_version), str(kind)))
        return None
    metadata = document.get("metadata")
    given = metadata if isinstance(metadata, dict) else {}
    name, own = given.get("name"), given.get("namespace")
    name = name if isinstance(name, str) else ""
    home = own if isinstance(own, str) and own else namespace
    within = problems.within(where, f"{kind} {home[:80]}/{name[:80] or '(no name)'}")
    before = len(problems)
    body = validate(definition, document, within)
    if len(problems) > before:
        return None
    if enforce and home != namespace:
        within.add("metadata.namespace", f'is "{home}", but the command is for the namespace "{namespace}"')
    metadata = _metadata(body, within)
    uid, version = metadata.pop("uid", ""), metadata.pop("resourceVersion", "")
    metadata["namespace"] = home
    with within.at("metadata.namespace"):
        names.check_label(home)
    return KubernetesObject(str(api_version), str(kind), home, name, body, where, uid, version)


def _metadata(body: dict[str, Json], problems: Problems) -> dict[str, Json]:
    metadata: dict[str, Json] = body.setdefault("metadata", {})
    if "name" not in metadata:
        problems.add("metadata.name", "required, but missing")
    else:
        with problems.at("metadata.name"):
            names.check_subdomain(metadata["name"])
    annotations = metadata.get("annotations", {})
    for key in _OVERWRITTEN:
        annotations.pop(key, None)
    if not annotations:
        metadata.pop("annotations", None)  # or an export with nothing else in it would differ from what it was made of
    check_labels(metadata, "metadata", problems)
    return metadata


def check_labels(metadata: dict[str, Json], path: str, problems: Problems) -> None:
    """Check the labels and annotations of an object or a template."""
    for key, value in metadata.get("labels", {}).items():
        with problems.at(f"{path}.labels[{key[:80]}]"):
            names.check_label_key(key)
            names.check_label_value(value)
    annotations = metadata.get("annotations", {})
    for key in annotations:
        with problems.at(f"{path}.annotations[{key[:80]}]"):
            names.check_label_key(key.lower())
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > MAX_ANNOTATIONS:
        problems.add(f"{path}.annotations", f"{size:,} bytes are too many: at most {MAX_ANNOTATIONS:,}")


def _unknown_kind(api_version: str, kind: str) -> str:
    known = {name.partition(" ")[2]: name.partition(" ")[0] for name in kinds()}
    if kind in known:
        return f'no kind "{kind}" in "{api_version[:80]}": use apiVersion: {known[kind]}'
    folded = {name.lower(): name for name in known}
    if kind.lower() in folded:
        return f'no kind "{kind}": write {folded[kind.lower()]}'
    return (
        f'kind "{kind[:80]}" ({api_version[:80]}) is not supported: give a Deployment or a Pod, '
        "with the ConfigMaps and Secrets that it uses"
    )
