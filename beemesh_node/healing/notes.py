"""Events for people: what happened to a declaration, repetitions counted instead of repeated."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.effects import Note
from beemesh_node.healing.outbox import Outbox
from beemesh_node.protocol.messages import EventReport
from beemesh_node.workloads.pod import PodIdentity

REPEAT = 30.0
"""Seconds: a repetition is told again at most this often."""
MAX_MESSAGE = 1024
"""Characters of an event's message."""


@dataclass
class Notes:
    """The latest events of this machine, bounded. Times that are told are mesh time."""

    outbox: Outbox
    epoch_ms: int = 0
    """Mesh time at `now` = 0."""
    _events: dict[tuple[str, str, str], EventReport] = field(default_factory=dict)
    _told: dict[tuple[str, str, str], float] = field(default_factory=dict)

    def mesh_ms(self, now: float) -> int:
        """Return mesh time."""
        return self.epoch_ms + round(now * 1000)

    def normal(self, about: Declaration, reason: str, message: str, now: float, pod: PodIdentity | None = None) -> None:
        """Tell of something that went as it should, with the pod if it is about one."""
        self._tell(about, "Normal", reason, message, now, pod)

    def warning(
        self, about: Declaration, reason: str, message: str, now: float, pod: PodIdentity | None = None
    ) -> None:
        """Tell of something that somebody may have to do something about."""
        self._tell(about, "Warning", reason, message, now, pod)

    def all(self) -> tuple[EventReport, ...]:
        """Return what is remembered, the oldest first."""
        return tuple(self._events.values())

    def _tell(
        self, about: Declaration, kind: str, reason: str, message: str, now: float, pod: PodIdentity | None
    ) -> None:
        text, time_ms = message[:MAX_MESSAGE], self.mesh_ms(now)
        key = (about.uid, reason, text)
        known = self._events.pop(key, None)
        if known is None:
            event = EventReport(
                about.uid,
                about.namespace,
                about.kind,
                about.name,
                kind,
                reason,
                text,
                self.outbox.me,
                time_ms,
                time_ms,
                1,
                pod.pod_name if pod is not None else "",
                pod.slot if pod is not None else -1,
            )
        else:
            event = replace(known, last_at=time_ms, count=known.count + 1)
        self._events[key] = event
        while len(self._events) > self.outbox.config.max_events:
            oldest = next(iter(self._events))
            del self._events[oldest]
            self._told.pop(oldest, None)
        if known is None or now - self._told.get(key, now) >= REPEAT:
            self._told[key] = now
            self.outbox.emit(Note(event))
