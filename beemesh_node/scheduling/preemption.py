"""Which pods of lower priority have to go so that one of higher priority finds room, as kube-scheduler preempts.

The choice is the same whoever makes it: the fewest pods, of these the ones of lowest priority. What is of equal or
higher priority is never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from beemesh_node.protocol.messages import Requirements
from beemesh_node.scheduling.ledger import Free

TRIED_TOGETHER = 2
"""Up to so many victims the fewest are found by trying all; beyond, by keeping whatever can be kept."""
MAX_TRIED = 64
"""Pods, those of lowest priority first, among which all combinations are tried."""


@dataclass(frozen=True, slots=True)
class Occupant:
    """A pod that holds a reservation."""

    key: str
    needed: Requirements

    @property
    def priority(self) -> int:
        """Its priority."""
        return self.needed.priority


def victims(free: Free, needed: Requirements, occupants: Iterable[Occupant]) -> tuple[Occupant, ...]:
    """Return who has to go for one replica that finds no room in `free`; nobody if that does not help either."""
    lower = sorted((o for o in occupants if o.priority < needed.priority), key=lambda o: (o.priority, o.key))
    if _without(free, lower).shortages(needed):
        return ()
    for count in range(1, TRIED_TOGETHER + 1):
        fitting = (
            chosen for chosen in combinations(lower[:MAX_TRIED], count) if not _without(free, chosen).shortages(needed)
        )
        best = min(fitting, key=_cost, default=None)
        if best is not None:
            return best
    chosen = list(lower)
    for occupant in sorted(lower, key=lambda o: (-o.priority, o.key)):
        kept = [other for other in chosen if other is not occupant]
        if not _without(free, kept).shortages(needed):
            chosen = kept
    return tuple(chosen)


def _cost(chosen: Sequence[Occupant]) -> tuple[int, int, tuple[str, ...]]:
    priorities = [occupant.priority for occupant in chosen]
    return (max(priorities), sum(priorities), tuple(occupant.key for occupant in chosen))


def _without(free: Free, gone: Iterable[Occupant]) -> Free:
    ports = set(free.ports)
    cpu, memory, pods = free.cpu, free.memory, free.pods
    for occupant in gone:
        cpu += occupant.needed.cpu_millis
        memory += occupant.needed.memory_bytes
        pods += 1
        ports.difference_update(occupant.needed.host_ports)
    return Free(cpu, memory, pods, frozenset(ports))
