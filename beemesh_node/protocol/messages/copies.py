"""Machines bring records and blocks to each other, and ask who keeps them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """Asks for the newest record of a declaration."""

    uid: str


@dataclass(frozen=True, slots=True)
class RecordReply:
    """The record, or nothing."""

    record: bytes


@dataclass(frozen=True, slots=True)
class KeepQuery:
    """Asks a guardian whether it keeps a declaration in this version or a later one: the sender is about to erase it.

    From then on the guardian does not count on the sender to have it.
    """

    uid: str
    sequence: int
    digest: bytes
    """SHA-256 of the record's exact bytes."""
    blocks: tuple[str, ...]
    """Content ids of the blocks that the sender holds of it."""


@dataclass(frozen=True, slots=True)
class KeepReply:
    """`kept` if the answering machine is a guardian, as it sees it, and has record and blocks on its disk."""

    kept: bool


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """Asks for a block by its content id. The block is ciphertext: holding it is no right to read it."""

    cid: str


@dataclass(frozen=True, slots=True)
class BlockReply:
    """The block, or nothing."""

    block: bytes
