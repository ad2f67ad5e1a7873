"""How a container says which pod of which mesh it is: labels, and names made from them.

Labels are what survives everything but the container itself. They hold names and numbers, never content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from beemesh_node.workloads.pod import PodIdentity

PREFIX = "io.beemesh."
MESH = PREFIX + "mesh"
POD_UID = PREFIX + "pod-uid"
CONTAINER = PREFIX + "container"
ROLE = PREFIX + "role"
RESTART = PREFIX + "restart"

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class Role(StrEnum):
    """What a container is within its pod."""

    INIT = "init"
    MAIN = "main"
    SANDBOX = "sandbox"
    """Podman's infra container: it owns the namespaces that the others share."""
    HOLDER = "holder"
    """Never runs; keeps the pod's memory volumes mounted between two lives of a container."""


@dataclass(frozen=True, slots=True)
class ContainerLabels:
    """What the labels of one container say."""

    identity: PodIdentity
    role: Role
    container: str
    restart: int


def safe_name(name: str) -> bool:
    """Whether a name can be part of a path and of a container's name."""
    return _SAFE.fullmatch(name) is not None


def pod_labels(mesh: str, identity: PodIdentity) -> dict[str, str]:
    """Labels that everything of a pod carries."""
    own = {_label(field.name): str(getattr(identity, field.name)) for field in fields(identity)}
    return {MESH: mesh, **own}


def container_labels(mesh: str, identity: PodIdentity, role: Role, container: str, restart: int) -> dict[str, str]:
    """Labels of one life of one container."""
    return {**pod_labels(mesh, identity), ROLE: role.value, CONTAINER: container, RESTART: str(restart)}


def read_labels(labels: Mapping[str, str]) -> ContainerLabels | None:
    """Read labels back; None if they were not written here."""
    try:
        values: dict[str, Any] = {field.name: labels[_label(field.name)] for field in fields(PodIdentity)}
        for number in ("slot", "attempt", "sequence"):
            values[number] = int(values[number])
        identity = PodIdentity(**values)
        role = Role(labels.get(ROLE, Role.SANDBOX))
        if not safe_name(identity.pod_uid):
            return None
        return ContainerLabels(identity, role, labels.get(CONTAINER, ""), int(labels.get(RESTART, "0")))
    except (KeyError, ValueError):
        return None


def pod_name(prefix: str, identity: PodIdentity) -> str:
    """The name of a pod's sandbox in Podman."""
    return f"{prefix}{identity.pod_uid}"


def container_name(prefix: str, identity: PodIdentity, container: str, restart: int) -> str:
    """The name of one life of a container in Podman: each has its own, so that the last is kept for its logs."""
    return f"{prefix}{identity.pod_uid}-{container}-{restart}"


def _label(field: str) -> str:
    return PREFIX + field.replace("_", "-")
