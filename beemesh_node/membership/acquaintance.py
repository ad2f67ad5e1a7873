"""How long a daemon that has just started waits until it knows who is here, before it acts as a guardian.

In a small mesh everybody speaks every five seconds, and to who comes at once. In a large one presences come round in
minutes, and a machine that knew only a few would take itself to be responsible for what others guard. How often
machines speak tells how many there are. A machine that should meet others, but has met nobody yet, waits longer still:
it would start alone what others run.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from beemesh_node.membership.cadence import members_at
from beemesh_node.membership.table import MemberTable

ENOUGH = 0.9
"""Share of the members to be known."""
LOOK_AGAIN = 1.0
"""Seconds between two looks."""


@dataclass
class Acquaintance:
    """Of one daemon with its mesh. Times are monotonic seconds."""

    _started: float = 0.0
    _settle: float = 0.0
    _alone: float = 0.0
    _due: float = 0.0
    _looked: float | None = None
    _known: bool = False

    def started(self, now: float, settle: float, alone: float) -> None:
        """The daemon starts; it waits for `settle` seconds at least, and for `alone` seconds while it meets nobody."""
        self._started, self._settle, self._alone = now, settle, alone
        self._due = now + settle

    def due(self, members: MemberTable, now: float) -> float:
        """Return when enough is known, as far as can be told now: in the past, or when to look again.

        That is once nine tenths of the members were heard, or all have had the time to speak once.
        """
        if self._known or (self._looked is not None and now < self._looked + LOOK_AGAIN / 2):
            return self._due
        self._looked = now
        if now < self._started + self._alone and all(member.machine == members.me for member in members):
            self._due = min(now + LOOK_AGAIN, self._started + self._alone)
            return self._due
        period, latest = _period(members), self.all_spoke(members)
        if len(members) >= ENOUGH * members_at(period) or now >= latest:
            self._known = now >= self._started + self._settle
            self._due = self._started + self._settle
        else:
            self._due = max(self._started + self._settle, min(now + LOOK_AGAIN, latest))
        return self._due

    def all_spoke(self, members: MemberTable) -> float:
        """Return when every member has had the time to speak once: who was not heard until then, is not here."""
        return self._started + self._settle + _period(members)


def _period(members: MemberTable) -> float:
    """Seconds between two presences of a machine, as most say."""
    return median(member.period for member in members) if len(members) else 0.0
