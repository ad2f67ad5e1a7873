"""What members may ask of this machine about leases."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from beemesh_node.crypto.errors import CryptoError
from beemesh_node.daemon.ballots import Ballots
from beemesh_node.daemon.decisions import Decisions
from beemesh_node.daemon.registry import Registry
from beemesh_node.daemon.store import StoreError
from beemesh_node.healing.effects import VoteCast
from beemesh_node.healing.events import LeaseReleased
from beemesh_node.messaging.errors import RemoteFailure
from beemesh_node.messaging.exchange import Handler, Question
from beemesh_node.protocol.certificate import Role
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import Uid
from beemesh_node.protocol.messages import Ack, LeaseQuery, LeaseRelease, LeaseRequest, VoterProposal, VoterSets

log = structlog.get_logger()


class LeaseQuestions:
    """Brings them to the decision core."""

    def __init__(self, decisions: Decisions, registry: Registry, ballots: Ballots) -> None:
        self._decisions, self._registry, self._ballots = decisions, registry, ballots

    @property
    def handlers(self) -> Mapping[type, Handler]:
        """Who answers what."""
        return {
            LeaseRequest: self._core,
            LeaseQuery: self._look,
            LeaseRelease: self._release,
            VoterProposal: self._proposal,
            VoterSets: self._sets,
        }

    async def _core(self, question: Question) -> object:
        return await self._decisions.answer_to(question.machine, question.payload)

    async def _look(self, question: Question) -> object:
        """Tell what is known; a machine may ask, and an operator who may look into the namespace."""
        holding, asker = self._registry.get(Uid(question.payload.uid)), question.sender.certificate
        namespace = holding.attested.record.namespace if holding is not None else ""
        if asker.role is Role.OPERATOR and holding is not None and not asker.allows("get", namespace):
            raise RemoteFailure(
                "Forbidden", f"{asker.name} may not get in namespace {namespace}; ask for a certificate with it"
            )
        return await self._core(question)

    async def _release(self, question: Question) -> Ack:
        await self._decisions.put(LeaseReleased(question.machine, question.payload))
        return Ack()

    async def _proposal(self, question: Question) -> object:
        cast = await self._core(question)
        return self._ballots.sign(cast) if isinstance(cast, VoteCast) else cast

    async def _sets(self, question: Question) -> Ack:
        try:
            shown = await self._ballots.take(question.payload)
        except (StoreError, ProtocolError, CryptoError) as error:
            log.warning("voter sets not taken", sender=question.machine, error=str(error))
            raise RemoteFailure("Invalid", str(error)) from error
        if shown is not None:
            await self._decisions.put(shown)
        return Ack()
