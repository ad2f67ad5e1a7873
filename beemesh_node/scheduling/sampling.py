"""Whom to ask: presence sorts out who cannot, the rest is asked in an order that differs from task to task."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from beemesh_node.membership.member import Member
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Refusal, Requirements
from beemesh_node.scheduling.eligibility import refusals
from beemesh_node.scheduling.ledger import free_by_presence

LEAST, PER_REPLICA = 8, 3


def sample_size(replicas: int) -> int:
    """How many machines one batch of a task goes to: max(8, 3 * replicas), so that bids stay flat as a mesh grows."""
    return max(LEAST, PER_REPLICA * replicas)


@dataclass(frozen=True, slots=True)
class Candidates:
    """`order` is whom to ask, first those who have room by their last presence; `refused` needs no question."""

    order: tuple[MachineId, ...]
    refused: Mapping[MachineId, tuple[Refusal, ...]]


def candidates(members: Iterable[Member], needed: Requirements, salt: bytes) -> Candidates:
    """Sort members by what their presence says. Deterministic in its arguments."""
    order = []
    refused = {}
    for member in members:
        if reasons := refusals(member, needed):
            refused[member.machine] = reasons
        else:
            full = bool(free_by_presence(member).shortages(needed))
            order.append((full, hashlib.sha256(salt + member.machine.encode()).digest(), member.machine))
    return Candidates(tuple(machine for _, _, machine in sorted(order)), refused)
