"""How many replicas a rollout may have too many or too few, with Kubernetes' rounding."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from beemesh_node.workloads.errors import Problems
from beemesh_node.workloads.values import Json


class Rollout(StrEnum):
    """In which order replicas begin and end."""

    ROLLING = "Rolling"
    """In any, new before old as far as maxSurge goes."""
    RECREATE = "Recreate"
    """All old ones have ended before the first new one begins."""
    ORDERED = "Ordered"
    """From the lowest slot, each once those before it are ready; ended and changed from the highest, one at a time."""
    PARALLEL = "Parallel"
    """Begun and ended all at once, but changed as ORDERED."""

    @property
    def leased(self) -> bool:
        """Whether no slot may ever run twice, so that who runs it needs a lease."""
        return self is not Rollout.ROLLING


DEFAULT = "25%"
_PERCENT = re.compile(r"([0-9]{1,9})%")


def window(replicas: int, body: Mapping[str, Json], path: str, problems: Problems) -> tuple[int, int]:
    """What maxSurge and maxUnavailable of `strategy.rollingUpdate` come to, in replicas.

    A share of maxSurge is rounded up, one of maxUnavailable down; should both become zero, one may be unavailable
    (k8s.io/kubernetes/pkg/controller/deployment/util.ResolveFenceposts). Both given as zero is a problem.
    """
    amounts = {}
    for field, up in (("maxSurge", True), ("maxUnavailable", False)):
        at, given = f"{path}.{field}", body.get(field, DEFAULT)
        amounts[field] = 0
        with problems.at(at):
            amounts[field] = _scaled(given, replicas, up)
            if field == "maxUnavailable" and isinstance(given, str) and _scaled(given, 100, False) > 100:
                raise ValueError(f'"{given}" must not be greater than 100%')
    zero = all(str(body.get(field, DEFAULT)).rstrip("%").strip("0") == "" for field in amounts)
    if zero:
        problems.add(f"{path}.maxUnavailable", "may not be 0 when `maxSurge` is 0")
    surge, unavailable = amounts["maxSurge"], min(amounts["maxUnavailable"], replicas)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _scaled(value: int | str, total: int, up: bool) -> int:
    if isinstance(value, int):
        if value < 0:
            raise ValueError(f"{value} must be greater than or equal to 0")
        return value
    match = _PERCENT.fullmatch(value)
    if match is None:
        raise ValueError(f'"{value[:40]}" must be a whole number or a percentage, for example 1 or 25%')
    share = int(match[1]) * total
    return -(-share // 100) if up else share // 100
