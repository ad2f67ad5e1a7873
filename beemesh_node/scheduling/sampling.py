"""Whom to ask: presence sorts out who cannot, the rest is asked in an order that differs from task to task."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from beemesh_node.membership.member import Member
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Refusal, Requirements
from beemesh_node.scheduling.eligibility import refusals
from beemesh_node.scheduling.ledger import free_by_presence

LEAST, PER_REPLICA = 8, 3


def sample_size(replicas: int) -> int:
    """How many machines one batch of a task goes to: max(8, 3 * replicas), so that bids stay flat as a mesh grows."""
    return max(LEAST, PER_REPLICA * replicas)


class Candidates:
    """Members in a random order drawn from `salt`; those without room by their last presence come last.

    Only as many are looked at as are taken, since there may be thousands. Deterministic in its arguments.
    """

    def __init__(self, members: Iterable[Member], needed: Requirements, salt: bytes) -> None:
        self.refused: dict[MachineId, tuple[Refusal, ...]] = {}
        """Who needs no question, of those that were looked at: all, once nobody is left."""
        self._members = list(members)
        self._full: list[MachineId] = []
        self._needed = needed
        self._draws = _draws(salt)

    def __bool__(self) -> bool:
        """Whether anybody has not been taken or looked at yet."""
        return bool(self._members or self._full)

    def take(self, count: int) -> list[MachineId]:
        """Return the next machines to ask, at most `count`."""
        taken: list[MachineId] = []
        members = self._members
        while members and len(taken) < count:
            chosen = next(self._draws) % len(members)
            members[chosen], members[-1] = members[-1], members[chosen]
            member = members.pop()
            if reasons := refusals(member, self._needed):
                self.refused[member.machine] = reasons
            elif free_by_presence(member).shortages(self._needed):
                self._full.append(member.machine)
            else:
                taken.append(member.machine)
        if not members:
            rest = count - len(taken)
            taken += self._full[:rest]
            self._full = self._full[rest:]
        return taken


def _draws(salt: bytes) -> Iterator[int]:
    """Random numbers of 64 bits, without end."""
    number = 0
    while True:
        digest = hashlib.sha256(salt + number.to_bytes(8, "big")).digest()
        for begin in range(0, len(digest), 8):
            yield int.from_bytes(digest[begin : begin + 8], "big")
        number += 1
