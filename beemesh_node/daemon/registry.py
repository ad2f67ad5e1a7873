"""The declarations this machine holds: verified records, their blocks and content keys, on disk and in memory alike."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar, final

import structlog
import trio

from beemesh_node.crypto import aead
from beemesh_node.crypto.errors import CryptoError
from beemesh_node.daemon.admission import AdmissionError, Admitted, admit
from beemesh_node.daemon.store import BLOCKS, RECORDS, Store, StoreError
from beemesh_node.healing.declaration import Declaration
from beemesh_node.protocol.block import open_block, parse_cid
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.header import AudienceKind
from beemesh_node.protocol.ids import Uid
from beemesh_node.protocol.messages import Commit, CommitReply, KeyedBlock
from beemesh_node.protocol.policy import MAX_MESSAGE
from beemesh_node.protocol.record import AttestedRecord, open_record
from beemesh_node.protocol.trust import TrustStore
from beemesh_node.workloads.errors import ManifestError
from beemesh_node.workloads.spec import WorkloadSpec

log = structlog.get_logger()

_T = TypeVar("_T")

MAX_RECORDS = 20_000
"""Declarations, tombstones included, that one machine holds at most."""

MAX_PART = MAX_MESSAGE[AudienceKind.MEMBER] - 512 * 1024
"""Bytes of blocks in one message at most; two of the largest fit."""

_KEEP_WITHIN = 30.0

Announce: TypeAlias = Callable[[Declaration, bool], Awaitable[None]]
"""Called with what has been stored, and whether it is the first that anybody can have heard of it."""
AnnounceErased: TypeAlias = Callable[[Uid, int], Awaitable[None]]
"""Called with what has been erased, and the stamp that it had."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One declaration as it is held."""

    attested: AttestedRecord
    spec: WorkloadSpec | None = field(repr=False)
    blocks: dict[str, KeyedBlock] = field(repr=False)
    """By content id: the present one and those of earlier revisions that were brought."""
    stamp: int = 0
    """Another one each time that it is written; 0 as found on the disk at the start."""

    @property
    def named(self) -> frozenset[str]:
        """The content ids of the present block and of those of earlier revisions, whether they are here or not."""
        record = self.attested.record
        return frozenset() if record.deleted else frozenset((record.cid, *(each.cid for each in record.revisions)))

    def commits(self) -> Iterator[Commit]:
        """Give everything as it is handed to another guardian, in as many parts as messages can carry.

        The present block is in every part, because no record is admitted without.
        """
        present, earlier = self.split()
        part, size = list(present), sum(len(block.block) for block in present)
        for block in earlier:
            if size + len(block.block) > MAX_PART:
                yield Commit(self.attested.raw, tuple(part))
                part, size = list(present), sum(len(each.block) for each in present)
            part.append(block)
            size += len(block.block)
        yield Commit(self.attested.raw, tuple(part))

    def split(self) -> tuple[tuple[KeyedBlock, ...], tuple[KeyedBlock, ...]]:
        """Return the present block (none of a tombstone), and those of earlier revisions, the newest first."""
        cid = self.attested.record.cid
        order = [revision.cid for revision in reversed(self.attested.record.revisions) if revision.cid != cid]
        present = (self.blocks[cid],) if cid in self.blocks else ()
        return present, tuple(self.blocks[each] for each in dict.fromkeys(order) if each in self.blocks)


@final
class Registry:
    """What this machine holds. One change at a time: it is written first, then announced."""

    def __init__(self, store: Store, limiter: trio.CapacityLimiter, trust: TrustStore) -> None:
        """`limiter` admits one thread to the `store` at a time."""
        self._store = store
        self._limiter = limiter
        self._trust = trust
        self._held: dict[Uid, Holding] = {}
        self._raws: set[bytes] = set()
        """The records that are held, byte for byte."""
        self._users: Counter[str] = Counter()
        """How many declarations name a block: one can be dropped with the last of them."""
        self._changing = trio.Lock()
        self._unwritten: set[Uid] = set()
        """Tombstones that hold, and are not on the disk yet."""
        self._writes = itertools.count(1)
        self.announce: Announce = _nobody
        self.announce_erased: AnnounceErased = _nobody

    def __iter__(self) -> Iterator[Holding]:
        return iter(tuple(self._held.values()))

    def __len__(self) -> int:
        return len(self._held)

    def get(self, uid: Uid) -> Holding | None:
        """Return the declaration with this uid, if held."""
        return self._held.get(uid)

    async def load(self) -> tuple[Declaration, ...]:
        """Take up what the disk holds, and return it. What does not verify is left on the disk and logged."""
        records = await self._threaded(self._store.items, RECORDS)
        blocks = {
            cid: KeyedBlock(cid, value[aead.KEY_SIZE :], value[: aead.KEY_SIZE])
            for cid, value in await self._threaded(self._store.items, BLOCKS)
        }
        found = []
        for uid, raw in records:
            try:
                admitted = admit(raw, blocks, self._trust, held=True)
            except AdmissionError as error:
                log.warning("stored record is not admitted", uid=uid, code=error.code)
                continue
            self._hold(Uid(uid), _holding(admitted, None, 0))
            found.append(admitted.declaration)
        return tuple(found)

    async def submit(self, commit: Commit, *, from_operator: bool) -> tuple[CommitReply, Declaration | None]:
        """Keep what a member brings, if it is admitted and newer than what is held.

        Returns the answer and, if it was accepted, what the record declares.
        An operator has to name the record that is changed; guardians bring what has won already. Raises `StoreError`
        when it cannot be written, and then nothing has changed; but a tombstone holds all the same, until the daemon
        ends at least, and is brought again by those who hear that it is not kept.
        """
        try:
            blocks = {block.cid: block for block in commit.blocks}
            admitted = admit(commit.record, blocks, self._trust, held=commit.record in self._raws)
        except AdmissionError as error:
            return CommitReply(False, error.code, error.message), None
        async with self._changing:
            uid = Uid(admitted.attested.record.uid)
            known = self._held.get(uid)
            if (refusal := _refusal(admitted, known, from_operator=from_operator)) is not None:
                return refusal, None
            if known is None and len(self._held) >= MAX_RECORDS:
                full = f"this machine holds {MAX_RECORDS} declarations already"
                return CommitReply(False, "Unavailable", full), None
            if not commit.dry_run:
                # One step, whoever gives up waiting for it: what is kept and not announced would never be placed.
                with trio.CancelScope(shield=True, deadline=trio.current_time() + _KEEP_WITHIN):
                    try:
                        await self._keep(uid, admitted, known)
                    except StoreError:
                        if admitted.declaration.deleted:
                            await self._believe(uid, admitted)
                        raise
                    await self.announce(admitted.declaration, from_operator and known is None)
        return CommitReply(True), admitted.declaration

    async def erase(self, uid: Uid, stamp: int) -> bool:
        """Erase a declaration with its blocks and content keys, unless it has been written again: False then.

        A tombstone is never erased. Raises `StoreError` when it cannot be written, and then nothing has changed.
        """
        async with self._changing:
            holding = self._held.get(uid)
            if holding is None or holding.stamp != stamp or holding.attested.record.deleted:
                return False
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _KEEP_WITHIN):
                blocks = tuple((BLOCKS, cid) for cid in holding.blocks if self._users[cid] == 1)
                await self._threaded(self._store.write, {}, ((RECORDS, uid), *blocks))
                del self._held[uid]
                self._raws.discard(holding.attested.raw)
                self._users.subtract(holding.blocks.keys())
                await self.announce_erased(uid, stamp)
        return True

    def newer(self, uid: Uid, raw: bytes) -> AttestedRecord | None:
        """Read a record that another machine holds of a declaration; None if it is not genuine, or not newer."""
        holding = self._held.get(uid)
        try:
            shown = open_record(raw, self._trust.verify_author)
        except (ProtocolError, CryptoError):
            return None
        wins = holding is not None and shown.record.uid == uid and shown.rank > holding.attested.rank
        return shown if wins else None

    def specification(self, uid: Uid, revision: str) -> WorkloadSpec | None:
        """Return what the pods of a revision are made from: the present revision or an earlier one that is held."""
        holding = self._held.get(uid)
        if holding is None or holding.spec is None:
            return None
        if holding.spec.revision == revision:
            return holding.spec
        return next((spec for spec in _earlier(holding, uid) if spec.revision == revision), None)

    async def _keep(self, uid: Uid, admitted: Admitted, known: Holding | None) -> None:
        holding = _holding(admitted, known, next(self._writes))
        puts = {(BLOCKS, cid): block.content_key + block.block for cid, block in holding.blocks.items()}
        puts[RECORDS, uid] = admitted.attested.raw
        left = set(known.blocks) - set(holding.blocks) if known else set()
        dropped = tuple((BLOCKS, cid) for cid in left if self._users[cid] == 1)
        late = {(RECORDS, other): self._held[other].attested.raw for other in self._unwritten}
        await self._threaded(self._store.write, late | puts, dropped)
        self._unwritten.clear()
        self._hold(uid, holding)

    async def _believe(self, uid: Uid, admitted: Admitted) -> None:
        """Hold a tombstone that cannot be written: what it ends may be what fills the disk."""
        self._hold(uid, Holding(admitted.attested, None, {}, next(self._writes)))
        self._unwritten.add(uid)
        await self.announce(admitted.declaration, False)

    def _hold(self, uid: Uid, holding: Holding) -> None:
        known = self._held.get(uid)
        self._users.subtract(known.blocks.keys() if known else ())
        self._users.update(holding.blocks.keys())
        self._raws.discard(known.attested.raw if known else b"")
        self._raws.add(holding.attested.raw)
        self._held[uid] = holding

    async def _threaded(self, function: Callable[..., _T], *arguments: object) -> _T:
        return await trio.to_thread.run_sync(function, *arguments, limiter=self._limiter)


def _holding(admitted: Admitted, known: Holding | None, stamp: int) -> Holding:
    """Join what was brought with the earlier blocks that the new record still names."""
    brought = {block.cid: block for block in admitted.blocks}
    holding = Holding(admitted.attested, admitted.spec, brought, stamp)
    if known is None:
        return holding
    return replace(holding, blocks={c: b for c, b in known.blocks.items() if c in holding.named} | brought)


def _refusal(admitted: Admitted, known: Holding | None, *, from_operator: bool) -> CommitReply | None:
    if known is None or known.attested.digest == admitted.attested.digest:
        return None
    new, old = admitted.attested, known.attested
    subject = f"{new.record.kind} {new.record.namespace}/{new.record.name}"
    if new.rank < old.rank:
        message = "it was deleted" if old.record.deleted else "a newer version is in force"
        return CommitReply(False, "Conflict", f"{subject}: {message}", old.raw)
    if from_operator and not new.record.deleted and new.record.parent != old.digest:
        return CommitReply(False, "Conflict", f"{subject}: it was changed by somebody else meanwhile", old.raw)
    return None


def _earlier(holding: Holding, uid: Uid) -> Iterable[WorkloadSpec]:
    for revision in reversed(holding.attested.record.revisions):
        block = holding.blocks.get(revision.cid)
        if block is None:
            continue
        try:
            content = open_block(parse_cid(block.cid), block.block, block.content_key, revision.key_commitment)
            yield WorkloadSpec.parse(content, uid)
        except (ProtocolError, CryptoError, ManifestError) as error:
            log.warning("an earlier revision cannot be read", uid=uid, revision=revision.number, error=str(error))


async def _nobody(*news: object) -> None:
    """Stand in for the decision core until it runs."""
