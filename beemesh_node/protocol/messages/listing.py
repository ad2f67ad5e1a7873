"""Operators ask what a machine knows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from beemesh_node.protocol.messages.claims import ClaimReport, EventReport
from beemesh_node.protocol.messages.declaring import KeyedBlock
from beemesh_node.protocol.messages.presence import Presence


class Resource(IntEnum):
    """What a `ListRequest` asks for."""

    MACHINES = 0
    WORKLOADS = 1
    PODS = 2
    EVENTS = 3
    ROLLOUT = 4
    """One declaration, by its uid, and its pods."""


@dataclass(frozen=True, slots=True)
class ListRequest:
    """Asks a machine for what it knows. Empty fields do not restrict."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    uid: str = ""
    content: bool = False
    """With the records' blocks and keys: all revisions kept."""
    after: str = ""
    """Where the last answer to this question broke off: its `next`."""
    known: bytes = b""
    """The `state` of the last answer: the next is given when it differs, or after some seconds. For `ROLLOUT`."""


@dataclass(frozen=True, slots=True)
class MachineEntry:
    """A member as the answering machine knows it."""

    machine: str
    certificate: bytes
    statement: bytes
    presence: Presence | None
    age_ms: int
    """How long ago it was last heard."""
    connected: bool


@dataclass(frozen=True, slots=True)
class WorkloadEntry:
    """A declaration as a guardian knows it."""

    record: bytes
    blocks: tuple[KeyedBlock, ...]
    guardians: tuple[str, ...]
    coordinator: str
    shadowed: bool
    message: str
    """Why it is not (yet) as declared, in a sentence: what `describe` shows."""
    progress_failed: bool
    """The rollout passed its progress deadline."""
    progressed_at: int


@dataclass(frozen=True, slots=True)
class ListReply:
    """The answer to a `ListRequest`; only what was asked for is filled."""

    machines: tuple[MachineEntry, ...] = ()
    workloads: tuple[WorkloadEntry, ...] = ()
    pods: tuple[ClaimReport, ...] = ()
    events: tuple[EventReport, ...] = ()
    next: str = ""
    """Not empty when there is more than one answer holds: what to ask for with `ListRequest.after`."""
    state: bytes = b""
    """Of a `ROLLOUT`: the same as long as the answer would be, in the life of the machine that answers."""
