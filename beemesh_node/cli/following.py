"""Following one declaration: those responsible answer whenever there is news, instead of being asked all the time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from beemesh_node.cli.gather import TIMEOUT, Gathered, gather
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.survey import (
    Declaration,
    ask_responsible,
    merge_declarations,
    merge_pods,
    reachable,
    responsible,
)
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import ClaimReport, ListReply, ListRequest, Resource
from beemesh_node.protocol.record import Record

_FIRST, _LONGEST, _GROWTH = 0.1, 0.5, 1.3
"""Seconds before a machine that has answered is asked again: at first, at last, and how they grow."""
_AGAIN = 0.5
"""Seconds without news after which the last view is given again: some of what it shows depends on the time."""
_REFRESH = 5.0
"""Seconds after which the entry is asked again which machines there are."""


@dataclass(frozen=True, slots=True)
class View:
    """A declaration at one moment. `declaration` is None when nobody responsible knows it."""

    declaration: Declaration | None
    pods: tuple[ClaimReport, ...]


async def look(mesh: Mesh, record: Record) -> View:
    """Ask the guardians of a declaration once how it is."""
    request = ListRequest(Resource.ROLLOUT, uid=record.uid)
    answers = await ask_responsible(mesh.session, record.namespace, [(record.kind, record.name)], request)
    return _view(mesh, record, answers)


@asynccontextmanager
async def following(mesh: Mesh, record: Record) -> AsyncIterator[Callable[[], Awaitable[View]]]:
    """Follow a declaration for the length of the block; what it gives waits for the next view of it.

    The errors of `gather` come out of the block, in a group.
    """
    followed = _Following(mesh, record)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(followed.run)
        yield followed.next
        nursery.cancel_scope.cancel()


class _Following:
    def __init__(self, mesh: Mesh, record: Record) -> None:
        self._mesh, self._record = mesh, record
        self._asked: set[MachineId] = set()
        """Those who are asked, each by a task of its own."""
        self._replies: dict[MachineId, ListReply] = {}
        self._silent: dict[MachineId, str] = {}
        self._changed = trio.Event()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                wanted = self._wanted()
                for machine in wanted - self._asked:
                    nursery.start_soon(self._follow, machine)
                self._asked = wanted
                await trio.sleep(_REFRESH)
                await self._mesh.refresh()

    async def next(self) -> View:
        with trio.move_on_after(_AGAIN):
            await self._changed.wait()
        # Not the view of the first alone: it may be behind.
        while not self._heard():
            await self._changed.wait()
            self._changed = trio.Event()
        self._changed = trio.Event()
        return _view(self._mesh, self._record, Gathered(self._replies, self._silent))

    def _heard(self) -> bool:
        """Whether most have answered, or all at least failed to."""
        return len(self._replies) * 2 > len(self._asked) or self._asked <= {*self._replies, *self._silent}

    def _wanted(self) -> set[MachineId]:
        record, session = self._record, self._mesh.session
        guardians = set(responsible(session, record.namespace, [(record.kind, record.name)]))
        nobody = bool(self._asked) and not self._replies
        return set(reachable(session)) if nobody or not guardians else guardians

    async def _follow(self, machine: MachineId) -> None:
        known, pause = b"", _FIRST
        while machine in self._asked:
            request = ListRequest(Resource.ROLLOUT, uid=self._record.uid, known=known)
            answer = await gather(self._mesh.session, (machine,), request, ListReply, within=TIMEOUT)
            self._take(machine, answer.replies, answer.silent)
            known = answer.replies[machine].state if machine in answer.replies else b""
            await trio.sleep(pause)
            pause = min(_LONGEST, pause * _GROWTH)
        self._take(machine, {}, {})

    def _take(self, machine: MachineId, reply: Mapping[MachineId, ListReply], silence: Mapping[MachineId, str]) -> None:
        """Keep what a machine said last, or why it said nothing."""
        self._replies.pop(machine, None)
        self._silent.pop(machine, None)
        self._replies.update(reply)
        self._silent.update(silence)
        self._changed.set()


def _view(mesh: Mesh, record: Record, answers: Gathered[ListReply]) -> View:
    declarations = merge_declarations(answers, mesh.chain).declarations
    pods = merge_pods(report for reply in answers.replies.values() for report in reply.pods)
    return View(next((each for each in declarations if each.attested.record.uid == record.uid), None), pods)
