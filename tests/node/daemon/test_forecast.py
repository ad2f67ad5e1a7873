"""A dry run is answered with a forecast by the guardian that would coordinate, and leaves nothing behind."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from beemesh_node.cli import changes
from beemesh_node.daemon.decisions import Decisions
from beemesh_node.daemon.questions import Questions
from beemesh_node.daemon.registry import Registry
from beemesh_node.daemon.store import RECORDS, Store
from beemesh_node.healing.core import Core
from beemesh_node.healing.effects import Effect, Reply
from beemesh_node.healing.events import Adopted, LocalChanged, MemberSeen
from beemesh_node.protocol.certificate import Role
from beemesh_node.protocol.messages import Commit, CommitReply, SlotPlace
from beemesh_node.protocol.record import attest
from beemesh_node.protocol.root import OperatorProfile
from beemesh_node.workloads.manifest import load
from tests.node.healing.support import ME, member
from tests.node.protocol.mesh import NOW, Mesh

HELLO = b"apiVersion: v1\nkind: Pod\nmetadata: {name: hello}\nspec: {containers: [{name: web, image: i}]}\n"


@pytest.fixture
def commit() -> tuple[Mesh, Commit]:
    mesh = Mesh()
    owner = mesh.member(OperatorProfile("alice", ("default",), ("get", "apply", "delete")))
    created = changes.create(mesh.root.mesh_id, load(HELLO), (), NOW, lambda *name: ())
    raw = attest(created.record, owner.certificate_bytes, owner.identity.signing)
    return mesh, Commit(raw, created.blocks, dry_run=True)


class Machine:
    """A decision core with the door to it, alone in its mesh unless a test adds others."""

    def __init__(self, directory: Path, mesh: Mesh) -> None:
        self.store = Store(directory / "state.db", bytes(range(32)))
        self.decisions = Decisions(Core(ME))
        self.effects: list[Effect] = []
        registry = Registry(self.store, trio.CapacityLimiter(1), mesh.trust())
        nothing: Any = None
        self._questions = Questions(self.decisions, registry, nothing, mesh.trust(), ME)

    async def begin(self) -> None:
        await self.decisions.put(LocalChanged(member("me"), address="10.0.0.1"))
        await self.decisions.put(Adopted())

    async def perform(self, effects: Any) -> None:
        for effect in effects:
            self.effects.append(effect)
            if isinstance(effect, Reply):
                self.decisions.reply(effect)

    async def ask(self, commit: Commit, role: Role = Role.OPERATOR) -> CommitReply:
        sender = SimpleNamespace(certificate=SimpleNamespace(role=role))
        question: Any = SimpleNamespace(payload=commit, machine="x", sender=sender)
        reply = await self._questions.handlers[Commit](question)
        assert isinstance(reply, CommitReply)
        assert reply.accepted, reply.message
        return reply


async def test_an_operator_is_told_where_it_would_run(
    tmp_path: Path, commit: tuple[Mesh, Commit], nursery: trio.Nursery
) -> None:
    mesh, dry = commit
    machine = Machine(tmp_path, mesh)
    nursery.start_soon(machine.decisions.run, machine.perform)
    await machine.begin()
    with trio.fail_after(10):
        told = (await machine.ask(dry)).forecast
        assert told is not None
        assert (told.places, told.waiting) == ((SlotPlace(0, ME),), 0)
        assert (await machine.ask(dry, Role.MACHINE)).forecast is None, "guardians do not ask each other"
    assert not machine.store.items(RECORDS)
    assert {type(effect) for effect in machine.effects} <= {Reply}


async def test_who_would_not_coordinate_leaves_it_to_who_would(
    tmp_path: Path, commit: tuple[Mesh, Commit], nursery: trio.Nursery
) -> None:
    mesh, dry = commit
    machine = Machine(tmp_path, mesh)
    nursery.start_soon(machine.decisions.run, machine.perform)
    await machine.begin()
    others = (member(f"other-{number}", period=1000.0) for number in range(1000))
    with trio.fail_after(10):
        while machine.decisions.core.guardians(("default", "Pod", "hello"))[:1] in ((), (ME,)):
            await machine.decisions.put(MemberSeen(next(others)))
            await trio.testing.wait_all_tasks_blocked()
        assert (await machine.ask(dry)).forecast is None
