"""What guardians keep of the events that other machines told about declarations: it outlives the machine that told.

What a machine says of itself is taken as its own; what another guardian hands on is hearsay. Nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from beemesh_node.healing.context import Context
from beemesh_node.healing.notes import MAX_MESSAGE
from beemesh_node.protocol.ids import Uid
from beemesh_node.protocol.messages import EventReport

MAX_OF_ONE = 64
"""Events that are kept of one declaration; the oldest go first."""
MAX_REASON = 64
MAX_NAME = 253
"""Characters of a reason, and of the name of a pod or machine."""

_Key = tuple[str, str, str]


@dataclass
class History:
    """The events of others, by declaration. Bounded in all by `Config.max_history`."""

    context: Context
    _kept: dict[Uid, dict[_Key, EventReport]] = field(default_factory=dict)
    _size: int = 0

    def told(self, machine: str, events: Iterable[EventReport]) -> None:
        """Take in what a machine tells of itself; what it says of others is ignored."""
        self.heard(event for event in events if event.machine == machine)

    def heard(self, events: Iterable[EventReport]) -> None:
        """Take in what another guardian tells."""
        for event in events:
            uid = Uid(event.uid)
            declaration = self.context.declarations.get(uid)
            if declaration is None or self.context.rank(uid) is None or event.machine == self.context.me:
                continue
            self._keep(
                uid,
                replace(
                    event,
                    namespace=declaration.namespace,
                    kind=declaration.kind,
                    name=declaration.name,
                    type="Warning" if event.type == "Warning" else "Normal",
                    reason=event.reason[:MAX_REASON],
                    message=event.message[:MAX_MESSAGE],
                    machine=event.machine[:MAX_NAME],
                    pod=event.pod[:MAX_NAME],
                ),
            )

    def of(self, uid: Uid) -> tuple[EventReport, ...]:
        """Return what is kept of one declaration, the oldest first."""
        return tuple(self._kept.get(uid, {}).values())

    def all(self) -> tuple[EventReport, ...]:
        """Return everything that is kept."""
        return tuple(event for events in self._kept.values() for event in events.values())

    def forget(self, uid: Uid) -> None:
        """Drop what is kept of a declaration: others are its guardians now."""
        self._size -= len(self._kept.pop(uid, {}))

    def _keep(self, uid: Uid, event: EventReport) -> None:
        events = self._kept.setdefault(uid, {})
        key = (event.machine, event.reason, event.message)
        known = events.pop(key, None)
        if known is not None:
            self._size -= 1
            if (known.count, known.last_at) > (event.count, event.last_at):
                event = known
        events[key] = event
        self._size += 1
        while len(events) > MAX_OF_ONE:
            del events[next(iter(events))]
            self._size -= 1
        while self._size > self.context.config.max_history:
            fullest = max(self._kept, key=lambda each: len(self._kept[each]))
            del self._kept[fullest][next(iter(self._kept[fullest]))]
            self._size -= 1
