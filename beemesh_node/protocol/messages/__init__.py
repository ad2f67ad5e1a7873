"""Every payload that travels in an envelope, as immutable data. `schemas/messages.fbs` has a table for each.

Who may send what stands in `PAYLOADS`, beside the type number that the header carries and the context string signs.
Amounts: CPU in millicores, memory in bytes, times in milliseconds of mesh time since the Unix epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from beemesh_node.protocol.messages.claims import ClaimRef, ClaimReport, ClaimReports, ContainerReport, EventReport
from beemesh_node.protocol.messages.copies import (
    BlockReply,
    BlockRequest,
    KeepQuery,
    KeepReply,
    RecordQuery,
    RecordReply,
)
from beemesh_node.protocol.messages.declaring import Commit, CommitReply, Forecast, KeyedBlock, SlotPlace
from beemesh_node.protocol.messages.leases import (
    LeaseQuery,
    LeaseRefusal,
    LeaseRelease,
    LeaseReply,
    LeaseRequest,
    LeaseState,
    SignedVote,
    SlotLease,
    VoterAnswer,
    VoterProposal,
    VoterSet,
    VoterSets,
)
from beemesh_node.protocol.messages.listing import ListReply, ListRequest, MachineEntry, Resource, WorkloadEntry
from beemesh_node.protocol.messages.maintenance import (
    LabelReply,
    LabelRequest,
    Maintenance,
    MaintenanceReply,
    MaintenanceRequest,
    MoveReply,
    MoveRequest,
)
from beemesh_node.protocol.messages.meeting import Ack, Failure, IntroductionReply, IntroductionRequest, RelayRequest
from beemesh_node.protocol.messages.placing import (
    Assignment,
    AssignmentReply,
    Bid,
    ClaimQuery,
    ClaimReply,
    ClaimsQuery,
    NoReason,
    Refusal,
    Release,
    SlotAttempt,
    SlotRefusal,
    Task,
)
from beemesh_node.protocol.messages.presence import Death, DeathNotice, Leaving, Presence, Taint
from beemesh_node.protocol.messages.requirements import Expression, PodTerm, Requirements, Term, Toleration
from beemesh_node.protocol.messages.sessions import ExecRequest, LogsRequest
from beemesh_node.protocol.messages.trusting import CertificateRenewal, TrustNews, TrustReply

__all__ = [
    "PAYLOADS",
    "Ack",
    "Assignment",
    "AssignmentReply",
    "Bid",
    "BlockReply",
    "BlockRequest",
    "CertificateRenewal",
    "ClaimQuery",
    "ClaimRef",
    "ClaimReply",
    "ClaimReport",
    "ClaimReports",
    "ClaimsQuery",
    "Commit",
    "CommitReply",
    "ContainerReport",
    "Death",
    "DeathNotice",
    "EventReport",
    "ExecRequest",
    "Expression",
    "Failure",
    "Forecast",
    "IntroductionReply",
    "IntroductionRequest",
    "KeepQuery",
    "KeepReply",
    "KeyedBlock",
    "LabelReply",
    "LabelRequest",
    "LeaseQuery",
    "LeaseRefusal",
    "LeaseRelease",
    "LeaseReply",
    "LeaseRequest",
    "LeaseState",
    "Leaving",
    "ListReply",
    "ListRequest",
    "LogsRequest",
    "MachineEntry",
    "Maintenance",
    "MaintenanceReply",
    "MaintenanceRequest",
    "MoveReply",
    "MoveRequest",
    "NoReason",
    "PodTerm",
    "Presence",
    "RecordQuery",
    "RecordReply",
    "Refusal",
    "RelayRequest",
    "Release",
    "Requirements",
    "Resource",
    "Sender",
    "SignedVote",
    "SlotAttempt",
    "SlotLease",
    "SlotPlace",
    "SlotRefusal",
    "Taint",
    "Task",
    "Term",
    "Toleration",
    "TrustNews",
    "TrustReply",
    "VoterAnswer",
    "VoterProposal",
    "VoterSet",
    "VoterSets",
    "WorkloadEntry",
]


class Sender(IntEnum):
    """Which roles may send a payload."""

    MACHINE = 1
    OPERATOR = 2
    ANY = 3


PAYLOADS: Mapping[int, tuple[type, Sender]] = {
    1: (Presence, Sender.MACHINE),
    2: (Leaving, Sender.MACHINE),
    3: (DeathNotice, Sender.MACHINE),
    10: (Commit, Sender.ANY),
    11: (CommitReply, Sender.MACHINE),
    12: (ListRequest, Sender.OPERATOR),
    13: (ListReply, Sender.MACHINE),
    14: (LogsRequest, Sender.OPERATOR),
    15: (ExecRequest, Sender.OPERATOR),
    16: (MaintenanceRequest, Sender.OPERATOR),
    17: (MaintenanceReply, Sender.MACHINE),
    18: (MoveRequest, Sender.OPERATOR),
    19: (MoveReply, Sender.MACHINE),
    20: (Task, Sender.MACHINE),
    21: (Bid, Sender.MACHINE),
    22: (Assignment, Sender.MACHINE),
    23: (AssignmentReply, Sender.MACHINE),
    24: (ClaimReports, Sender.MACHINE),
    25: (Release, Sender.MACHINE),
    26: (ClaimQuery, Sender.MACHINE),
    27: (ClaimReply, Sender.MACHINE),
    29: (ClaimsQuery, Sender.MACHINE),
    30: (KeepQuery, Sender.MACHINE),
    31: (KeepReply, Sender.MACHINE),
    32: (RecordQuery, Sender.MACHINE),
    33: (RecordReply, Sender.MACHINE),
    34: (BlockRequest, Sender.ANY),
    35: (BlockReply, Sender.MACHINE),
    36: (IntroductionRequest, Sender.ANY),
    37: (IntroductionReply, Sender.MACHINE),
    38: (RelayRequest, Sender.ANY),
    50: (LeaseRequest, Sender.MACHINE),
    51: (LeaseReply, Sender.MACHINE),
    52: (LeaseRelease, Sender.MACHINE),
    53: (LeaseQuery, Sender.ANY),
    54: (LeaseState, Sender.MACHINE),
    55: (VoterSets, Sender.MACHINE),
    56: (VoterProposal, Sender.MACHINE),
    57: (VoterAnswer, Sender.MACHINE),
    60: (TrustNews, Sender.ANY),
    61: (TrustReply, Sender.MACHINE),
    62: (CertificateRenewal, Sender.OPERATOR),
    40: (Ack, Sender.MACHINE),
    41: (Failure, Sender.MACHINE),
    42: (LabelRequest, Sender.OPERATOR),
    43: (LabelReply, Sender.MACHINE),
}
"""Type number in the header -> payload class and who may send it."""
