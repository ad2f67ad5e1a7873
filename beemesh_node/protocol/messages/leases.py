"""Runners of leased slots ask their voters; voters and guardians agree on who votes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


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
