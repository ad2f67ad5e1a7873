"""Small pieces that several kinds share."""

from __future__ import annotations

from collections.abc import Mapping

from beemesh_node.workloads.kubernetes.times import timestamp
from beemesh_node.workloads.values import Json

Shape = dict[str, Json]
"""A Kubernetes object as plain data, ready for JSON or YAML."""


def filled(**fields: Json) -> Shape:
    """The fields that have a value, as Kubernetes' `omitempty` leaves out the others."""
    return {key: value for key, value in fields.items() if value is not None and value not in ("", [], {})}


def condition(
    kind: str, status: bool | None, reason: str, message: str, since: int, updated: int | None = None
) -> Shape:
    """A condition; `status` None is Unknown. Times in milliseconds."""
    word = "Unknown" if status is None else "True" if status else "False"
    shape: Shape = {"type": kind, "status": word} | filled(
        lastUpdateTime=timestamp(updated) if updated is not None else None,
        lastTransitionTime=timestamp(since),
        reason=reason,
        message=message,
    )
    return shape


def find_condition(shape: Mapping[str, Json], kind: str) -> Mapping[str, Json]:
    """The condition of a type, or nothing."""
    for found in shape.get("status", {}).get("conditions", ()):
        if found["type"] == kind:
            return dict(found)
    return {}
