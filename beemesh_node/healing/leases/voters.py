"""Voter sets: who votes on the leases of a declaration, and how one set follows on another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.record import MAX_VOTERS
from beemesh_node.protocol.voters import SlotMark


@dataclass(frozen=True, slots=True)
class Voters:
    """One voter set. Number 0 is named by the declaration's record, each later one is signed by its predecessor."""

    number: int
    members: frozenset[MachineId]
    marks: tuple[SlotMark, ...] = ()
    """What those that signed it knew of its slots."""

    @property
    def majority(self) -> int:
        """How many voters a lease, or a successor of this set, takes."""
        return len(self.members) // 2 + 1

    def may_follow(self, members: frozenset[MachineId]) -> bool:
        """Whether a set of `members` may come next: majorities of sets that differ by one voter always meet."""
        return len(self.members ^ members) == 1 and 1 <= len(members) <= MAX_VOTERS + 1


def first_voters(candidates: Sequence[MachineId]) -> tuple[MachineId, ...]:
    """Return the first voters of a declaration: of `candidates`, the best first, an odd number up to five."""
    count = min(len(candidates), MAX_VOTERS)
    return tuple(sorted(candidates[: count - 1 + count % 2]))


def merged(marks: Iterable[SlotMark]) -> tuple[SlotMark, ...]:
    """Return of each slot the mark with the greatest term, by slot; where volumes are is never forgotten."""
    greatest: dict[int, SlotMark] = {}
    for mark in marks:
        known = greatest.get(mark.slot)
        if known is None:
            greatest[mark.slot] = mark
        elif mark.term > known.term:
            greatest[mark.slot] = SlotMark(mark.slot, mark.term, mark.home or known.home)
        elif mark.home and not known.home:
            greatest[mark.slot] = SlotMark(mark.slot, known.term, mark.home)
    return tuple(greatest[slot] for slot in sorted(greatest))
