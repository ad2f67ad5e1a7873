"""Taints and tolerations as Kubernetes evaluates them (v1.Toleration.ToleratesTaint)."""

from __future__ import annotations

from collections.abc import Iterable

from beemesh_node.protocol.messages import Taint, Toleration

REPELLING = frozenset({"NoSchedule", "NoExecute"})
DISLIKED = "PreferNoSchedule"


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether one toleration covers one taint: an empty effect covers all, an empty key with Exists everything."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    match toleration.operator:
        case "Exists":
            return True
        case "Equal" | "":
            return bool(toleration.key) and toleration.value == taint.value
        case _:
            return False


def untolerated(taints: Iterable[Taint], tolerations: Iterable[Toleration]) -> list[Taint]:
    """Return the taints that no toleration covers."""
    covering = tuple(tolerations)
    return [taint for taint in taints if not any(tolerates(toleration, taint) for toleration in covering)]
