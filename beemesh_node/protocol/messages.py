"""Every payload that travels in an envelope, as immutable data. `schemas/messages.fbs` has a table for each.

Who may send what stands in `PAYLOADS`, beside the type number that the header carries and the context string signs.
Amounts: CPU in millicores, memory in bytes, times in milliseconds of mesh time since the Unix epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

# ---- machines to all members (under the epoch) ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taint:
    """v1.Taint: keeps pods away that do not tolerate it. `effect` is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


@dataclass(frozen=True, slots=True)
class Presence:
    """A machine says that it is there and what it has. Sent at a rate that falls as the mesh grows."""

    statement: bytes
    """The session statement object: session id and KEM key, by which others seal to this machine."""
    addresses: tuple[str, ...]
    """Multiaddrs at which it can be dialled."""
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    unschedulable: bool
    """Cordoned: keeps what it has, takes nothing new."""
    cpu_allocatable: int
    memory_allocatable: int
    cpu_reserved: int
    memory_reserved: int
    host_ports: tuple[int, ...]
    """Ports of the machine that pods already hold."""
    pods: int
    architecture: str
    operating_system: str
    kernel: str
    runtime_version: str
    node_version: str
    started_at: int
    """When this daemon started."""
    sequence: int
    """Grows with every presence of one session; the greatest is the newest."""
    period_ms: int
    """When the next one is due; three missed mean that nothing is known of the machine."""
    ready: bool
    reason: str
    """Why it is not ready ("Podman does not answer: …"), else empty."""
    incarnation: int = 0
    """How often this daemon had to contradict that it is dead (SWIM): a death notice counts for one incarnation."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """A machine stops in order, and says so, so that nobody suspects it dead."""

    restarting: bool
    """True for a restart: its pods go on running and it will be back."""


@dataclass(frozen=True, slots=True)
class Death:
    """A machine that is held dead, as of which start and incarnation of its daemon, and why."""

    machine: str
    started_at: int
    incarnation: int
    reason: str


@dataclass(frozen=True, slots=True)
class DeathNotice:
    """A watcher says that it holds machines dead. Two watchers must say so for a death to count."""

    deaths: tuple[Death, ...]


# ---- operators to guardians -----------------------------------------------------------------------------------------


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
class CommitReply:
    """`accepted`, or why not. On a conflict `current` is the record that the guardian holds instead."""

    accepted: bool
    reason: str = ""
    message: str = ""
    current: bytes = b""
    warnings: tuple[str, ...] = ()


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
class ClaimRef:
    """One replica on one machine. Of two for a slot and revision the lower (attempt, machine) is better."""

    uid: str
    sequence: int
    slot: int
    attempt: int
    machine: str
    revision: str


@dataclass(frozen=True, slots=True)
class ContainerReport:
    """workloads.pod.ContainerStatus as it travels; see there."""

    name: str
    image: str
    state: str
    ready: bool
    started: bool
    restart_count: int
    reason: str
    message: str
    exit_code: int
    started_at: int
    finished_at: int
    container_id: str
    image_id: str
    last_exit_code: int
    last_reason: str
    last_finished_at: int


@dataclass(frozen=True, slots=True)
class ClaimReport:
    """The machine of a claim says how it is. `gone` ends the claim."""

    claim: ClaimRef
    namespace: str
    workload: str
    pod_name: str
    pod_uid: str
    phase: str
    ready: bool
    reason: str
    message: str
    pod_ip: str
    host_ip: str
    created_at: int
    started_at: int
    containers: tuple[ContainerReport, ...]
    init_containers: tuple[ContainerReport, ...]
    gone: bool
    version: int
    """Grows with every report of one claim, so that late ones are known as old."""
    leaving: str = ""
    """Why it is to be moved to another machine ("oak is drained"), empty if it is to stay."""
    home: str = ""
    """The machine that holds the volumes of this slot, where it has any and it is known."""


@dataclass(frozen=True, slots=True)
class ClaimReports:
    """The machine of these claims tells their guardian how they are: all that changed within a moment."""

    reports: tuple[ClaimReport, ...]
    events: tuple[EventReport, ...] = ()
    """What happened to claims there: guardians keep it, so that it outlives the machine."""


@dataclass(frozen=True, slots=True)
class EventReport:
    """v1.Event in short. `uid` is the declaration it is about; `count` how often it happened since `first_at`."""

    uid: str
    namespace: str
    kind: str
    name: str
    type: str
    """Normal or Warning."""
    reason: str
    message: str
    machine: str
    first_at: int
    last_at: int
    count: int
    pod: str = ""
    """The pod that it happened to, if it was one."""
    slot: int = -1
    """The replica that it happened to; -1 when it is about none alone."""


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


# ---- scheduling, between machines -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expression:
    """v1.NodeSelectorRequirement and LabelSelectorRequirement: `operator` In, NotIn, Exists, DoesNotExist, Gt, Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Term:
    """Expressions that must all hold. `weight` is 0 for a required term, 1 to 100 for a preferred one."""

    expressions: tuple[Expression, ...]
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Toleration:
    """v1.Toleration: `operator` is Equal or Exists; an empty `effect` or key matches all."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True)
class PodTerm:
    """Pod (anti-)affinity: pods with these labels (in these namespaces), counted per value of the topology key."""

    selector: tuple[Expression, ...]
    namespaces: tuple[str, ...]
    topology_key: str
    anti: bool
    weight: int = 0
    """0 for a required term, 1 to 100 for a preferred one."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a machine must have to run one replica. All of it is readable by every member; manifests are not in it."""

    cpu_millis: int
    memory_bytes: int
    host_ports: tuple[int, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    node_terms: tuple[Term, ...] = ()
    """Required terms of which one must hold; none means no restriction."""
    preferred_terms: tuple[Term, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    pod_terms: tuple[PodTerm, ...] = ()
    images: tuple[str, ...] = ()
    priority: int = 0
    local_images: tuple[str, ...] = ()
    """Those of the images that must be on the machine already: they are never pulled."""
    leased: bool = False
    """It may run only under a lease, which takes a machine that can guard pods."""


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


# ---- leases ---------------------------------------------------------------------------------------------------------


class LeaseRefusal(IntEnum):
    """Why a voter does not grant, or does not sign."""

    NONE = 0
    UNKNOWN = 1
    """It does not hold the record."""
    HELD = 2
    """Another pod holds the lease of the slot."""
    RESTARTED = 3
    """It was restarted, and is silent until what it may have granted before is over."""
    OUTDATED = 4
    """It knows a newer voter set."""
    BEHIND = 5
    """It does not know the voter set yet: show it."""
    NO_VOTER = 6
    """It is not in the voter set."""
    ELSEWHERE = 7
    """The volumes of the slot are on another machine, `holder`."""
    OVER = 8
    """The declaration is deleted, or the slot is not declared."""
    EARLY = 9
    """The present voter set has not been known for long enough to sign the next."""
    SIGNED = 10
    """It has signed another successor of the present voter set."""
    INVALID = 11
    """What is asked for breaks a rule, whoever asks."""


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """A machine asks a voter to grant the lease of a slot to one of its pods, or to renew it."""

    uid: str
    slot: int
    pod_uid: str
    number: int
    """Of the voter set that the machine counts grants of."""
    ttl_ms: int
    term: int = 0
    """The term of the lease, 0 while the machine does not know which it will be."""
    binds: bool = False
    """The slot has volumes: with a term they are, from now on, on the asking machine."""
    round: int = 0
    """Grows with every request of a machine, over restarts: a release ends only grants of earlier rounds."""


@dataclass(frozen=True, slots=True)
class LeaseReply:
    """Granted unless there is a `refusal`."""

    refusal: LeaseRefusal
    number: int = 0
    """Of the newest voter set that the voter knows."""
    term: int = 0
    """The greatest term of the slot that the voter knows."""
    holder: str = ""
    """The machine that holds the lease, or the volumes, instead."""
    remaining_ms: int = 0
    """For how long yet, as the voter counts."""


@dataclass(frozen=True, slots=True)
class LeaseRelease:
    """The pod has ended or was not begun: what was granted to it up to this round is free."""

    uid: str
    slot: int
    pod_uid: str
    round: int


@dataclass(frozen=True, slots=True)
class LeaseQuery:
    """Asks a voter what it knows of the leases of a declaration."""

    uid: str


@dataclass(frozen=True, slots=True)
class SlotLease:
    """One slot as a voter knows it. `holder` is empty when it has granted the lease to nobody just now."""

    slot: int
    term: int
    home: str
    """The machine that holds its volumes, if it has any."""
    holder: str
    pod_uid: str
    remaining_ms: int


@dataclass(frozen=True, slots=True)
class LeaseState:
    """What a voter knows. `voters` is empty if it is none, and never was."""

    number: int
    voters: tuple[str, ...]
    slots: tuple[SlotLease, ...]


@dataclass(frozen=True, slots=True)
class SignedVote:
    """The signed object of a `voters.VoterVote`, and the certificate of who signed it."""

    certificate: bytes
    vote: bytes


@dataclass(frozen=True, slots=True)
class VoterSet:
    """A voter set that is in force, since a majority of the one before has signed it."""

    number: int
    voters: tuple[str, ...]
    votes: tuple[SignedVote, ...]


@dataclass(frozen=True, slots=True)
class VoterSets:
    """Shows the voter sets of a declaration, each following on the one before."""

    uid: str
    sets: tuple[VoterSet, ...]


@dataclass(frozen=True, slots=True)
class VoterProposal:
    """Asks a voter to sign a successor of the voter set in force."""

    uid: str
    number: int
    voters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VoterAnswer:
    """Signed, or why not."""

    refusal: LeaseRefusal
    number: int = 0
    """Of the newest voter set that the voter knows."""
    signed_voters: tuple[str, ...] = ()
    """The successor that it has signed."""
    vote: SignedVote | None = None


# ---- keeping copies -------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class IntroductionRequest:
    """Asks who the member behind a fingerprint or machine id is. Give one of both."""

    fingerprint: bytes
    machine: str


@dataclass(frozen=True, slots=True)
class IntroductionReply:
    """Certificate and session statement, both signed by those who can; or nothing."""

    certificate: bytes
    statement: bytes


@dataclass(frozen=True, slots=True)
class RelayRequest:
    """Asks to be joined to another machine: after an `Ack` every further frame is passed on unread, both ways."""

    machine: str


@dataclass(frozen=True, slots=True)
class Ack:
    """Done."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Not done, and why. `code` is a Kubernetes-like reason: NotFound, Forbidden, Conflict, Invalid, Unavailable."""

    code: str
    message: str


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
    40: (Ack, Sender.MACHINE),
    41: (Failure, Sender.MACHINE),
}
"""Type number in the header -> payload class and who may send it."""
