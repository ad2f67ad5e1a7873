"""A machine looks at a task and says how many replicas it could take, how well, and every reason why not more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from beemesh_node.membership.member import Member
from beemesh_node.protocol.messages import Bid, NoReason, Refusal, Requirements, Task
from beemesh_node.scheduling import eligibility, neighbours
from beemesh_node.scheduling.expressions import term_holds
from beemesh_node.scheduling.images import is_here, surely_missing
from beemesh_node.scheduling.ledger import Free
from beemesh_node.scheduling.neighbours import Neighbour
from beemesh_node.scheduling.preemption import Occupant, victims
from beemesh_node.scheduling.taints import DISLIKED, untolerated

RESOURCE_POINTS, PREFERENCE_POINTS, IMAGE_POINTS = 500, 300, 200
"""Of 1000 points: what stays free, how many preferences hold, how many of the images are already here."""
DISLIKE_POINTS = 150
"""Taken off for each PreferNoSchedule taint that is not tolerated."""
ASSUMED_CPU, ASSUMED_MEMORY = 100, 200 * 1024 * 1024
"""What a replica that asks for nothing is taken to use when machines are compared, as kube-scheduler assumes."""


@dataclass(frozen=True, slots=True)
class Host:
    """The evaluating machine, with what it has left and what runs on it."""

    member: Member
    free: Free
    images: frozenset[str]
    present: tuple[Neighbour, ...]
    occupants: tuple[Occupant, ...] = ()
    """Whose reservations could be freed for something of higher priority."""


def reasons(host: Host, needed: Requirements, namespace: str, labels: Mapping[str, str]) -> tuple[Refusal, ...]:
    """Return every reason why the machine cannot take one more replica; none if it can."""
    whole = eligibility.refusals(host.member, needed)
    never = {refusal.reason for refusal in whole}
    short = tuple(refusal for refusal in host.free.shortages(needed) if refusal.reason not in never)
    beside = neighbours.refusals(host.member, needed.pod_terms, namespace, labels, host.present)
    missing = tuple(image for image in needed.local_images if surely_missing(image, host.images))
    absent = (Refusal(NoReason.IMAGE, f"lacks {', '.join(missing)} (imagePullPolicy Never)"),) if missing else ()
    return (*whole, *short, *beside, *absent)


def preemptible(host: Host, needed: Requirements, namespace: str, labels: Mapping[str, str]) -> tuple[Occupant, ...]:
    """Return which pods would have to go for one replica that finds no room; none if room is not all it lacks."""
    member = host.member
    empty = replace(host, free=Free(member.cpu_allocatable, member.memory_allocatable, 1, frozenset()))
    return () if reasons(empty, needed, namespace, labels) else victims(host.free, needed, host.occupants)


def score(host: Host, needed: Requirements, namespace: str) -> int:
    """Return 0 to 1000: least allocated first, preferred terms, images that are here, disliked taints off."""
    member = host.member
    cpu = (host.free.cpu - (needed.cpu_millis or ASSUMED_CPU)) / max(member.cpu_allocatable, 1)
    memory = (host.free.memory - (needed.memory_bytes or ASSUMED_MEMORY)) / max(member.memory_allocatable, 1)
    points = RESOURCE_POINTS * (min(max(cpu, 0.0), 1.0) + min(max(memory, 0.0), 1.0)) / 2

    gained, total = neighbours.preference(member, needed.pod_terms, namespace, host.present)
    total += sum(term.weight for term in needed.preferred_terms)
    gained += sum(term.weight for term in needed.preferred_terms if term_holds(term, member.labels))
    points += PREFERENCE_POINTS * (gained / total if total > 0 else 1.0)

    here = sum(is_here(image, host.images) for image in needed.images)
    points += IMAGE_POINTS * (here / len(needed.images) if needed.images else 1.0)

    soft = (taint for taint in member.taints if taint.effect == DISLIKED)
    points -= DISLIKE_POINTS * len(untolerated(soft, needed.tolerations))
    return min(max(round(points), 0), 1000)


def evaluate(task: Task, host: Host, running: int) -> Bid:
    """Answer a task. `running` is how many replicas of the declaration are here already.

    The reasons of a bid that takes fewer than asked say what the first one too many lacks.
    """
    needed = task.requirements
    if found := reasons(host, needed, task.namespace, task.labels):
        gone = preemptible(host, needed, task.namespace, task.labels)
        highest = max((each.priority for each in gone), default=0)
        return Bid(task.task_id, 0, 0, running, found, len(gone), highest)
    slots = min(host.free.fitting(needed), task.count)
    alone = neighbours.alone_on_machine(needed.pod_terms, task.namespace, task.labels)
    if alone:
        slots = min(slots, 1)
    more: tuple[Refusal, ...] = ()
    if slots < task.count:
        more = reasons(replace(host, free=host.free.after(needed, slots)), needed, task.namespace, task.labels)
        if alone and not more:
            more = (Refusal(NoReason.POD_ANTI_AFFINITY, "its replicas avoid each other"),)
    return Bid(task.task_id, slots, score(host, needed, task.namespace), running, more)
