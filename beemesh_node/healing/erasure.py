"""Erases what is no business of this machine any more: a declaration that it neither guards nor runs nor votes on.

It asks all k guardians that it sees whether each of them, as a guardian, keeps the version that is here, and erases it
only if all say so, in one round of questions during which it was no guardian itself. Of the machines that held a
version, the last to erase it would have had to be told "kept" by others that erased it later: so some machine always
holds it, however views of the membership differ. Tombstones are never erased.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from beemesh_node.healing.context import Context
from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.effects import EraseRecord
from beemesh_node.healing.outbox import Answer
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import KeepQuery, KeepReply

MOST_REPEAT = 600.0
"""Seconds: longest time between two rounds of questions."""


@dataclass
class Round:
    """Questions to all guardians at once."""

    missing: set[MachineId]
    """Those that have not said yet that they keep it."""


@dataclass
class Erasure:
    """What may be erased, and what is about to be."""

    context: Context
    needed: Callable[[Declaration], bool]
    """Whether it is needed here all the same: pods of its name run here, or may, or its leases are voted on here."""
    lacking: Callable[[Uid, MachineId, float], None]
    """Called with a guardian that does not keep what it should."""
    _stamps: dict[Uid, int] = field(default_factory=dict)
    _goals: dict[Uid, tuple[tuple[MachineId, ...], bytes, int]] = field(default_factory=dict)
    _rounds: dict[Uid, Round] = field(default_factory=dict)
    _delays: dict[Uid, float] = field(default_factory=dict)
    _erasing: set[Uid] = field(default_factory=set)
    """Between the decision and the news of its outcome."""

    def stored(self, uid: Uid, stamp: int) -> None:
        """It has been written (again): an erasure that was decided before does not take place."""
        if self._stamps.get(uid) != stamp:
            self._stamps[uid] = stamp
            self._erasing.discard(uid)

    def renew(self, uid: Uid, now: float) -> None:
        """The version, its stamp or the guardians may have changed: begin anew if so."""
        goal = (self.context.guardians_of(uid), self.context.declarations[uid].digest, self._stamps.get(uid, 0))
        if self._goals.get(uid) == goal:
            return
        self._goals[uid] = goal
        self._rounds.pop(uid, None)
        self._delays.pop(uid, None)
        if self._superfluous(uid):
            self._later(uid, now + self.context.config.erase_after)
        else:
            self.context.outbox.timers.cancel(("erase", uid))

    def keeps(self, query: KeepQuery) -> bool:
        """Whether this machine, as a guardian, has the version that is asked for, and is not about to erase it."""
        uid = Uid(query.uid)
        declaration = self.context.declarations.get(uid)
        if declaration is None or self.context.rank(uid) is None or uid in self._erasing:
            return False
        return declaration.rank >= (False, query.sequence, query.digest)

    def erased(self, uid: Uid, stamp: int) -> bool:
        """It is not on the disk any more. False if that is not about what is held now."""
        if self._stamps.get(uid) != stamp:
            return False
        self.context.outbox.timers.cancel(("erase", uid))
        for table in (self._stamps, self._goals, self._rounds, self._delays):
            table.pop(uid, None)
        self._erasing.discard(uid)
        return True

    def _superfluous(self, uid: Uid) -> bool:
        deleted, guardians = self.context.declarations[uid].deleted, self.context.guardians_of(uid)
        enough = len(guardians) >= self.context.config.guardians
        return not deleted and enough and self.context.me not in guardians

    def _later(self, uid: Uid, at: float) -> None:
        self.context.outbox.timers.set(("erase", uid), at, lambda now: self._ask(uid, now))

    def _ask(self, uid: Uid, now: float) -> None:
        declaration, config = self.context.declarations[uid], self.context.config
        if (due := self.context.acquaintance.due(self.context.members, now)) > now:
            self._later(uid, due)
            return
        if self.needed(declaration):
            self._later(uid, now + config.erase_after)
            return
        delay = self._delays.get(uid, config.erase_after)
        self._delays[uid] = min(delay * 2, MOST_REPEAT)
        self._later(uid, now + delay)
        guardians = self.context.guardians_of(uid)
        round_ = self._rounds[uid] = Round(set(guardians))
        query = KeepQuery(uid, declaration.sequence, declaration.digest, ())
        for machine in guardians:
            then = partial(self._answered, uid, round_, machine)
            self.context.outbox.ask(machine, query, config.assign_timeout, then, now)

    def _answered(self, uid: Uid, round_: Round, machine: MachineId, answer: Answer | None, now: float) -> None:
        if self._rounds.get(uid) is not round_ or not isinstance(answer, KeepReply):
            return
        if not answer.kept:
            self.lacking(uid, machine, now)
            return
        round_.missing.discard(machine)
        if not round_.missing and not self.needed(self.context.declarations[uid]):
            del self._rounds[uid]
            self._erasing.add(uid)
            self.context.outbox.emit(EraseRecord(uid, self._stamps.get(uid, 0)))
