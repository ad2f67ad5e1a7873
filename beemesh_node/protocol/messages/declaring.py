"""Operators hand a declaration to its guardians, and guardians to each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyedBlock:
    """A block and what opens it."""

    cid: str
    block: bytes
    content_key: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """A new record with its block (and, between guardians, those of earlier revisions). Storing it is the commit.

    Also what guardians push to each other: the record's own signature is what counts, not who brings it.
    """

    record: bytes
    blocks: tuple[KeyedBlock, ...]
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class SlotPlace:
    """Where a slot is, if it `stays` there, or else where it would go."""

    slot: int
    machine: str
    stays: bool = False


@dataclass(frozen=True, slots=True)
class Forecast:
    """Where the replicas of a declaration would run if it were in force now. Nothing is reserved by it."""

    places: tuple[SlotPlace, ...]
    """By slot. What would find no room is missing."""
    waiting: int = 0
    """How many slots no machine could take."""
    message: str = ""
    """Why; empty if none waits."""


@dataclass(frozen=True, slots=True)
class CommitReply:
    """`accepted`, or why not. On a conflict `current` is the record that the guardian holds instead."""

    accepted: bool
    reason: str = ""
    message: str = ""
    current: bytes = b""
    warnings: tuple[str, ...] = ()
    forecast: Forecast | None = None
    """Of a dry run, from the guardian that would coordinate."""
