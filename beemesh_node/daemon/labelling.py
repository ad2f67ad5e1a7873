"""Labels that operators give this machine while it runs. They survive restarts, as orders of maintenance do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec
import structlog
import trio

from beemesh_node.daemon.maintenance import check_verb
from beemesh_node.daemon.store import FACTS, Store, StoreError
from beemesh_node.membership.labels import (
    LabelsRefusedError,
    LabelTakenError,
    OrderedLabels,
    Sources,
    labels_in_force,
)
from beemesh_node.messaging.errors import RemoteFailure
from beemesh_node.messaging.exchange import Handler, Question
from beemesh_node.protocol.messages import LabelReply, LabelRequest

log = structlog.get_logger()

LABEL_VERB = "label"

_FACT = "labels"

Changed = Callable[[Mapping[str, str]], Awaitable[None]]


class LabelDesk:
    """Takes orders of operators: writes each down before the machine says anything else of itself."""

    def __init__(
        self, store: Store, limiter: trio.CapacityLimiter, sources: Callable[[], Sources], changed: Changed
    ) -> None:
        """`sources`: what else labels come from, as it is now. `changed` is called with what to say of this machine."""
        self._store, self._limiter, self._sources, self._changed = store, limiter, sources, changed
        self._ordered = OrderedLabels()
        self._ordering = trio.Lock()

    @property
    def handlers(self) -> Mapping[type, Handler]:
        """Who answers what."""
        return {LabelRequest: self._label}

    async def start(self) -> None:
        """Take up what held before. Raises `StoreError`."""
        stored = await trio.to_thread.run_sync(self._store.get, FACTS, _FACT, limiter=self._limiter)
        try:
            self._ordered = msgspec.json.decode(stored, type=OrderedLabels) if stored is not None else OrderedLabels()
        except msgspec.DecodeError as error:  # ValidationError is one of them
            log.warning("stored labels not understood: only those of the configuration hold", error=str(error))
        await self._act()

    async def _act(self) -> None:
        await self._changed(self._ordered.over(self._sources().configured))

    async def _label(self, question: Question) -> LabelReply:
        request: LabelRequest = question.payload
        asker = question.sender.certificate
        check_verb(asker, LABEL_VERB, None)
        async with self._ordering:
            sources = self._sources()
            try:
                ordered = self._ordered.after(request, sources)
            except LabelsRefusedError as error:
                code = "Conflict" if isinstance(error, LabelTakenError) else "Invalid"
                raise RemoteFailure(code, str(error)) from error
            before, after = (_in_force(each, sources) for each in (self._ordered, ordered))
            if ordered != self._ordered and not request.dry_run:
                try:
                    value = {(FACTS, _FACT): msgspec.json.encode(ordered)}
                    await trio.to_thread.run_sync(self._store.write, value, limiter=self._limiter)
                except StoreError as error:
                    raise RemoteFailure("Unavailable", str(error)) from error
                self._ordered = ordered
                log.info("labelled", set=dict(request.labels), removed=request.removed, operator=asker.name)
                await self._act()
        return LabelReply(before, after)


def _in_force(ordered: OrderedLabels, sources: Sources) -> Mapping[str, str]:
    return labels_in_force(sources, ordered.over(sources.configured))
