"""Pod affinity and anti-affinity, as kube-scheduler's InterPodAffinity filters.

A machine compares a new pod with the pods it runs. Beyond one machine (a zone) nobody sees all pods; there the
coordinator keeps the rules among the replicas of one declaration, which it does see (`distribution.DomainRule`). So a
term that matches the pod's own labels is not refused here for want of a neighbour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from beemesh_node.membership.labels import HOSTNAME_LABEL
from beemesh_node.membership.member import Member
from beemesh_node.protocol.messages import NoReason, PodTerm, Refusal
from beemesh_node.scheduling.expressions import all_hold


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A pod on this machine, as terms see it."""

    namespace: str
    labels: Mapping[str, str]
    terms: tuple[PodTerm, ...] = ()


def matches(term: PodTerm, owner_namespace: str, namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether a term of a pod in `owner_namespace` means a pod; without namespaces it means those of its own."""
    allowed = term.namespaces or (owner_namespace,)
    return namespace in allowed and all_hold(term.selector, labels)


def matches_itself(term: PodTerm, namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether a term means the very pods that carry it: replicas of one declaration among each other."""
    return matches(term, namespace, namespace, labels)


def refusals(
    member: Member, terms: Iterable[PodTerm], namespace: str, labels: Mapping[str, str], present: Iterable[Neighbour]
) -> tuple[Refusal, ...]:
    """Return why a pod with these required terms and labels cannot stand beside the `present` ones."""
    neighbours = tuple(present)
    found = []
    required = [term for term in terms if term.weight == 0]
    for term in required:
        has_domain = term.topology_key in member.labels
        beside = any(matches(term, namespace, n.namespace, n.labels) for n in neighbours)
        if term.anti and has_domain and beside:
            found.append(Refusal(NoReason.POD_ANTI_AFFINITY, f"a pod it avoids runs here ({term.topology_key})"))
        if not term.anti and not (has_domain and (beside or matches_itself(term, namespace, labels))):
            found.append(Refusal(NoReason.POD_AFFINITY, f"no pod it wants to be with runs here ({term.topology_key})"))
    for neighbour in neighbours:
        for term in neighbour.terms:
            if term.anti and term.weight == 0 and matches(term, neighbour.namespace, namespace, labels):
                found.append(Refusal(NoReason.POD_ANTI_AFFINITY, "a pod that runs here avoids it"))
    return tuple(dict.fromkeys(found))


def alone_on_machine(terms: Iterable[PodTerm], namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether two replicas of the declaration may not stand on one machine."""
    return any(t.anti and t.weight == 0 and matches_itself(t, namespace, labels) for t in terms)


def preference(
    member: Member, terms: Iterable[PodTerm], namespace: str, present: Iterable[Neighbour]
) -> tuple[int, int]:
    """Return the weight of the preferred terms on this machine's own pods that hold, and the weight of all of them."""
    neighbours = tuple(present)
    gained = total = 0
    for term in terms:
        if term.weight <= 0 or term.topology_key != HOSTNAME_LABEL:
            continue
        total += term.weight
        beside = any(matches(term, namespace, n.namespace, n.labels) for n in neighbours)
        if beside != term.anti:
            gained += term.weight
    return gained, total
