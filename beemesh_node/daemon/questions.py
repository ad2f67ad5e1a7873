"""What other members may ask of this machine, and what they get."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from beemesh_node.daemon.decisions import Decisions
from beemesh_node.daemon.registry import Registry
from beemesh_node.daemon.store import StoreError
from beemesh_node.healing.events import AssignmentOffered, ClaimsReported, ReleaseOffered
from beemesh_node.messaging.errors import RemoteFailure
from beemesh_node.messaging.exchange import Handler, Question
from beemesh_node.protocol.certificate import Role
from beemesh_node.protocol.ids import Uid
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
    NoReason,
    RecordQuery,
    RecordReply,
    Refusal,
    Release,
    SlotRefusal,
    Task,
)

log = structlog.get_logger()


class Questions:
    """Answers what concerns declarations and claims."""

    def __init__(self, decisions: Decisions, registry: Registry) -> None:
        self._decisions = decisions
        self._registry = registry

    @property
    def handlers(self) -> Mapping[type, Handler]:
        """Who answers what."""
        return {
            Commit: self._commit,
            Task: self._core,
            ClaimQuery: self._core,
            ClaimsQuery: self._core,
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
            reply, _ = await self._registry.submit(commit, from_operator=from_operator)
        except StoreError as error:
            log.warning("record cannot be written", error=str(error))
            return CommitReply(False, "Unavailable", str(error))
        log.info("commit", sender=question.machine, accepted=reply.accepted, code=reply.reason, dry_run=commit.dry_run)
        return reply

    async def _core(self, question: Question) -> object:
        return await self._decisions.answer_to(question.machine, question.payload)

    async def _assignment(self, question: Question) -> object:
        assignment: Assignment = question.payload
        commit = Commit(assignment.record, (assignment.block,))
        try:
            reply, declaration = await self._registry.submit(commit, from_operator=False)
        except StoreError as error:
            raise RemoteFailure("Unavailable", str(error)) from error
        if declaration is None:
            refusal = Refusal(NoReason.OUTDATED, reply.message)
            return AssignmentReply((), tuple(SlotRefusal(slot.slot, (refusal,)) for slot in assignment.slots))
        log.info("assignment", task=assignment.task_id.hex(), uid=declaration.uid, slots=len(assignment.slots))
        return await self._decisions.assigned(
            lambda token: AssignmentOffered(token, question.machine, declaration, assignment.slots)
        )

    async def _reports(self, question: Question) -> Ack:
        await self._decisions.put(ClaimsReported(question.machine, question.payload.reports))
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

    async def _block(self, question: Question) -> BlockReply:
        cid = question.payload.cid
        found = (holding.blocks[cid].block for holding in self._registry if cid in holding.blocks)
        return BlockReply(next(found, b""))
