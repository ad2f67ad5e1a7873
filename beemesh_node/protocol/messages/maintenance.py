"""Operators take machines out of use, and move replicas."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from beemesh_node.protocol.messages.claims import ClaimRef


class Maintenance(IntEnum):
    """What an operator has a machine do with its work. Each also does what the one before it does."""

    NONE = 0
    """Take work: what is not cordoned."""
    CORDON = 1
    """Take none."""
    DRAIN = 2
    """Move every replica to another machine, as a rollout would replace it."""
    EVICT = 3
    """End now what is still here, whether or not it runs elsewhere."""


@dataclass(frozen=True, slots=True)
class MaintenanceRequest:
    """Tells a machine what it is to do with its work. It holds until the next, over restarts.

    Takes the operator's verb `cordon`, from `DRAIN` on also `drain`, for every namespace.
    """

    mode: Maintenance
    grace_seconds: int = -1
    """How long pods that are moved or ended have, instead of their own grace; negative for their own."""


@dataclass(frozen=True, slots=True)
class MaintenanceReply:
    """What holds for the machine now, and how many pods are on it."""

    mode: Maintenance
    pods: int


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """Asks a machine to give some of its claims to others, each as a rollout would replace it.

    Takes the operator's verb `drain` in the namespace of each claim.
    """

    claims: tuple[ClaimRef, ...]


@dataclass(frozen=True, slots=True)
class MoveReply:
    """The claims that are here and leaving now."""

    moving: tuple[ClaimRef, ...]
