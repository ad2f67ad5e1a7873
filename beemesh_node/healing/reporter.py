"""Tells the guardians how this machine's claims are: a change at once, those that follow closely together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from beemesh_node.healing.context import Context
from beemesh_node.healing.effects import Tell
from beemesh_node.healing.pods import LocalClaim
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import ClaimReport, ClaimReports, EventReport

BATCH = 64
"""Reports in one message."""


@dataclass
class Reporter:
    """Which guardian is still to be told of which pod. `read` gives the present report of a pod, or None."""

    context: Context
    read: Callable[[str], ClaimReport | None]
    hear: Callable[[Iterable[ClaimReport], float], None]
    """This machine's own guardian."""
    _pending: dict[MachineId, dict[str, None]] = field(default_factory=dict)
    _told: dict[str, tuple[MachineId, ...]] = field(default_factory=dict)
    """The guardians that know of a pod here."""
    _events: dict[MachineId, list[EventReport]] = field(default_factory=dict)
    """What happened, for guardians to keep."""
    _sent_at: float | None = None
    _untold: list[tuple[MachineId, ClaimReports]] = field(default_factory=list)
    """What has not arrived."""

    def happened(self, event: EventReport) -> None:
        """Tell the other guardians of a declaration about an event, with what they are told next."""
        for machine in self.context.guardians_of(Uid(event.uid)):
            if machine != self.context.me:
                self._events.setdefault(machine, []).append(event)
                del self._events[machine][:-BATCH]

    def changed(self, claim: LocalClaim) -> None:
        """Tell all guardians of a claim's workload about it."""
        self._told.pop(claim.pod_uid, None)
        self.guardians_changed(claim)

    def guardians_changed(self, claim: LocalClaim) -> None:
        """Tell the guardians that do not know of a claim about it."""
        known, guardians = self._told.get(claim.pod_uid, ()), self.context.guardians(claim.path)
        self._told[claim.pod_uid] = guardians
        for machine in guardians:
            if machine not in known:
                self._pending.setdefault(machine, {})[claim.pod_uid] = None

    def forget(self, pod_uid: str) -> None:
        """This claim is not told of any more."""
        self._told.pop(pod_uid, None)

    def untold(self, machine: MachineId, told: ClaimReports, now: float) -> None:
        """Tell a guardian again, in a moment, what has not reached it."""
        self._untold.append((machine, told))
        timers = self.context.outbox.timers
        if not timers.armed("tell again"):
            timers.set("tell again", now + self.context.config.report_repeat, self._tell_again)

    def _tell_again(self, _: float) -> None:
        """Those that are gone by now are told of claims when they are back; events the other guardians have."""
        untold, self._untold = self._untold, []
        for machine, told in untold:
            if machine in self.context.members:
                pods = [r.pod_uid for r in told.reports if machine in self._told.get(r.pod_uid, ())]
                self._pending.setdefault(machine, {}).update(dict.fromkeys(pods))
                self._events[machine] = [*told.events, *self._events.get(machine, ())][-BATCH:]

    def tell_own(self, now: float) -> None:
        """Tell this machine's own guardian, who is never kept waiting."""
        own = self._pending.pop(self.context.me, {})
        self.hear([report for pod in own if (report := self.read(pod)) is not None], now)

    def flush(self, now: float) -> None:
        """Send what is due."""
        if self.waiting:  # the timer may come before the own guardian has heard of what was just decided
            self.tell_own(now)
        if not (self._pending or self._events):
            return
        due = now if self._sent_at is None else self._sent_at + self.context.config.report_gap
        if now < due:
            self.context.outbox.timers.set("report", due, self.flush)
            return
        pending, self._pending, self._sent_at = self._pending, {}, now
        events, self._events = self._events, {}
        for machine in dict.fromkeys((*pending, *events)):
            reports = [r for pod in pending.get(machine, ()) if (r := self.read(pod)) is not None]
            happened = tuple(events.get(machine, ()))
            for begin in range(0, max(len(reports), bool(happened)), BATCH):
                self.context.outbox.emit(Tell(machine, ClaimReports(tuple(reports[begin : begin + BATCH]), happened)))
                happened = ()

    @property
    def waiting(self) -> bool:
        """Whether this machine's own guardian is still to be told."""
        return self.context.me in self._pending
