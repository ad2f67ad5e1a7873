"""Operators take machines out of use, move replicas, and label machines."""

from __future__ import annotations

from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """Tells a machine which labels it is to have. Each holds until the next order about its key, over restarts.

    Takes the operator's verb `label`, for every namespace. Nothing is changed unless all of it can be.
    """

    labels: Mapping[str, str]
    removed: tuple[str, ...] = ()
    """Keys that it is to have no more."""
    overwrite: bool = False
    """Whether labels that are there may get another value."""
    dry_run: bool = False
    """Only say what would be."""


@dataclass(frozen=True, slots=True)
class LabelReply:
    """All labels of the machine as it was, and as it is or would be: its own and those of its certificate."""

    before: Mapping[str, str]
    after: Mapping[str, str]
