"""Every holder of a record brings it to the guardians it sees that are not known to have it, until they acknowledge.

The closest holder brings it first, so that the others mostly find it done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from beemesh_node.healing.context import Context
from beemesh_node.healing.effects import PushRecord
from beemesh_node.protocol.ids import MachineId, Uid

FIRST_PUSH = 2.0
"""Seconds that an operator has for telling all guardians himself."""
MOST_REPEAT = 300.0
"""Seconds: longest time between two attempts."""

Rank: TypeAlias = tuple[bool, int, bytes]
"""A version: `Declaration.rank`."""


@dataclass
class Handover:
    """Who is known to hold what."""

    context: Context
    _held: dict[Uid, dict[MachineId, Rank]] = field(default_factory=dict)
    """The version that each machine acknowledged."""
    _delay: dict[Uid, float] = field(default_factory=dict)
    _goal: dict[Uid, tuple[tuple[MachineId, ...], bytes]] = field(default_factory=dict)
    """Guardians and version that pushing is about, so that only a change of them begins anew."""

    def acknowledged(self, uid: Uid, machine: MachineId, version: Rank) -> None:
        """A machine holds this version."""
        if uid not in self.context.declarations:
            return
        held = self._held.setdefault(uid, {})
        held[machine] = max(version, held.get(machine, version))

    def lacking(self, uid: Uid) -> list[MachineId]:
        """Return the guardians that are not known to hold the present version."""
        version, held = self.context.declarations[uid].rank, self._held.get(uid, {})
        others = (machine for machine in self.context.guardians_of(uid) if machine != self.context.me)
        return [machine for machine in others if machine not in held or held[machine] < version]

    def lost(self, uid: Uid, machine: MachineId, now: float) -> None:
        """A machine is not to be counted on any more: if it is a guardian, bring it there again."""
        self._held.get(uid, {}).pop(machine, None)
        timers = self.context.outbox.timers
        if uid in self.context.declarations and self.lacking(uid) and not timers.armed(("push", uid)):
            timers.set(("push", uid), now + self._turn(uid), lambda at: self._push(uid, at))

    def forget(self, uid: Uid) -> None:
        """It is not here any more."""
        self.context.outbox.timers.cancel(("push", uid))
        for table in (self._held, self._delay, self._goal):
            table.pop(uid, None)

    def renew(self, uid: Uid, now: float) -> None:
        """The version or the guardians may have changed: bring it to those who lack it, soon."""
        guardians = self.context.guardians_of(uid)
        goal = (guardians, self.context.declarations[uid].digest)
        if self._goal.get(uid) == goal:
            return
        self._goal[uid] = goal
        held = self._held.get(uid)
        if held is not None:
            self._held[uid] = {machine: version for machine, version in held.items() if machine in guardians}
        self._delay.pop(uid, None)
        if self.lacking(uid):
            self.context.outbox.timers.set(("push", uid), now + self._turn(uid), lambda at: self._push(uid, at))
        else:
            self.context.outbox.timers.cancel(("push", uid))

    def _turn(self, uid: Uid) -> float:
        rank = self.context.rank(uid)
        return FIRST_PUSH * (1 + (len(self.context.guardians_of(uid)) if rank is None else rank))

    def _push(self, uid: Uid, now: float) -> None:
        lacking = self.lacking(uid)
        for machine in lacking:
            self.context.outbox.emit(PushRecord(uid, machine))
        if lacking:
            delay = self._delay.get(uid, self.context.config.push_repeat)
            self._delay[uid] = min(delay * 2, MOST_REPEAT)
            self.context.outbox.timers.set(("push", uid), now + delay, lambda at: self._push(uid, at))
