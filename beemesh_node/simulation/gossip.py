"""How machines hear of each other. Here each presence is a message of its own to each other machine.

That is more than gossip can lose, and costs its square; `shared` is for many machines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beemesh_node.healing.events import MemberSeen
from beemesh_node.membership.member import Member
from beemesh_node.membership.table import MemberTable
from beemesh_node.protocol.ids import MachineId

if TYPE_CHECKING:
    from beemesh_node.simulation.machine import Machine


class Gossip(ABC):
    """Carries what a machine tells everybody."""

    @abstractmethod
    def table(self, machine: MachineId) -> MemberTable:
        """Return whom a machine knows whose daemon has just started."""

    @abstractmethod
    def came(self, machine: Machine) -> None:
        """A daemon has started."""

    @abstractmethod
    def tell(self, machine: Machine, said: Member) -> None:
        """A machine tells everybody of itself."""


@dataclass
class Pairwise(Gossip):
    """Each presence goes to each machine by itself, with all the faults of the network."""

    machines: Mapping[MachineId, Machine]

    def table(self, machine: MachineId) -> MemberTable:
        """Return an empty table: presences fill it."""
        return MemberTable(machine)

    def came(self, machine: Machine) -> None:
        """Nothing more: the machine speaks at once."""

    def tell(self, machine: Machine, said: Member) -> None:
        """Send it to everybody."""
        for peer in list(self.machines.values()):
            if peer is not machine:
                machine.world.send(machine.id, peer.id, lambda peer=peer: peer.tell(MemberSeen(said)))  # type: ignore[misc]
