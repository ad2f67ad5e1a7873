"""ConfigMaps and Secrets that came with a workload, looked up by the places that refer to them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from beemesh_node.workloads import names
from beemesh_node.workloads.errors import Problems
from beemesh_node.workloads.manifest import KubernetesObject
from beemesh_node.workloads.values import Json

KINDS = ("ConfigMap", "Secret")


@dataclass(frozen=True, slots=True)
class Reference:
    """Who is referred to, and whether it may be missing."""

    kind: str
    name: str
    optional: bool

    @classmethod
    def read(cls, kind: str, body: Mapping[str, Json], name_field: str = "name") -> Reference:
        """From a configMapKeyRef, secretRef, volume source or the like."""
        return cls(kind, body.get(name_field, ""), body.get("optional", False))


def contents(body: Mapping[str, Json]) -> dict[str, bytes]:
    """The decoded contents of a validated ConfigMap or Secret."""
    if body["kind"] == "Secret":
        decoded = {key: base64.b64decode(value) for key, value in body.get("data", {}).items()}
        return decoded | {key: value.encode() for key, value in body.get("stringData", {}).items()}
    text = {key: value.encode() for key, value in body.get("data", {}).items()}
    return text | {key: base64.b64decode(value) for key, value in body.get("binaryData", {}).items()}


class References:
    """The ConfigMaps and Secrets of one namespace, and which of them have been used."""

    def __init__(self, namespace: str, objects: Iterable[KubernetesObject], problems: Problems) -> None:
        self._namespace = namespace
        self._problems = problems
        self._objects = {
            (obj.kind, obj.name): obj for obj in objects if obj.namespace == namespace and obj.kind in KINDS
        }
        self._contents: dict[tuple[str, str], dict[str, bytes]] = {}
        self._used: set[tuple[str, str]] = set()

    @property
    def used(self) -> list[KubernetesObject]:
        """What has been referred to, sorted by kind and name."""
        return [self._objects[key] for key in sorted(self._used)]

    def all(self, reference: Reference, path: str) -> Mapping[str, bytes]:
        """Everything in what is referred to; nothing when it is missing, which is a problem unless optional."""
        key = (reference.kind, reference.name)
        if not reference.name:
            self._problems.add(path, f"needs the name of a {reference.kind}")
            return {}
        obj = self._objects.get(key)
        if obj is None:
            if not reference.optional:
                subject = f"{reference.kind} {self._namespace}/{reference.name[:80]}"
                self._problems.add(path, f"{subject} is not in this input: give it in the same file")
            return {}
        self._used.add(key)
        if key not in self._contents:
            self._contents[key] = contents(obj.body)
        return self._contents[key]

    def key(self, reference: Reference, key: str, path: str) -> bytes | None:
        """One value; None when it is missing, which is a problem unless optional."""
        before = len(self._problems)
        found = self.all(reference, path)
        if key not in found and not reference.optional and len(self._problems) == before:
            subject = f"{reference.kind} {self._namespace}/{reference.name}"
            self._problems.add(path, f'{subject} has no key "{key[:80]}"')
        return found.get(key)


def check_contents(obj: KubernetesObject, problems: Problems) -> None:
    """Check the keys of a ConfigMap or Secret."""
    for field in ("data", "binaryData", "stringData"):
        for key in obj.body.get(field, {}):
            with problems.at(f"{field}[{key[:80]}]"):
                names.check_config_key(key)
    for key in obj.body.get("binaryData", {}):
        if key in obj.body.get("data", {}):
            problems.add(f"binaryData[{key[:80]}]", "stands in data too: keep one")
