"""Guardians ask for bids, assign slots, and ask what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from beemesh_node.protocol.messages.claims import ClaimRef, ClaimReport, EventReport
from beemesh_node.protocol.messages.declaring import KeyedBlock
from beemesh_node.protocol.messages.requirements import Requirements


@dataclass(frozen=True, slots=True)
class Task:
    """A guardian asks a machine whether it could run replicas of a declaration, and how many."""

    task_id: bytes
    uid: str
    sequence: int
    count: int
    requirements: Requirements
    namespace: str = ""
    """With `labels`, filled only when the requirements hold pod terms: these compare a pod with its neighbours."""
    labels: Mapping[str, str] = field(default_factory=dict)


class NoReason(IntEnum):
    """Why a machine cannot take a replica. The words that people see stand in scheduling.reasons."""

    CPU = 0
    MEMORY = 1
    ARCHITECTURE = 2
    NODE_SELECTOR = 3
    NODE_AFFINITY = 4
    TAINT = 5
    HOST_PORT = 6
    CORDONED = 7
    POD_AFFINITY = 8
    POD_ANTI_AFFINITY = 9
    PODS = 10
    NOT_READY = 11
    OUTDATED = 12
    STARTING = 13
    BACK_OFF = 14
    UNANSWERED = 15
    IMAGE = 16
    LEAVING = 17
    GUARD = 18
    VOLUME = 19


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason with the detail that helps ("needs 4Gi, 1.2Gi free")."""

    reason: NoReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Bid:
    """How many replicas the machine could take (0 with reasons), and how well. A higher score is better."""

    task_id: bytes
    slots: int
    score: int
    """0 to 1000, from the share of what would stay free, preferred terms and images present."""
    running: int
    """Replicas of this declaration that it already runs: for spreading."""
    refusals: tuple[Refusal, ...] = ()
    victims: int = 0
    """If it could take none as it is: how many pods of lower priority would have to go for one; 0 if that is no way."""
    victim_priority: int = 0
    """The highest priority among these pods."""


@dataclass(frozen=True, slots=True)
class SlotAttempt:
    """A slot and which attempt at it this is."""

    slot: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """A guardian gives slots to a winner, with the operator's own record and what opens its block."""

    task_id: bytes
    record: bytes
    block: KeyedBlock
    slots: tuple[SlotAttempt, ...]
    preempt: bool = False
    """Pods of lower priority are to go for it."""


@dataclass(frozen=True, slots=True)
class SlotRefusal:
    """A slot that the machine would not take after all."""

    slot: int
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class AssignmentReply:
    """Which slots are reserved and starting, and which are not."""

    accepted: tuple[int, ...]
    refused: tuple[SlotRefusal, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """A guardian shows a runner why its claim is over: a newer record, or a better claim that it may ask itself."""

    claim: ClaimRef
    record: bytes
    better: ClaimRef | None = None
    blocks: tuple[KeyedBlock, ...] = ()
    """What the record names, for a runner that has not heard of it."""


@dataclass(frozen=True, slots=True)
class ClaimQuery:
    """Asks the holder of a claim how it is."""

    claim: ClaimRef


@dataclass(frozen=True, slots=True)
class ClaimsQuery:
    """Asks a machine for all that it holds or knows of a declaration's claims: how a guardian that is new learns."""

    uid: str


@dataclass(frozen=True, slots=True)
class ClaimReply:
    """What is known of the claims asked for. Of the answering machine's own claims it is all there is."""

    reports: tuple[ClaimReport, ...]
    events: tuple[EventReport, ...] = ()
    """What the answering machine remembers of the declaration, for a guardian that is new to it."""
