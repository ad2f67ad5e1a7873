"""What the decision core is told. Everything in here has already been verified by the daemon.

A question that the core puts (`effects.Ask`, `effects.Assign`) is answered by exactly one `Answered` or `Unanswered`
with its token. A question put to the core (`Asked`, `AssignmentOffered`) carries a token of the daemon's own, which
comes back in `effects.Reply`, at once or later, exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.effects import HeldClaim, Token
from beemesh_node.healing.leases.voter import HeldVoter
from beemesh_node.healing.leases.voters import Voters
from beemesh_node.membership.member import Member
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    AssignmentReply,
    Bid,
    ClaimQuery,
    ClaimRef,
    ClaimReply,
    ClaimReport,
    ClaimReports,
    ClaimsQuery,
    EventReport,
    KeepQuery,
    KeepReply,
    LeaseQuery,
    LeaseRelease,
    LeaseReply,
    LeaseRequest,
    Maintenance,
    MoveRequest,
    SlotAttempt,
    Task,
    VoterAnswer,
    VoterProposal,
)
from beemesh_node.workloads.pod import PodStatus


@dataclass(frozen=True, slots=True)
class MemberSeen:
    """A presence arrived. Also sent when nothing changed: it is what keeps the member alive."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberGone:
    """A machine is dead, or left in order. A `restarting` one keeps its claims for a while."""

    machine: MachineId
    why: str
    restarting: bool = False


@dataclass(frozen=True, slots=True)
class LocalChanged:
    """What this machine itself is and has; bids say "starting" until the first. Reserved amounts are ignored."""

    member: Member
    images: frozenset[str] = frozenset()
    """References of the images that are here."""
    max_pods: int = 110
    address: str = ""
    """The address that reports of pods give as their host's."""
    guards: bool = False
    """Whether the kernel ends leased pods here in time; without, none is taken."""


@dataclass(frozen=True, slots=True)
class DeclarationStored:
    """A record has been verified and written: a new one, a newer one, a tombstone, or (at start) one from the disk."""

    declaration: Declaration
    fresh: bool = False
    """True only for the first record of a uid straight from its operator: nobody can hold claims of it yet."""
    stamp: int = 0
    """Another one each time that a version is written here, also the same once more. See `EraseRecord`."""


@dataclass(frozen=True, slots=True)
class RecordHeld:
    """Another machine acknowledged that it stores this version (or a greater one) of a declaration."""

    uid: Uid
    machine: MachineId
    sequence: int
    deleted: bool
    digest: bytes


@dataclass(frozen=True, slots=True)
class RecordErased:
    """What was written with this stamp is not on the disk any more."""

    uid: Uid
    stamp: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A member asks, or an operator has claims moved."""

    token: Token
    sender: MachineId
    payload: Task | ClaimQuery | ClaimsQuery | KeepQuery | MoveRequest | LeaseRequest | LeaseQuery | VoterProposal


@dataclass(frozen=True, slots=True)
class AssignmentOffered:
    """A guardian gives slots to this machine. `declaration` is what the record in the assignment says.

    The daemon has stored record, block and content key before, and sent `DeclarationStored` if they were news.
    """

    token: Token
    sender: MachineId
    declaration: Declaration
    slots: tuple[SlotAttempt, ...]
    preempt: bool = False
    """Pods of lower priority are to go, if there is no other room."""


@dataclass(frozen=True, slots=True)
class ForecastAsked:
    """An operator asks where the replicas of a declaration would run. It is not stored, or not this version of it."""

    token: Token
    declaration: Declaration


@dataclass(frozen=True, slots=True)
class ReleaseOffered:
    """A guardian holds that a claim of this machine is over. The record in it has been stored, if it was news."""

    sender: MachineId
    claim: ClaimRef
    better: ClaimRef | None


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a question of the core."""

    token: Token
    payload: Bid | AssignmentReply | ClaimReply | KeepReply | LeaseReply | VoterAnswer


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer came in time, or the machine could not be reached, or answered with a failure."""

    token: Token
    reason: str


@dataclass(frozen=True, slots=True)
class ClaimsReported:
    """A runner tells how its claims are."""

    sender: MachineId
    reports: tuple[ClaimReport, ...]
    events: tuple[EventReport, ...] = ()
    """What happened to them there."""


@dataclass(frozen=True, slots=True)
class Untold:
    """What this machine told another of its claims got no answer: it may not have arrived."""

    machine: MachineId
    told: ClaimReports


@dataclass(frozen=True, slots=True)
class PodChanged:
    """A pod of this machine is in another state, running or on the way."""

    status: PodStatus


@dataclass(frozen=True, slots=True)
class PodStartFailed:
    """A pod could not be made. Unless `retryable`, the runtime has removed what it had made of it.

    `retryable` says that the cause is this machine's own and passes ("Podman does not answer"): the core will ask for
    the start again. An image that cannot be pulled is no failed start but a state of the pod, retried by the runtime.
    """

    pod_uid: str
    reason: str
    message: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class PodEnded:
    """A pod and all of its containers are removed, asked for or not."""

    pod_uid: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Adopted:
    """At start, once: the claims that were persisted and the pods that were found. Until then, nothing is taken.

    A claim whose pod was not found is started again only after the guardians have been asked.
    """

    claims: tuple[HeldClaim, ...] = ()
    pods: tuple[PodStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class MaintenanceSet:
    """What an operator has this machine do with its work: told at start, before `Adopted`, and on every change.

    Whether it is cordoned is told by `LocalChanged`.
    """

    mode: Maintenance
    grace: float | None = None
    """Seconds that pods which leave have to end; None for their own."""


@dataclass(frozen=True, slots=True)
class LeaseReleased:
    """A machine tells a voter that a pod of its has ended."""

    sender: MachineId
    release: LeaseRelease


@dataclass(frozen=True, slots=True)
class VoterSetsShown:
    """Voter sets of a declaration, in order, each signed by a majority of the one before it. Repetition is fine."""

    uid: Uid
    sets: tuple[Voters, ...]


@dataclass(frozen=True, slots=True)
class VotersHeld:
    """At start, before anybody may ask: what this machine's voters persisted."""

    voters: tuple[HeldVoter, ...]


@dataclass(frozen=True, slots=True)
class Restarting:
    """The daemon is about to restart, and its pods run on meanwhile."""


@dataclass(frozen=True, slots=True)
class TimeSet:
    """Mesh time is `epoch_ms` + 1000 * `now`. Only written into reports: nothing is decided by it."""

    epoch_ms: int


@dataclass(frozen=True, slots=True)
class Wakeup:
    """`next_wakeup` has come."""


Event: TypeAlias = (
    MemberSeen
    | MemberGone
    | LocalChanged
    | DeclarationStored
    | RecordHeld
    | RecordErased
    | Asked
    | AssignmentOffered
    | ForecastAsked
    | ReleaseOffered
    | Answered
    | Unanswered
    | ClaimsReported
    | Untold
    | PodChanged
    | PodStartFailed
    | PodEnded
    | Adopted
    | MaintenanceSet
    | LeaseReleased
    | VoterSetsShown
    | VotersHeld
    | Restarting
    | TimeSet
    | Wakeup
)
