"""Operators read a container's output, or run a command in it."""

from __future__ import annotations

from dataclasses import dataclass

from beemesh_node.protocol.messages.claims import ClaimRef


@dataclass(frozen=True, slots=True)
class LogsRequest:
    """Asks the machine of a claim for a container's output, which follows on the sealed stream."""

    claim: ClaimRef
    container: str
    follow: bool
    previous: bool
    timestamps: bool
    tail: int
    """Lines from the end; -1 for all."""
    since: int
    """Not older than this time; 0 for all."""
    stream_secret: bytes


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """Asks the machine of a claim to run a command in a container; its streams travel on the sealed stream."""

    claim: ClaimRef
    container: str
    command: tuple[str, ...]
    stdin: bool
    tty: bool
    stream_secret: bytes
