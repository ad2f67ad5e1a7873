"""Why the slots of one declaration are given to machines: what became of the claims there were, as events tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from beemesh_node.healing.claims import TERMINATING
from beemesh_node.healing.context import Context
from beemesh_node.healing.declaration import Declaration
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import ClaimReport

MAX_ALONE = 16
"""Replicas placed in one round that each get an event of their own."""


@dataclass
class Causes:
    """By slot, the last thing that was heard of its claim that calls for another one."""

    context: Context
    _why: dict[int, str] = field(default_factory=dict)

    def lost(self, slots: Iterable[int], why: str) -> None:
        """Slots have lost their claim with its machine."""
        self._why.update(dict.fromkeys(slots, why))

    def reported(self, report: ClaimReport) -> None:
        """A claim of the declared revision was heard of: it goes, is gone, or serves."""
        slot, where = report.claim.slot, self.context.name(report.claim.machine)
        pod = f"{report.pod_name} on {where}" if report.pod_name else f"what {where} had"
        if report.gone or report.reason == TERMINATING:
            failed = report.gone and report.phase == "Failed"
            told = ": ".join(part for part in (report.reason if failed else "", report.message) if part)
            self._why.setdefault(slot, f"{pod} {'failed' if failed else 'ended'}{f' ({told})' if told else ''}")
        elif report.leaving:
            self._why[slot] = f"{pod} is to leave ({report.leaving})"
        elif report.ready and report.claim.machine in self.context.members:
            self._why.pop(slot, None)

    def clear(self) -> None:
        """Forget everything: another template is declared, and that is why."""
        self._why.clear()

    def placed(self, declaration: Declaration, where: Iterable[tuple[int, MachineId]], now: float) -> None:
        """Tell where slots went, and why those that had been somewhere before."""
        first: dict[str, int] = {}
        alone = 0
        for slot, machine in sorted(where):
            name, why = self.context.name(machine), self._why.pop(slot, None)
            if why is None or alone >= MAX_ALONE:
                first[name] = first.get(name, 0) + 1
            else:
                alone += 1
                self.context.notes.normal(declaration, "Scheduled", f"replica {slot} on {name}: {why}", now, slot=slot)
        if first:
            count, on = sum(first.values()), ", ".join(f"{name} {number}" for name, number in sorted(first.items()))
            self.context.notes.normal(declaration, "Scheduled", f"{count} replica{'s' * (count > 1)} on {on}", now)
