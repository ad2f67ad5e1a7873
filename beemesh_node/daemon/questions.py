"""What other members may ask of this machine, and what they get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import structlog
import trio

from beemesh_node.daemon.decisions import Decisions
from beemesh_node.daemon.peers import Peers
from beemesh_node.daemon.registry import Registry
from beemesh_node.daemon.store import StoreError
from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.events import AssignmentOffered, ClaimsReported, ReleaseOffered
from beemesh_node.messaging.errors import MeshError, RemoteFailure
from beemesh_node.messaging.exchange import Handler, Question
from beemesh_node.protocol.certificate import Role
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    Ack,
    Assignment,
    AssignmentReply,
    BlockReply,
    BlockRequest,
    ClaimQuery,
    ClaimReports,
    ClaimsQuery,
    Commit,
    CommitReply,
    Forecast,
    KeepQuery,
    KeepReply,
    NoReason,
    RecordQuery,
    RecordReply,
    Refusal,
    Release,
    SlotRefusal,
    Task,
)
from beemesh_node.protocol.record import open_record
from beemesh_node.protocol.trust import TrustStore

log = structlog.get_logger()

_FORECAST_WITHIN = 6.0
"""Seconds that bids for what is only tried may take, before the answer is given without them."""
_SECOND_OPINION = 1.0
"""Seconds that another guardian has to say what it knows before a stranger's assignment is taken."""


class Questions:
    """Answers what concerns declarations and claims."""

    def __init__(
        self, decisions: Decisions, registry: Registry, peers: Peers, trust: TrustStore, me: MachineId
    ) -> None:
        self._decisions = decisions
        self._registry = registry
        self._peers = peers
        self._trust = trust
        self._me = me

    @property
    def handlers(self) -> Mapping[type, Handler]:
        """Who answers what."""
        return {
            Commit: self._commit,
            Task: self._core,
            ClaimQuery: self._claims,
            ClaimsQuery: self._claims,
            KeepQuery: self._keep,
            Assignment: self._assignment,
            ClaimReports: self._reports,
            Release: self._release,
            RecordQuery: self._record,
            BlockRequest: self._block,
        }

    async def _commit(self, question: Question) -> CommitReply:
        commit: Commit = question.payload
        from_operator = question.sender.certificate.role is Role.OPERATOR
        try:
            reply, declaration = await self._registry.submit(commit, from_operator=from_operator)
        except StoreError as error:
            log.warning("record cannot be written", error=str(error))
            return CommitReply(False, "Unavailable", str(error))
        if commit.dry_run and from_operator and reply.accepted and declaration is not None and not declaration.deleted:
            reply = replace(reply, forecast=await self._forecast(declaration))
        log.info("commit", sender=question.machine, accepted=reply.accepted, code=reply.reason, dry_run=commit.dry_run)
        return reply

    async def _forecast(self, declaration: Declaration) -> Forecast | None:
        """Where it would run, if this machine is who would coordinate; the others leave that to it."""
        if self._decisions.core.guardians(declaration.path)[:1] != (self._me,):
            return None
        with trio.move_on_after(_FORECAST_WITHIN):
            found = await self._decisions.forecast(declaration)
            return found if isinstance(found, Forecast) else None
        return None

    async def _claims(self, question: Question) -> object:
        if not self._decisions.core.adopted:
            raise RemoteFailure("Unavailable", "this machine is starting and does not know yet what runs on it")
        return await self._core(question)

    async def _core(self, question: Question) -> object:
        return await self._decisions.answer_to(question.machine, question.payload)

    async def _assignment(self, question: Question) -> object:
        assignment: Assignment = question.payload
        held = len(self._registry)
        commit = Commit(assignment.record, (assignment.block,))
        try:
            reply, declaration = await self._registry.submit(commit, from_operator=False)
        except StoreError as error:
            raise RemoteFailure("Unavailable", str(error)) from error
        if declaration is None:
            return _outdated(assignment, reply.message)
        if len(self._registry) > held and await self._surpassed(declaration, question.machine):
            return _outdated(assignment, "another guardian has a newer record")
        log.info("assignment", task=assignment.task_id.hex(), uid=declaration.uid, slots=len(assignment.slots))
        return await self._decisions.assigned(
            lambda token: AssignmentOffered(token, question.machine, declaration, assignment.slots, assignment.preempt)
        )

    async def _surpassed(self, declaration: Declaration, sender: MachineId) -> bool:
        """Ask two other guardians whether they know better of a declaration that was never heard of here.

        Whoever assigns may be behind, or lie. Those that cannot be reached in time have no say.
        """
        others = [each for each in self._decisions.core.guardians(declaration.path) if each not in (sender, self._me)]
        newer: list[bool] = []

        async def ask(machine: MachineId) -> None:
            try:
                reply = await self._peers.ask(
                    machine, RecordQuery(declaration.uid), RecordReply, timeout=_SECOND_OPINION
                )
                if reply.record:
                    newer.append(open_record(reply.record, self._trust.verify_author).rank > declaration.rank)
            except (MeshError, ProtocolError) as error:
                log.info("no second opinion", machine=machine, uid=declaration.uid, error=str(error))

        async with trio.open_nursery() as nursery:
            for machine in others[:2]:
                nursery.start_soon(ask, machine)
        return any(newer)

    async def _reports(self, question: Question) -> Ack:
        told: ClaimReports = question.payload
        await self._decisions.put(ClaimsReported(question.machine, told.reports, told.events))
        return Ack()

    async def _release(self, question: Question) -> Ack:
        release: Release = question.payload
        try:
            await self._registry.submit(Commit(release.record, release.blocks), from_operator=False)
        except StoreError as error:
            raise RemoteFailure("Unavailable", str(error)) from error
        await self._decisions.put(ReleaseOffered(question.machine, release.claim, release.better))
        return Ack()

    async def _record(self, question: Question) -> RecordReply:
        holding = self._registry.get(Uid(question.payload.uid))
        return RecordReply(holding.attested.raw if holding is not None else b"")

    async def _keep(self, question: Question) -> object:
        query: KeepQuery = question.payload
        reply = await self._core(question)
        holding = self._registry.get(Uid(query.uid))
        lacking = set(query.blocks) & holding.named - holding.blocks.keys() if holding is not None else set()
        return KeepReply(kept=False) if lacking else reply

    async def _block(self, question: Question) -> BlockReply:
        cid = question.payload.cid
        found = (holding.blocks[cid].block for holding in self._registry if cid in holding.blocks)
        return BlockReply(next(found, b""))


def _outdated(assignment: Assignment, why: str) -> AssignmentReply:
    refusal = Refusal(NoReason.OUTDATED, why)
    return AssignmentReply((), tuple(SlotRefusal(slot.slot, (refusal,)) for slot in assignment.slots))
