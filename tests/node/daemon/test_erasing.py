"""Erasing takes record, blocks and content keys off the disk, and never what has been written again since."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from beemesh_node.cli import changes
from beemesh_node.cli.survey import Declaration
from beemesh_node.crypto import generate_signing_key
from beemesh_node.daemon.questions import Questions
from beemesh_node.daemon.registry import Registry
from beemesh_node.daemon.store import BLOCKS, RECORDS, Store, StoreError
from beemesh_node.healing.declaration import Declaration as Declared
from beemesh_node.protocol.ids import Uid
from beemesh_node.protocol.messages import Commit, KeepQuery, KeepReply
from beemesh_node.protocol.record import AttestedRecord, attest
from beemesh_node.protocol.root import OperatorProfile
from beemesh_node.workloads.manifest import load
from tests.node.daemon.small_disk import Disk
from tests.node.protocol.mesh import NOW, Mesh

HELLO = b"apiVersion: v1\nkind: Pod\nmetadata: {name: hello}\nspec: {containers: [{name: web, image: i}]}\n"


class Holder:
    """A registry on a disk, and an operator who declares one Pod."""

    def __init__(self, store: Store) -> None:
        mesh = Mesh()
        self.owner = mesh.member(OperatorProfile("alice", ("default",), ("get", "apply", "delete")))
        self.store = store
        self.mesh_id, self.trust = mesh.root.mesh_id, mesh.trust()
        self.registry = Registry(self.store, trio.CapacityLimiter(1), self.trust)
        self.news: list[tuple[object, ...]] = []
        self.registry.announce = self._stored
        self.registry.announce_erased = self._erased
        created = changes.create(mesh.root.mesh_id, load(HELLO), (), NOW, lambda *name: ())
        self.commit, self.attested = self._signed(created)
        self.uid = Uid(created.record.uid)

    def tombstone(self) -> Commit:
        entry: Any = None
        return self._signed(changes.tombstone(Declaration(self.attested, entry)))[0]

    def other(self) -> Commit:
        """The declaration of another Pod."""
        manifest = HELLO.replace(b"hello", b"other")
        return self._signed(changes.create(self.mesh_id, load(manifest), (), NOW, lambda *name: ()))[0]

    async def deleted_on_disk(self) -> set[Uid]:
        """Whose tombstones a daemon finds that starts now."""
        found = await Registry(self.store, trio.CapacityLimiter(1), self.trust).load()
        return {declaration.uid for declaration in found if declaration.deleted}

    def on_disk(self) -> int:
        return len(self.store.items(RECORDS)) + len(self.store.items(BLOCKS))

    def stamp(self) -> int:
        holding = self.registry.get(self.uid)
        assert holding is not None
        return holding.stamp

    async def bring(self, commit: Commit) -> None:
        reply, _ = await self.registry.submit(commit, from_operator=False)
        assert reply.accepted, reply.message

    def _signed(self, change: changes.Change) -> tuple[Commit, AttestedRecord]:
        raw = attest(change.record, self.owner.certificate_bytes, self.owner.identity.signing)
        return Commit(raw, change.blocks), AttestedRecord(change.record, self.owner.certificate, raw)

    async def _stored(self, declaration: object, fresh: bool) -> None:
        self.news.append(("stored", self.stamp()))

    async def _erased(self, uid: Uid, stamp: int) -> None:
        self.news.append(("erased", stamp))


@pytest.fixture
def holder(tmp_path: Path) -> Holder:
    return Holder(Store(tmp_path / "state.db", bytes(range(32))))


async def test_record_block_and_key_are_gone_from_disk_and_memory(holder: Holder) -> None:
    await holder.bring(holder.commit)
    assert holder.on_disk() == 2
    stamp = holder.stamp()
    assert await holder.registry.erase(holder.uid, stamp)
    assert holder.on_disk() == 0
    assert holder.registry.get(holder.uid) is None
    assert holder.news == [("stored", stamp), ("erased", stamp)]
    await holder.bring(holder.commit)
    assert holder.on_disk() == 2


async def test_what_was_brought_again_meanwhile_stays(holder: Holder) -> None:
    await holder.bring(holder.commit)
    decided = holder.stamp()
    await holder.bring(holder.commit)
    assert not await holder.registry.erase(holder.uid, decided)
    assert holder.on_disk() == 2
    assert [what for what, _ in holder.news] == ["stored", "stored"]


async def test_a_tombstone_is_never_erased(holder: Holder) -> None:
    await holder.bring(holder.commit)
    await holder.bring(holder.tombstone())
    assert not await holder.registry.erase(holder.uid, holder.stamp())
    assert holder.on_disk() == 1


async def test_a_tombstone_that_cannot_be_written_holds_and_is_not_said_to_be_kept(disk: Disk) -> None:
    holder = Holder(disk.store)
    await holder.bring(holder.commit)
    tombstone, told = holder.tombstone(), []

    async def announce(declaration: Declared, fresh: bool) -> None:
        told.append((declaration.deleted, fresh))

    holder.registry.announce = announce
    disk.fill()
    for _ in range(2):  # whoever brings it hears that it is not kept, and brings it again
        with pytest.raises(StoreError, match="df"):
            await holder.bring(tombstone)
    assert told == [(True, False)] * 2
    held = holder.registry.get(holder.uid)
    assert held is not None
    assert held.attested.record.deleted, "others are shown the tombstone"
    disk.empty()
    await holder.bring(holder.other())
    assert await holder.deleted_on_disk() == {holder.uid}, "it is written with the next thing that is"


async def test_what_is_declared_anew_and_cannot_be_written_is_not_told(disk: Disk) -> None:
    holder = Holder(disk.store)
    disk.fill()
    with pytest.raises(StoreError):
        await holder.bring(holder.commit)
    assert (holder.news, holder.registry.get(holder.uid)) == ([], None)


async def test_a_block_that_another_declaration_names_stays(holder: Holder) -> None:
    await holder.bring(holder.commit)
    held = holder.registry.get(holder.uid)
    assert held is not None
    other = Uid("another")
    holder.registry._hold(other, replace(held, stamp=0))
    assert await holder.registry.erase(holder.uid, held.stamp)
    assert [len(holder.store.items(table)) for table in (RECORDS, BLOCKS)] == [0, 1]


async def test_a_guardian_that_lacks_a_block_of_an_earlier_revision_does_not_say_that_it_keeps_all(
    holder: Holder,
) -> None:
    await holder.bring(holder.commit)

    async def kept(sender: object, payload: object) -> KeepReply:
        return KeepReply(kept=True)

    decisions: Any = SimpleNamespace(answer_to=kept)
    nothing: Any = None
    questions = Questions(decisions, holder.registry, nothing, nothing, nothing)
    present = holder.attested.record.cid

    async def ask(*blocks: str) -> object:
        query = KeepQuery(holder.uid, 1, holder.attested.digest, blocks)
        question: Any = SimpleNamespace(payload=query, machine="m")
        return await questions.handlers[KeepQuery](question)

    assert await ask(present) == KeepReply(kept=True)
    assert await ask(present, "a block that the record does not name") == KeepReply(kept=True)
    held = holder.registry.get(holder.uid)
    assert held is not None
    held.blocks.clear()
    assert await ask(present) == KeepReply(kept=False)


async def test_only_a_genuine_record_that_wins_counts_as_newer(holder: Holder) -> None:
    await holder.bring(holder.commit)
    tombstone = holder.tombstone().record
    shown = holder.registry.newer(holder.uid, tombstone)
    assert shown is not None
    assert shown.record.deleted
    assert holder.registry.newer(holder.uid, holder.commit.record) is None
    assert holder.registry.newer(Uid("another"), tombstone) is None
    assert holder.registry.newer(holder.uid, b"") is None
    forged = attest(replace(shown.record, sequence=9), holder.owner.certificate_bytes, generate_signing_key())
    assert holder.registry.newer(holder.uid, forged) is None
