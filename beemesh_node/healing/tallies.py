"""What the decision core did, counted, for people who watch a mesh. Nothing is decided by it.

Counts say how often and why, never what it was about: a workload's name is nobody's business but its guardians'.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from beemesh_node.protocol.messages import Bid, LeaseRefusal, LeaseReply, Refusal

BOUNDS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper ends of the buckets of `Durations`, in seconds; what took longer is in one more."""


@dataclass
class Durations:
    """How often something took how long."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """How many were at most as long as the bound at the same place, and longer than the one before."""
    total: float = 0.0
    """Seconds of all together."""

    def add(self, seconds: float) -> None:
        """Count one."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


@dataclass
class Tallies:
    """Counts since the start of the daemon. Every key is one of a fixed few."""

    placements: Durations = field(default_factory=Durations)
    """From the moment that a slot lacked a replica until one was ready, as its coordinator saw it."""
    rounds: Counter[str] = field(default_factory=Counter)
    """Rounds of placing that are over: `placed` everything, `short` of room for something, `probe`."""
    bids: int = 0
    """Tasks answered with room."""
    bid_refusals: Counter[str] = field(default_factory=Counter)
    """Why tasks were answered with none; one answer may have several reasons."""
    accepted: int = 0
    """Slots taken over."""
    slot_refusals: Counter[str] = field(default_factory=Counter)
    """Why slots that were given to this machine were not taken."""
    restarts: int = 0
    """Containers begun again here."""
    failed_pods: int = 0
    """Pods of this machine that failed for good, or could not be made."""
    lease_answers: Counter[str] = field(default_factory=Counter)
    """What voters said to this machine: `granted`, a refusal, or `unanswered`."""
    leases_taken: int = 0
    lease_renewals: int = 0
    leases_lost: int = 0
    """Pods ended because too few voters renewed their lease."""

    def bid(self, bid: Bid) -> None:
        """Count this machine's answer to a task."""
        if bid.slots > 0:
            self.bids += 1
        else:
            self.bid_refusals.update(_names(bid.refusals))

    def offered(self, accepted: int, refused: Iterable[Iterable[Refusal]]) -> None:
        """Count this machine's answer to an assignment."""
        self.accepted += accepted
        for reasons in refused:
            self.slot_refusals.update(_names(reasons))

    def round_over(self, *, probe: bool, short: bool) -> None:
        """Count a round of placing."""
        self.rounds["probe" if probe else "short" if short else "placed"] += 1

    def lease_answered(self, reply: LeaseReply | None) -> None:
        """Count what a voter said, None if nothing."""
        if reply is None:
            self.lease_answers["unanswered"] += 1
        else:
            granted = reply.refusal is LeaseRefusal.NONE
            self.lease_answers["granted" if granted else reply.refusal.name.lower()] += 1


@dataclass
class Deficits:
    """Since when the slots of one declaration have lacked a replica."""

    _since: dict[int, float] = field(default_factory=dict)

    def lacking(self, slots: Iterable[int], now: float) -> None:
        """Note slots that need a replica; one that was lost before it was ready has lacked it all the time."""
        for slot in slots:
            self._since.setdefault(slot, now)

    def filled(self, slot: int, now: float) -> float | None:
        """Return for how many seconds a slot that has a ready replica now had none; None if it lacked none."""
        since = self._since.pop(slot, None)
        return None if since is None else now - since

    def keep(self, replicas: int) -> None:
        """Forget slots that are not declared any more."""
        self._since = {slot: since for slot, since in self._since.items() if slot < replicas}


def _names(reasons: Iterable[Refusal]) -> Mapping[str, int]:
    return Counter(refusal.reason.name.lower() for refusal in reasons)
