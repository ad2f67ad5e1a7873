"""What the decision core wants done. Effects are performed in order: what is to be persisted, is, before the next.

The core never sends to itself: a machine that is its own guardian or runner is served inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NewType, TypeAlias

from beemesh_node.healing.leases.voter import HeldVoter
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    AssignmentReply,
    Bid,
    ClaimQuery,
    ClaimRef,
    ClaimReply,
    ClaimReports,
    ClaimsQuery,
    EventReport,
    Forecast,
    KeepQuery,
    KeepReply,
    LeaseRefusal,
    LeaseRelease,
    LeaseReply,
    LeaseRequest,
    LeaseState,
    MoveReply,
    Requirements,
    SlotAttempt,
    Task,
    VoterProposal,
)
from beemesh_node.protocol.voters import SlotMark
from beemesh_node.workloads.pod import PodIdentity

Token = NewType("Token", int)
"""Joins a question with its answer. The core's own are unique over the life of one `Core`."""


@dataclass(frozen=True, slots=True)
class HeldClaim:
    """A claim of this machine, as it is persisted so that a restarted daemon knows what it holds."""

    ref: ClaimRef
    identity: PodIdentity
    requirements: Requirements
    labels: Mapping[str, str]
    created_at: int
    """Mesh time in ms."""
    leased: bool = False
    """It takes a lease to run it."""
    ending: str = ""
    """Why its room has been given to another pod, so that also a restarted daemon ends it; empty if it has not."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Put a question to a machine and bring the answer back within `timeout` seconds."""

    token: Token
    machine: MachineId
    payload: Task | ClaimQuery | ClaimsQuery | KeepQuery | LeaseRequest | VoterProposal
    timeout: float


@dataclass(frozen=True, slots=True)
class Assign:
    """Send an `Assignment` with the record of this sequence, its block and content key; the answer comes as for `Ask`.

    If another version has been stored meanwhile, answer with `Unanswered`: the core has planned anew.
    """

    token: Token
    machine: MachineId
    task_id: bytes
    uid: Uid
    sequence: int
    slots: tuple[SlotAttempt, ...]
    timeout: float
    preempt: bool = False
    """Pods of lower priority are to go for it."""


@dataclass(frozen=True, slots=True)
class VoteCast:
    """This machine's vote on a successor of a voter set; signed, unless refused, before it leaves."""

    refusal: LeaseRefusal
    uid: Uid
    number: int
    """Of the newest voter set that is known here."""
    signed: tuple[MachineId, ...]
    """The successor of that set that has been signed here."""
    marks: tuple[SlotMark, ...]


Said: TypeAlias = (
    Bid | AssignmentReply | ClaimReply | KeepReply | MoveReply | LeaseReply | LeaseState | VoteCast | Forecast
)
"""What the core answers."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer a question (`Asked`, `AssignmentOffered`, `ForecastAsked`)."""

    token: Token
    payload: Said


@dataclass(frozen=True, slots=True)
class Tell:
    """Send without an answer. `Untold` says that reports may not have arrived; the core repeats what matters."""

    machine: MachineId
    payload: ClaimReports | LeaseRelease


@dataclass(frozen=True, slots=True)
class OfferRelease:
    """Send a `Release` with the newest record of `shown`, without an answer."""

    machine: MachineId
    claim: ClaimRef
    better: ClaimRef | None
    shown: Uid
    """The claim's own declaration, or the one of its name that runs instead: what the runner has to know."""


@dataclass(frozen=True, slots=True)
class StartPod:
    """Make the pod of this identity from the template of its record, or go on with it where it exists."""

    identity: PodIdentity
    deadline: float | None = None
    """A leased pod must not run beyond this moment of the core's time, whatever happens; None for one without lease."""
    term: int = 0
    """Of its lease: storage that must never see two writers takes the greater term."""


@dataclass(frozen=True, slots=True)
class SetGuard:
    """Let a leased pod run until this moment of the core's time: its lease was renewed."""

    identity: PodIdentity
    deadline: float


@dataclass(frozen=True, slots=True)
class StopPod:
    """End the pod within a grace period and remove it; `PodEnded` follows, also if there was none."""

    identity: PodIdentity
    grace: float | None = None
    """Seconds; None for the pod's own."""


@dataclass(frozen=True, slots=True)
class PersistClaim:
    """Write the claim before anything of it starts."""

    claim: HeldClaim


@dataclass(frozen=True, slots=True)
class ForgetClaim:
    """Remove the persisted claim of this pod."""

    pod_uid: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something people should know. A repetition comes with a greater `count`, and seldom."""

    event: EventReport


@dataclass(frozen=True, slots=True)
class PushRecord:
    """Bring record, blocks and content keys to a guardian not known to have them; `RecordHeld` follows if it worked."""

    uid: Uid
    machine: MachineId


@dataclass(frozen=True, slots=True)
class EraseRecord:
    """Erase record, blocks and content keys if `stamp` is still that of `DeclarationStored`; `RecordErased` follows.

    If it has been written again meanwhile, somebody counts on this machine, and nothing is erased.
    """

    uid: Uid
    stamp: int


@dataclass(frozen=True, slots=True)
class PersistVoter:
    """Write what a voter has granted and signed. If that fails, no answer of a voter leaves until it is written."""

    voter: HeldVoter


@dataclass(frozen=True, slots=True)
class ShowVoterSets:
    """Send all voter sets of a declaration that are known here, with their votes."""

    uid: Uid
    machine: MachineId


@dataclass(frozen=True, slots=True)
class FormVoterSet:
    """A majority has signed: put their votes together. `VoterSetsShown` follows."""

    uid: Uid
    number: int
    members: tuple[MachineId, ...]
    signers: tuple[MachineId, ...]
    marks: tuple[SlotMark, ...]
    """What this machine's own vote says of the slots, if it is among the signers."""


Effect: TypeAlias = (
    Ask
    | Assign
    | Reply
    | Tell
    | OfferRelease
    | StartPod
    | SetGuard
    | StopPod
    | PersistClaim
    | ForgetClaim
    | PersistVoter
    | ShowVoterSets
    | FormVoterSet
    | Note
    | PushRecord
    | EraseRecord
)
