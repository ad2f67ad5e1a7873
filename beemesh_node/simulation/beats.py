"""The failure detector, modelled by what it promises: who finds out that a machine is dead, and when.

`membership.detector` has tests of its own, with every beat. Here a machine whose daemon was killed, and whose closed
connections tell of it, is held dead after `DetectionConfig.closed`; one of which only silence is heard, after
`DetectionConfig.dead`. All that hear one of its watchers hear of it then. For what one link loses, others vouch.
If all watchers of a machine die with it, its silence is noticed by its presence alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from beemesh_node.healing.events import MemberGone
from beemesh_node.membership.detection import DetectionConfig
from beemesh_node.membership.neighbourhood import Neighbourhood
from beemesh_node.simulation.machine import Machine
from beemesh_node.simulation.mesh import Mesh

LEAST_LATE, MOST_LATE = 0.05, 0.45
"""Seconds beyond the detector's own times: between two of its looks, and until a notice has gone round."""


@dataclass(repr=False)
class Beats:
    """Watches over the machines of a mesh."""

    mesh: Mesh
    config: DetectionConfig = field(default_factory=DetectionConfig)
    around: Neighbourhood = field(default_factory=Neighbourhood)

    def enlist(self, machine: Machine) -> None:
        """Watch a machine from now on."""
        self.around.add(machine.id)
        machine.falls.append(self._fell)

    def forget(self, machine: Machine) -> None:
        """Watch a machine no more that will never be back, once its death has been noticed."""

        def discard() -> None:
            self.around.discard(machine.id)

        self.mesh.world.after(self.config.dead + MOST_LATE, discard)

    def parted(self) -> None:
        """An island has come to be: each side finds out that the other is silent."""
        for machine in self.mesh.machines.values():
            self._look_later(machine, self.config.dead)

    def per_machine(self) -> tuple[float, int]:
        """Return how many machines one watches, on average and at most: each of them beats to it."""
        watched = [len(self.around.watched_by(machine, self.config.watchers)) for machine in self.mesh.machines]
        return sum(watched) / max(len(watched), 1), max(watched, default=0)

    def _fell(self, machine: Machine, closed: bool) -> None:
        self._look_later(machine, self.config.closed if closed else self.config.dead)

    def _look_later(self, machine: Machine, delay: float) -> None:
        late = self.mesh.world.random.uniform(LEAST_LATE, MOST_LATE)
        self.mesh.world.after(delay + late, partial(self._look, machine, machine.life))

    def _look(self, machine: Machine, life: int) -> None:
        if machine.life != life or (self.mesh.world.network.whole and self._speaks(machine)):
            return
        deaf = [other for other in self.mesh.up() if other is not machine and not self._hears(other, machine)]
        watchers = set(self.around.closest(machine.id, self.config.watchers))
        voices = [other for other in deaf if other.id in watchers and not other.paused]
        for other in self._audience(deaf, voices):
            if machine.id in other.members:
                other.tell(MemberGone(machine.id, "its watchers hear nothing of it"))

    def _audience(self, deaf: Iterable[Machine], voices: Iterable[Machine]) -> list[Machine]:
        network, speakers = self.mesh.world.network, [voice.id for voice in voices]
        return [o for o in deaf if any(o.id == speaker or network.hears(o.id, speaker) for speaker in speakers)]

    def _hears(self, listener: Machine, speaker: Machine) -> bool:
        return self._speaks(speaker) and self.mesh.world.network.hears(listener.id, speaker.id)

    def _speaks(self, machine: Machine) -> bool:
        return machine.core is not None and not machine.paused
