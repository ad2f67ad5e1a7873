"""What operators have this machine do with its work: cordon, drain, moves of single replicas. It survives restarts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import msgspec
import structlog
import trio

from beemesh_node.daemon.decisions import Decisions
from beemesh_node.daemon.store import FACTS, Store, StoreError
from beemesh_node.healing.events import MaintenanceSet
from beemesh_node.messaging.errors import RemoteFailure
from beemesh_node.messaging.exchange import Handler, Question
from beemesh_node.protocol.certificate import Certificate
from beemesh_node.protocol.messages import Maintenance, MaintenanceReply, MaintenanceRequest, MoveReply, MoveRequest
from beemesh_node.workloads.pod import PodPhase

log = structlog.get_logger()

MAX_GRACE = 24 * 3600
"""Seconds that a drain may give pods to end; more means this."""
CORDON_VERB, DRAIN_VERB = "cordon", "drain"

_FACT = "maintenance"
_ENDED = (PodPhase.SUCCEEDED, PodPhase.FAILED)

Changed = Callable[[bool], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Order:
    """What holds, as it is written to disk."""

    mode: Maintenance = Maintenance.NONE
    grace_seconds: int = -1
    """Negative for the pods' own."""

    @property
    def cordoned(self) -> bool:
        """Whether nothing new is taken."""
        return self.mode > Maintenance.NONE

    @property
    def event(self) -> MaintenanceSet:
        """What the decision core is told."""
        return MaintenanceSet(self.mode, None if self.grace_seconds < 0 else min(self.grace_seconds, MAX_GRACE))


class MaintenanceDesk:
    """Takes orders of operators: writes each down before it does anything, then has the decision core act on it."""

    def __init__(self, store: Store, limiter: trio.CapacityLimiter, decisions: Decisions, changed: Changed) -> None:
        """`changed` is called with whether the machine is cordoned, whenever that may be different."""
        self._store, self._limiter, self._decisions, self._changed = store, limiter, decisions, changed
        self._order = Order()
        self._ordering = trio.Lock()

    @property
    def handlers(self) -> Mapping[type, Handler]:
        """Who answers what."""
        return {MaintenanceRequest: self._maintain, MoveRequest: self._move}

    async def start(self) -> None:
        """Take up what held before. Raises `StoreError`."""
        stored = await trio.to_thread.run_sync(self._store.get, FACTS, _FACT, limiter=self._limiter)
        try:
            self._order = msgspec.json.decode(stored, type=Order) if stored is not None else Order()
        except msgspec.DecodeError as error:  # ValidationError is one of them
            log.warning("stored maintenance not understood: the machine stays cordoned", error=str(error))
            self._order = Order(Maintenance.CORDON)
        await self._act()

    async def _act(self) -> None:
        await self._decisions.put(self._order.event)
        await self._changed(self._order.cordoned)

    async def _maintain(self, question: Question) -> MaintenanceReply:
        request: MaintenanceRequest = question.payload
        asker = question.sender.certificate
        for verb in (CORDON_VERB, DRAIN_VERB)[: 2 if request.mode >= Maintenance.DRAIN else 1]:
            check_verb(asker, verb, None)
        order = Order(request.mode, request.grace_seconds)
        async with self._ordering:
            if order != self._order:
                try:
                    value = {(FACTS, _FACT): msgspec.json.encode(order)}
                    await trio.to_thread.run_sync(self._store.write, value, limiter=self._limiter)
                except StoreError as error:
                    raise RemoteFailure("Unavailable", str(error)) from error
                self._order = order
                log.info("maintenance", mode=order.mode.name, operator=asker.name)
            await self._act()
        held = (report for report in self._decisions.core.own_claims() if report.phase not in _ENDED)
        return MaintenanceReply(order.mode, sum(1 for _ in held))

    async def _move(self, question: Question) -> object:
        request: MoveRequest = question.payload
        namespaces = {report.claim.uid: report.namespace for report in self._decisions.core.own_claims()}
        for uid in {claim.uid for claim in request.claims}:
            if uid in namespaces:
                check_verb(question.sender.certificate, DRAIN_VERB, namespaces[uid])
        held = tuple(claim for claim in request.claims if claim.uid in namespaces)
        if not held:
            return MoveReply(())
        log.info("move", operator=question.sender.certificate.name, claims=len(held))
        return await self._decisions.answer_to(question.machine, MoveRequest(held))


def check_verb(asker: Certificate, verb: str, namespace: str | None) -> None:
    """Refuse who lacks a verb, in a namespace or (None) for machines. Raises `RemoteFailure`."""
    if not asker.allows(verb, namespace):
        where = f"in namespace {namespace}" if namespace is not None else "machines (that takes every namespace, '*')"
        raise RemoteFailure(
            "Forbidden", f"{asker.name} may not {verb} {where}; ask for a certificate with it (beectl cert operator)"
        )
