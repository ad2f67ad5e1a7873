"""How machines hear of each other. Here each presence is a message of its own to each other machine.

That is more than gossip can lose, and costs its square; `shared` is for many machines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beemesh_node.healing.events import MemberSeen
from beemesh_node.membership.member import Member
from beemesh_node.membership.table import MemberTable
from beemesh_node.protocol.ids import MachineId

if TYPE_CHECKING:
    from beemesh_node.simulation.machine import Machine


CONNECT_TIME = 0.5
"""Seconds within which machines speak to one that they are newly connected to."""


class Gossip(ABC):
    """Carries what a machine tells everybody."""

    spoken: int = 0
    """Presences told; each machine of an undivided mesh hears them all."""

    @abstractmethod
    def table(self, machine: MachineId) -> MemberTable:
        """Return whom a machine knows whose daemon has just started."""

    @abstractmethod
    def came(self, machine: Machine) -> None:
        """A daemon has started."""

    @abstractmethod
    def removed(self, machine: MachineId) -> None:
        """A machine is gone and will never be back."""

    @abstractmethod
    def resumed(self, machine: Machine) -> None:
        """A machine goes on that stood still."""

    @abstractmethod
    def looked(self, machine: Machine) -> None:
        """A core has taken in an event."""

    @abstractmethod
    def reunited(self) -> None:
        """Links that were cut carry again."""

    @abstractmethod
    def tell(self, machine: Machine, said: Member) -> None:
        """A machine tells everybody of itself."""


@dataclass
class Pairwise(Gossip):
    """Each presence goes to each machine by itself, with all the faults of the network."""

    machines: Mapping[MachineId, Machine]
    least_lifetime: float = 0.0
    """Seconds for which a presence holds at least."""

    def table(self, machine: MachineId) -> MemberTable:
        """Return an empty table: presences fill it."""
        return MemberTable(machine, self.least_lifetime)

    def came(self, machine: Machine) -> None:
        """Have the others speak soon, as machines do to whom a connection is made; it speaks itself at once."""
        self._connected(each for each in self.machines.values() if each is not machine)

    def removed(self, machine: MachineId) -> None:
        """Nothing more: nobody sends to it."""

    def resumed(self, machine: Machine) -> None:
        """Have it speak: it hears that it was held dead."""
        machine.announce()

    def looked(self, machine: Machine) -> None:
        """Nothing more: everybody hears everything."""

    def reunited(self) -> None:
        """Have everybody speak soon, as machines do whose connections are made anew."""
        self._connected(self.machines.values())

    def _connected(self, machines: Iterable[Machine]) -> None:
        for machine in list(machines):
            machine.world.after(machine.world.random.uniform(0.01, CONNECT_TIME), machine.announce)

    def tell(self, machine: Machine, said: Member) -> None:
        """Send it to everybody."""
        self.spoken += 1
        for peer in list(self.machines.values()):
            if peer is not machine:
                machine.world.send(machine.id, peer.id, lambda peer=peer: peer.tell(MemberSeen(said)))  # type: ignore[misc]
