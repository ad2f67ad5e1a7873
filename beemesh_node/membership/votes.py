"""Who is held dead by whom, and whether enough hold it: two watchers, or as many as there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from beemesh_node.membership.detection import Accusation, Life
from beemesh_node.protocol.ids import MachineId

NEEDED = 2
"""Watchers that must hold a machine dead, if there are so many."""
MAX_ACCUSED = 4096
"""Machines of which accusations are kept."""


@dataclass(slots=True)
class _Case:
    life: Life
    votes: dict[MachineId, float] = field(default_factory=dict)
    """Who holds it dead, and since when."""
    reason: str = ""


@dataclass
class Votes:
    """Accusations that wait for a second."""

    vote_life: float
    _cases: dict[MachineId, _Case] = field(default_factory=dict)

    def add(self, accuser: MachineId, accusation: Accusation, now: float) -> None:
        """Count an accusation. One of a later life makes those of an earlier one void."""
        case = self._cases.get(accusation.machine)
        if case is None or case.life < accusation.life:
            if case is None and len(self._cases) >= MAX_ACCUSED:
                self._forget_old(now)
                if len(self._cases) >= MAX_ACCUSED:
                    return
            case = self._cases[accusation.machine] = _Case(accusation.life)
        if case.life == accusation.life:
            case.votes[accuser] = now
            case.reason = case.reason or accusation.reason

    def drop(self, machine: MachineId) -> None:
        """Forget what was said of a machine."""
        self._cases.pop(machine, None)

    def withdraw(self, machine: MachineId, accuser: MachineId) -> None:
        """Take back one accusation."""
        case = self._cases.get(machine)
        if case is not None:
            case.votes.pop(accuser, None)

    def accused(self) -> tuple[MachineId, ...]:
        """Return who is accused by anybody."""
        return tuple(self._cases)

    def verdict(
        self, machine: MachineId, watchers: Sequence[MachineId], condemned: Collection[MachineId], now: float
    ) -> str | None:
        """Return why a machine is dead; None if too few hold it.

        `watchers` are the machine's, `condemned` those that this machine itself does not hear any more: they cannot be
        waited for. A single voice counts only if no second watcher is left that could speak.
        """
        case = self._cases.get(machine)
        if case is None:
            return None
        voices = {accuser for accuser, at in case.votes.items() if now - at <= self.vote_life}
        left = [watcher for watcher in watchers if watcher not in condemned]
        enough = len(voices) >= NEEDED or (len(left) == 1 and left[0] in voices)
        return case.reason if enough else None

    def _forget_old(self, now: float) -> None:
        for machine, case in list(self._cases.items()):
            if all(now - at > self.vote_life for at in case.votes.values()):
                del self._cases[machine]
