"""Names of things on the command line, as kubectl writes them: `pods`, `deploy hello`, `deployment/hello`, `no`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from beemesh_node.cli.errors import InvalidInputError


class ResourceType(Enum):
    """What can be listed or named. The value is its plural; `kind` is Kubernetes' word for one of it."""

    MACHINES = "machines"
    PODS = "pods"
    DEPLOYMENTS = "deployments"
    STATEFULSETS = "statefulsets"
    WORKLOADS = "workloads"
    EVENTS = "events"
    REVOCATIONS = "revocations"

    @property
    def kind(self) -> str:
        """The kind of a declaration of this type; empty for what has none of its own."""
        return {"pods": "Pod", "deployments": "Deployment", "statefulsets": "StatefulSet"}.get(self.value, "")

    @property
    def singular(self) -> str:
        """One of it, in messages and in `-o name`."""
        return {"machines": "node"}.get(self.value, self.value.removesuffix("s"))


ALIASES: dict[str, ResourceType] = {
    alias: resource
    for resource, aliases in {
        ResourceType.MACHINES: ("machines", "machine", "nodes", "node", "no"),
        ResourceType.PODS: ("pods", "pod", "po"),
        ResourceType.DEPLOYMENTS: ("deployments", "deployment", "deploy", "deployments.apps", "deployment.apps"),
        ResourceType.STATEFULSETS: ("statefulsets", "statefulset", "sts", "statefulsets.apps", "statefulset.apps"),
        ResourceType.WORKLOADS: ("workloads", "workload", "wl"),
        ResourceType.EVENTS: ("events", "event", "ev"),
        ResourceType.REVOCATIONS: ("revocations", "revocation", "rev"),
    }.items()
    for alias in aliases
}
"""Every accepted spelling of a type."""

DECLARED = (ResourceType.DEPLOYMENTS, ResourceType.STATEFULSETS, ResourceType.PODS, ResourceType.WORKLOADS)
"""Types whose members an operator declares and may delete."""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing, or with an empty `name` all of its type."""

    resource: ResourceType
    name: str = ""

    def __str__(self) -> str:
        return f"{self.resource.singular}/{self.name}" if self.name else self.resource.value


def resource_type(word: str) -> ResourceType:
    """Read a type name. Raises `CliError` with the known ones."""
    found = ALIASES.get(word.lower())
    if found is None:
        known = ", ".join(resource.value for resource in ResourceType)
        raise InvalidInputError(f"{word!r} is not a type: use one of {known} (short: no, po, deploy, sts, wl, ev, rev)")
    return found


def parse_targets(words: Sequence[str], default: ResourceType | None = None) -> tuple[Target, ...]:
    """Read `TYPE`, `TYPE,TYPE`, `TYPE NAME…` or `TYPE/NAME…`; a lone `NAME` is of the `default` type, if there is one.

    Raises `CliError` for anything else.
    """
    if not words:
        raise InvalidInputError("name what you mean: TYPE, TYPE NAME or TYPE/NAME, for example deployment/hello")
    if any("/" in word for word in words):
        return tuple(_slashed(word, default) for word in words)
    if default is not None and words[0].lower() not in ALIASES:
        return tuple(Target(default, word) for word in words)
    if default is not None and len(words) == 1:
        return (Target(default, words[0]),)
    types = [resource_type(word) for word in words[0].split(",")]
    if len(types) > 1 and len(words) > 1:
        raise InvalidInputError(f"{words[0]!r} names several types: give the others as TYPE/NAME")
    if len(words) == 1:
        return tuple(Target(resource) for resource in types)
    return tuple(Target(types[0], name) for name in words[1:])


def _slashed(word: str, default: ResourceType | None) -> Target:
    kind, slash, name = word.partition("/")
    if not slash and default is not None:
        return Target(default, word)
    if not slash or not kind or not name or "/" in name:
        raise InvalidInputError(f"{word!r} is not TYPE/NAME, for example deployment/hello; do not mix with TYPE NAME")
    return Target(resource_type(kind), name)
