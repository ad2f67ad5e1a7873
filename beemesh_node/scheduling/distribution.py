"""Which bidder gets which slots: all of a round in one step, best first, spread over machines and zones."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from beemesh_node.membership.labels import ZONE_LABEL
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import PodTerm, SlotAttempt
from beemesh_node.scheduling.neighbours import matches_itself

REPLICA_PENALTY = 150
"""Points that each replica of the declaration on a machine takes off its next one: outweighs moderate differences."""
ZONE_PENALTY = 100
"""Points that each replica in a zone takes off the next one there."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A bid, with the labels of its machine."""

    machine: MachineId
    slots: int
    score: int
    running: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DomainRule:
    """Replicas of the declaration must (or, `anti`, must not) share one value of the topology key."""

    key: str
    anti: bool


def domain_rules(terms: Iterable[PodTerm], namespace: str, labels: Mapping[str, str]) -> tuple[DomainRule, ...]:
    """Return the required pod terms that mean the declaration's own replicas."""
    return tuple(
        DomainRule(term.topology_key, term.anti)
        for term in terms
        if term.weight == 0 and matches_itself(term, namespace, labels)
    )


@dataclass
class _Spread:
    """Where replicas are: those that were there, and those given in this step."""

    rules: Sequence[DomainRule]
    domains: dict[str, Counter[str]] = field(default_factory=dict)
    given: Counter[MachineId] = field(default_factory=Counter)

    def add(self, labels: Mapping[str, str]) -> None:
        for key in {ZONE_LABEL, *(rule.key for rule in self.rules)}:
            if key in labels:
                self.domains.setdefault(key, Counter())[labels[key]] += 1

    def allows(self, offer: Offer) -> bool:
        if self.given[offer.machine] >= offer.slots:
            return False
        for rule in self.rules:
            counts = self.domains.get(rule.key, Counter())
            if rule.anti:
                if rule.key in offer.labels and counts[offer.labels[rule.key]]:
                    return False
            elif rule.key not in offer.labels or (counts and not counts[offer.labels[rule.key]]):
                return False
        return True

    def value(self, offer: Offer) -> float:
        given = self.given[offer.machine]
        zone = self.domains.get(ZONE_LABEL, Counter())[offer.labels.get(ZONE_LABEL, "")]
        left = offer.score * (offer.slots - given) / offer.slots
        return left - REPLICA_PENALTY * (offer.running + given) - ZONE_PENALTY * zone


def _roomiest(offers: Sequence[Offer], rules: Sequence[DomainRule], spread: _Spread, count: int) -> list[Offer]:
    """Where all replicas must share a domain and none is there yet, keep only the domain with most room."""
    kept = list(offers)
    for rule in rules:
        if rule.anti or spread.domains.get(rule.key):
            continue
        room: Counter[str] = Counter()
        for offer in kept:
            if rule.key in offer.labels:
                room[offer.labels[rule.key]] += offer.slots
        if room:
            best = min(room, key=lambda value: (-min(room[value], count), value))
            kept = [offer for offer in kept if offer.labels.get(rule.key) == best]
    return kept


def distribute(
    slots: Sequence[SlotAttempt],
    offers: Sequence[Offer],
    present: Iterable[Mapping[str, str]] = (),
    rules: Sequence[DomainRule] = (),
    salt: bytes = b"",
) -> dict[MachineId, tuple[SlotAttempt, ...]]:
    """Give each slot to the best offer left; slots that nobody can take are not in the result.

    `present` has the labels of the machine of each replica that is already there. Ties are broken by a hash with
    `salt`, so that not every declaration begins with the same machine. Deterministic in its arguments.
    """
    spread = _Spread(rules)
    for labels in present:
        spread.add(labels)
    usable = _roomiest([offer for offer in offers if offer.slots > 0], rules, spread, len(slots))
    order = {o.machine: hashlib.sha256(salt + o.machine.encode()).digest() for o in usable}
    heap = [(-spread.value(offer), order[offer.machine], offer.machine) for offer in usable]
    by_machine = {offer.machine: offer for offer in usable}
    heapify(heap)
    result: dict[MachineId, list[SlotAttempt]] = {}
    for slot in sorted(slots, key=lambda s: s.slot):
        while heap:
            was, _, machine = heappop(heap)
            offer = by_machine[machine]
            if not spread.allows(offer):
                continue  # it was full, or a rule is against it: both stay so
            worth = -spread.value(offer)
            if worth > was:  # others have been given to since: values only ever fall
                heappush(heap, (worth, order[machine], machine))
                continue
            result.setdefault(machine, []).append(slot)
            spread.given[machine] += 1
            spread.add(offer.labels)
            heappush(heap, (-spread.value(offer), order[machine], machine))
            break
        else:
            break
    return {machine: tuple(given) for machine, given in result.items()}
