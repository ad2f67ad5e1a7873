"""Events for people: what happened to a declaration, repetitions counted instead of repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.effects import Note
from beemesh_node.healing.outbox import Outbox
from beemesh_node.protocol.messages import EventReport

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
    share: Callable[[EventReport], None] = field(default=lambda _: None)
    """Called with each event that is told, for others to keep."""
    _events: dict[tuple[str, str, str], EventReport] = field(default_factory=dict)
    _told: dict[tuple[str, str, str], float] = field(default_factory=dict)

    def mesh_ms(self, now: float) -> int:
        """Return mesh time."""
        return self.epoch_ms + round(now * 1000)

    def normal(
        self, about: Declaration, reason: str, message: str, now: float, *, slot: int = -1, pod: str = ""
    ) -> None:
        """Tell of something that went as it should, with the replica and its pod if it is about one."""
        self._tell(_event(about, "Normal", reason, message, slot, pod), now)

    def warning(
        self, about: Declaration, reason: str, message: str, now: float, *, slot: int = -1, pod: str = ""
    ) -> None:
        """Tell of something that somebody may have to do something about."""
        self._tell(_event(about, "Warning", reason, message, slot, pod), now)

    def machine(self, name: str, reason: str, message: str, now: float) -> None:
        """Tell of this machine itself: an event of a Node, which Kubernetes keeps in the namespace `default`."""
        me = self.outbox.me
        self._tell(EventReport(me, "default", "Node", name, "Normal", reason, message, me, 0, 0, 1), now)

    def all(self) -> tuple[EventReport, ...]:
        """Return what is remembered, the oldest first."""
        return tuple(self._events.values())

    def about(self, uid: str) -> tuple[EventReport, ...]:
        """Return what is remembered of one declaration, the oldest first."""
        return tuple(event for event in self._events.values() if event.uid == uid)

    def _tell(self, event: EventReport, now: float) -> None:
        time_ms, me = self.mesh_ms(now), self.outbox.me
        key = (event.uid, event.reason, event.message)
        known = self._events.pop(key, None)
        if known is None:
            event = replace(event, machine=me, first_at=time_ms, last_at=time_ms)
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
            self.share(event)


def _event(about: Declaration, kind: str, reason: str, message: str, slot: int, pod: str) -> EventReport:
    text = message[:MAX_MESSAGE]
    return EventReport(about.uid, about.namespace, about.kind, about.name, kind, reason, text, "", 0, 0, 1, pod, slot)
