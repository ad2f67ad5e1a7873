"""Performs what the decision core wants done. What is to be persisted, is, before anything that follows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import msgspec
import structlog
import trio

from beemesh_node.crypto.errors import CryptoError
from beemesh_node.daemon.ballots import Ballots, written
from beemesh_node.daemon.decisions import Decisions
from beemesh_node.daemon.lease_clock import LeaseClock
from beemesh_node.daemon.peers import Peers
from beemesh_node.daemon.pods import Pods
from beemesh_node.daemon.registry import Registry
from beemesh_node.daemon.store import CLAIMS, Store, StoreError
from beemesh_node.healing.effects import (
    Ask,
    Assign,
    Effect,
    EraseRecord,
    ForgetClaim,
    FormVoterSet,
    Note,
    OfferRelease,
    PersistClaim,
    PersistVoter,
    PushRecord,
    Reply,
    SetGuard,
    ShowVoterSets,
    StartPod,
    StopPod,
    Tell,
    Token,
    VoteCast,
)
from beemesh_node.healing.events import Answered, PodStartFailed, RecordHeld, Unanswered, Untold
from beemesh_node.messaging.errors import MeshError, RemoteFailure
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    Ack,
    Assignment,
    AssignmentReply,
    Bid,
    ClaimReply,
    ClaimReports,
    CommitReply,
    EventReport,
    KeepQuery,
    KeepReply,
    LeaseReply,
    LeaseRequest,
    Release,
    Task,
    VoterAnswer,
    VoterProposal,
)

log = structlog.get_logger()

_TELL_WITHIN = 5.0
_REPORT_WITHIN = 3.0
_PUSH_WITHIN = 10.0
_WITHHELD = "the votes of this machine cannot be written: check free space (df)"

_Answer: TypeAlias = type[Bid] | type[AssignmentReply] | type[ClaimReply] | type[KeepReply]


class Performer:
    """The hands of the decision core. A fault of one effect stays with it and becomes an event."""

    def __init__(
        self,
        decisions: Decisions,
        peers: Peers,
        pods: Pods,
        registry: Registry,
        store: Store,
        ballots: Ballots,
        limiter: trio.CapacityLimiter,
        nursery: trio.Nursery,
    ) -> None:
        """`nursery` owns what goes on after `perform` has returned."""
        self._decisions = decisions
        self._peers = peers
        self._pods = pods
        self._registry = registry
        self._store = store
        self._ballots = ballots
        self._limiter = limiter
        self._clock = LeaseClock()
        self._unwritten: dict[tuple[str, str], bytes] = {}
        """State of voters that could not be written: while there is any, no voter here answers."""
        self._unforgotten: set[tuple[str, str]] = set()
        """Claims that are over and could not be removed from the disk yet."""
        self._nursery = nursery
        self.faults = 0
        """Effects that failed in a way that was not foreseen."""

    async def perform(self, effects: Sequence[Effect]) -> None:
        """Write what is to be written in one step, then begin everything else in its order."""
        unwritten = await self._persist(effects)
        for effect in effects:
            match effect:
                case StartPod(identity) if identity.pod_uid in unwritten:
                    failed = PodStartFailed(identity.pod_uid, "StateNotWritten", unwritten[identity.pod_uid])
                    self._nursery.start_soon(self._decisions.put, failed)
                case Reply(_, LeaseReply() | VoteCast()) if self._unwritten:
                    log.warning("a voter's answer is withheld: its state cannot be written")
                case StartPod(identity, float()) if self._unwritten:
                    failed = PodStartFailed(identity.pod_uid, "StateNotWritten", _WITHHELD, retryable=True)
                    self._nursery.start_soon(self._decisions.put, failed)
                case Reply():
                    self._decisions.reply(effect)
                case StartPod(identity, deadline, term):
                    log.info("pod begins", uid=identity.uid, slot=identity.slot, pod=identity.pod_uid)
                    end = None if deadline is None else self._clock.deadline(deadline)
                    self._nursery.start_soon(self._pods.start, identity, end, term)
                case SetGuard(identity, deadline):
                    self._nursery.start_soon(
                        self._contained, self._pods.renew, identity, self._clock.deadline(deadline)
                    )
                case StopPod(identity, grace):
                    self._nursery.start_soon(self._pods.stop, identity, grace)
                case Ask():
                    self._nursery.start_soon(self._contained, self._ask, effect)
                case Assign():
                    self._nursery.start_soon(self._contained, self._assign, effect)
                case Tell(machine, ClaimReports() as told):
                    self._nursery.start_soon(self._contained, self._report, machine, told)
                case Tell(machine, payload):
                    self._nursery.start_soon(self._contained, self._tell, machine, payload)
                case OfferRelease():
                    self._nursery.start_soon(self._contained, self._release, effect)
                case ShowVoterSets(uid, machine):
                    self._nursery.start_soon(self._contained, self._tell, machine, self._ballots.known(uid))
                case FormVoterSet():
                    self._nursery.start_soon(self._contained, self._form, effect)
                case PushRecord(uid, machine):
                    self._nursery.start_soon(self._contained, self._push, uid, machine)
                case EraseRecord(uid, stamp):
                    self._nursery.start_soon(self._contained, self._erase, uid, stamp)
                case Note(event):
                    self._note(event)
                case PersistClaim() | ForgetClaim() | PersistVoter():
                    pass  # written above

    async def _contained(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Do one effect. A fault that nobody foresaw is logged with its trace and stays with it."""
        try:
            await work(*arguments)
        except Exception:
            self.faults += 1
            log.exception("effect failed", effect=work.__name__)

    async def _persist(self, effects: Sequence[Effect]) -> dict[str, str]:
        """Write and remove claims. Returns the pods whose claim could not be written, and why: these must not start."""
        held = [effect.claim for effect in effects if isinstance(effect, PersistClaim)]
        puts = {(CLAIMS, claim.identity.pod_uid): msgspec.json.encode(claim) for claim in held}
        self._unforgotten.update((CLAIMS, e.pod_uid) for e in effects if isinstance(e, ForgetClaim))
        self._unwritten.update(written(effect.voter) for effect in effects if isinstance(effect, PersistVoter))
        if not puts and not self._unforgotten and not self._unwritten:
            return {}
        puts.update(self._unwritten)
        try:
            await trio.to_thread.run_sync(self._store.write, puts, tuple(self._unforgotten), limiter=self._limiter)
        except StoreError as error:
            log.warning("state cannot be written", error=str(error))
            return {claim.identity.pod_uid: str(error) for claim in held}
        self._unwritten.clear()
        self._unforgotten.clear()
        return {}

    async def _ask(self, effect: Ask) -> None:
        match effect.payload:
            case LeaseRequest():
                await self._ask_lease(effect)
            case VoterProposal():
                await self._ask_vote(effect, effect.payload)
            case Task():
                await self._answered(effect.token, effect.machine, effect.payload, Bid, effect.timeout)
            case KeepQuery() as query:
                holding = self._registry.get(Uid(query.uid))
                whole = replace(query, blocks=tuple(holding.blocks) if holding is not None else ())
                await self._answered(effect.token, effect.machine, whole, KeepReply, effect.timeout)
            case _:
                await self._answered(effect.token, effect.machine, effect.payload, ClaimReply, effect.timeout)

    async def _ask_lease(self, effect: Ask) -> None:
        """Ask a voter. What it grants counts from now, by the clock of the guards."""
        mark = self._clock.mark()
        try:
            answer = await self._peers.ask(effect.machine, effect.payload, LeaseReply, timeout=effect.timeout)
        except Exception as error:  # noqa: BLE001 - whatever it is, the core waits for one answer or this
            log.debug("no answer of a voter", machine=effect.machine, error=repr(error))
            await self._decisions.put(Unanswered(effect.token, str(error)))
            return
        if self._clock.awake_since(mark):
            await self._decisions.put(Answered(effect.token, answer))
        else:
            await self._decisions.put(Unanswered(effect.token, "this machine slept meanwhile"))

    async def _ask_vote(self, effect: Ask, proposal: VoterProposal) -> None:
        try:
            answer = await self._peers.ask(effect.machine, proposal, VoterAnswer, timeout=effect.timeout)
            self._ballots.count(effect.machine, proposal, answer)
        except (MeshError, ProtocolError, CryptoError) as error:
            log.info("no vote", machine=effect.machine, uid=proposal.uid, error=str(error))
            await self._decisions.put(Unanswered(effect.token, str(error)))
        else:
            await self._decisions.put(Answered(effect.token, answer))

    async def _form(self, effect: FormVoterSet) -> None:
        try:
            shown = await self._ballots.form(effect)
        except (StoreError, ProtocolError, CryptoError) as error:
            log.warning("voter set not formed", uid=effect.uid, number=effect.number, error=str(error))
            return
        if shown is not None:
            log.info("voter set in force", uid=effect.uid, number=effect.number, voters=effect.members)
            await self._decisions.put(shown)

    async def _assign(self, effect: Assign) -> None:
        holding = self._registry.get(effect.uid)
        if holding is None or holding.attested.record.sequence != effect.sequence or holding.spec is None:
            await self._decisions.put(Unanswered(effect.token, "a newer record is in force"))
            return
        record = holding.attested.record
        block = holding.blocks[record.cid]
        assignment = Assignment(effect.task_id, holding.attested.raw, block, effect.slots, effect.preempt)
        await self._answered(effect.token, effect.machine, assignment, AssignmentReply, effect.timeout)

    async def _answered(
        self, token: Token, machine: MachineId, payload: object, reply: _Answer, timeout: float
    ) -> None:
        try:
            answer = await self._peers.ask(machine, payload, reply, timeout=timeout)
        except Exception as error:  # noqa: BLE001 - whatever it is, the core waits for one answer or this
            log.info("no answer", machine=machine, question=type(payload).__name__, error=repr(error))
            await self._decisions.put(Unanswered(token, str(error)))
        else:
            await self._decisions.put(Answered(token, answer))

    async def _tell(self, machine: MachineId, payload: object) -> None:
        try:
            await self._peers.ask(machine, payload, Ack, timeout=_TELL_WITHIN)
        except MeshError as error:
            log.info("not told", machine=machine, what=type(payload).__name__, error=str(error))

    async def _report(self, machine: MachineId, told: ClaimReports) -> None:
        try:
            await self._peers.ask(machine, told, Ack, timeout=_REPORT_WITHIN)
        except RemoteFailure as error:
            log.info("report not taken", machine=machine, error=str(error))
        except MeshError as error:
            log.info("not told", machine=machine, what="ClaimReports", error=str(error))
            await self._decisions.put(Untold(machine, told))

    async def _release(self, effect: OfferRelease) -> None:
        holding = self._registry.get(effect.shown)
        if holding is not None:
            cid = holding.attested.record.cid
            blocks = (holding.blocks[cid],) if cid in holding.blocks else ()
            await self._tell(effect.machine, Release(effect.claim, holding.attested.raw, effect.better, blocks))

    async def _push(self, uid: Uid, machine: MachineId) -> None:
        holding = self._registry.get(uid)
        if holding is None:
            return
        try:
            for commit in holding.commits():
                reply = await self._peers.ask(machine, commit, CommitReply, timeout=_PUSH_WITHIN)
        except MeshError as error:
            log.info("record not brought", machine=machine, uid=uid, error=str(error))
            return
        held = holding.attested if reply.accepted else self._registry.newer(uid, reply.current)
        if held is not None:
            record = held.record
            await self._decisions.put(RecordHeld(uid, machine, record.sequence, record.deleted, held.digest))
        else:
            log.info("record not accepted", machine=machine, uid=uid, code=reply.reason)

    async def _erase(self, uid: Uid, stamp: int) -> None:
        try:
            erased = await self._registry.erase(uid, stamp)
        except StoreError as error:
            log.warning("record cannot be erased", uid=uid, error=str(error))
        else:
            log.info("others keep the record", uid=uid, erased=erased)

    def _note(self, event: EventReport) -> None:
        log.info("event", uid=event.uid, reason=event.reason, kind=event.type, count=event.count)
