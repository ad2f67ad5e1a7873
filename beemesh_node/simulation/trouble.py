"""Everything that may go wrong, drawn from the seed: it goes on for a while, and ends when calm is asked for."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from functools import partial

from beemesh_node.protocol.ids import MachineId
from beemesh_node.simulation.beats import Beats
from beemesh_node.simulation.machine import Machine
from beemesh_node.simulation.mesh import Mesh
from beemesh_node.simulation.network import Faults
from beemesh_node.simulation.runtime import Fate

HOUR = 3600.0
BOOTED_WITHIN = 3.0
"""Seconds of calm after which every machine is on."""
MOST_LAG = 1.0
"""Seconds by which a slow machine is late at most: less than what has it held dead."""
SLOWEST = 30.0
"""Times that a pod takes longer to begin and to end on the slowest machine."""


@dataclass(repr=False)
class Trouble:
    """Breaks things of a mesh, and mends them."""

    mesh: Mesh
    beats: Beats
    added: Callable[[Machine], None]
    """Told of a machine that has come in place of another."""
    removed: Callable[[Machine], None]
    """Told of one that will never be back."""
    voters: Callable[[], Container[MachineId]]
    """Machines that must not be lost for good: of a majority of voters that is, an operator has to say so."""
    counts: Counter[str] = field(default_factory=Counter)
    """How often each kind of trouble was made."""
    _episode: int = 0
    _disk_lost: bool = False
    _active: bool = False

    def begin(self) -> None:
        """Let trouble begin."""
        self._episode += 1
        self._active, self._disk_lost = True, False
        if self.mesh.world.random.random() < 0.4:
            self._roughen()

    def strike(self) -> None:
        """Break one thing."""
        draw = self.mesh.world.random
        kind = draw.choice(
            (
                self._power_loss,
                self._power_loss,
                self._kill_daemon,
                self._lose_disk,
                self._pause,
                self._island,
                self._mute_island,
                self._cut_link,
                self._flap,
                self._jump_clock,
                self._remove_pod,
                self._break_runtime,
                self._slow_machine,
                self._fill_disk,
                self._roughen,
            )
        )
        if kind():
            self.counts[kind.__name__.strip("_").replace("_", " ")] += 1

    def end(self) -> None:
        """Mend everything: what is off goes on, what is cut carries, what stands still goes on."""
        self._active = False
        world = self.mesh.world
        world.faults = Faults()
        world.network.mend()
        self.mesh.gossip.reunited()
        for machine in list(self.mesh.machines.values()):
            machine.runtime.fate = lambda _: Fate.READY
            machine.runtime.recover()
            machine.lag, machine.runtime.pace, machine.disk.full = 0.0, 1.0, False
            if machine.core is None:
                world.after(world.random.uniform(0, BOOTED_WITHIN), partial(self._boot, machine))
            elif machine.paused:
                machine.resume()

    # ---- kinds of trouble; each returns whether it did anything

    def _power_loss(self) -> bool:
        draw = self.mesh.world.random
        if (machine := self._one_up()) is None:
            return False
        machine.crash()
        return self._later(draw.expovariate(1 / 10), lambda: self._boot(machine))

    def _kill_daemon(self) -> bool:
        if (machine := self._one_up()) is None:
            return False
        machine.stop_daemon()
        return self._later(self.mesh.world.random.expovariate(1 / 5), lambda: self._boot(machine))

    def _lose_disk(self) -> bool:
        """Once in an episode, a machine dies for good and another one takes its name: no faster than hand-over."""
        machine = self._one_up()
        if machine is None or self._disk_lost or len(self.mesh.machines) < 4 or machine.id in self.voters():
            return False
        self._disk_lost = True
        machine.crash()
        self.removed(machine)
        del self.mesh.machines[machine.id]
        self.mesh.gossip.removed(machine.id)
        number = hashlib.sha256(machine.id.encode()).hexdigest()[:8]
        replacement = self.mesh.add(machine.member.name, identity=f"{machine.member.name}/{number}", boot=False)
        self.added(replacement)
        return self._later(self.mesh.world.random.uniform(1, 20), lambda: self._boot(replacement))

    def _pause(self) -> bool:
        if (machine := self._one_up()) is None:
            return False
        machine.pause()
        return self._later(self.mesh.world.random.expovariate(1 / 3), lambda: self._resume(machine))

    def _island(self, *, mute: bool = False) -> bool:
        world = self.mesh.world
        machines = list(self.mesh.machines)
        most = max(1, min(len(machines) // 2, 40))
        island = world.network.part(world.random.sample(machines, world.random.randint(1, most)), mute=mute)
        self.beats.parted()
        return self._later(world.random.expovariate(1 / 15), lambda: self._rejoin(island))

    def _mute_island(self) -> bool:
        return self._island(mute=True)

    def _cut_link(self) -> bool:
        world = self.mesh.world
        one, other = world.random.sample(list(self.mesh.machines), 2)
        world.network.cut(one, other, one_way=world.random.random() < 0.5)
        return self._later(world.random.expovariate(1 / 20), lambda: world.network.restore(one, other))

    def _flap(self) -> bool:
        world = self.mesh.world
        one, other = world.random.sample(list(self.mesh.machines), 2)
        episode = self._episode

        def toggle(times: int) -> None:
            if not times or not self._active or self._episode != episode:
                world.network.restore(one, other)
                return
            if times % 2:
                world.network.cut(one, other)
            else:
                world.network.restore(one, other)
            world.after(world.random.uniform(0.1, 2.0), lambda: toggle(times - 1))

        toggle(world.random.randint(5, 25))
        return True

    def _jump_clock(self) -> bool:
        if (machine := self._one_up()) is None:
            return False
        machine.set_wall_clock(self.mesh.world.random.uniform(-HOUR, HOUR))
        return True

    def _remove_pod(self) -> bool:
        machines = [machine for machine in self.mesh.up() if machine.runtime.pods]
        if not machines:
            return False
        machine = self.mesh.world.random.choice(machines)
        machine.runtime.remove(self.mesh.world.random.choice(sorted(machine.runtime.pods)))
        return True

    def _break_runtime(self) -> bool:
        """For a while a machine cannot start pods, or they are never ready."""
        if (machine := self._one_up()) is None:
            return False
        fate = self.mesh.world.random.choice((Fate.FAILS, Fate.LATER, Fate.NO_IMAGE, Fate.NEVER_READY))
        machine.runtime.fate = lambda _: fate

        def mend() -> None:
            machine.runtime.fate = lambda _: Fate.READY
            machine.runtime.recover()

        return self._later(self.mesh.world.random.expovariate(1 / 15), mend)

    def _slow_machine(self) -> bool:
        """For a while a machine does everything late, and its pods take long."""
        if (machine := self._one_up()) is None:
            return False
        draw = self.mesh.world.random
        machine.lag, machine.runtime.pace = draw.uniform(0.05, MOST_LAG), draw.uniform(1, SLOWEST)

        def mend() -> None:
            machine.lag, machine.runtime.pace = 0.0, 1.0

        return self._later(draw.expovariate(1 / 20), mend)

    def _fill_disk(self) -> bool:
        """For a while a machine can write nothing down."""
        if (machine := self._one_up()) is None:
            return False
        machine.disk.full = True

        def mend() -> None:
            machine.disk.full = False
            self._boot(machine)

        return self._later(self.mesh.world.random.expovariate(1 / 15), mend)

    def _roughen(self) -> bool:
        draw = self.mesh.world.random
        self.mesh.world.faults = Faults(
            least_delay=0.001,
            most_delay=draw.choice((0.01, 0.08, 0.4)),
            straggling=draw.choice((0.0, 0.02)),
            straggler_delay=draw.choice((0.5, 3.0)),
            drop=draw.choice((0.0, 0.02, 0.1, 0.2)),
            duplicate=draw.choice((0.0, 0.1)),
        )
        return True

    # ---- parts

    def _one_up(self) -> Machine | None:
        up = self.mesh.up()
        return self.mesh.world.random.choice(up) if len(up) > 1 else None

    def _later(self, delay: float, happen: Callable[[], None]) -> bool:
        episode = self._episode

        def still() -> None:
            if self._active and episode == self._episode:
                happen()

        self.mesh.world.after(delay, still)
        return True

    def _boot(self, machine: Machine) -> None:
        if machine.core is None and self.mesh.machines.get(machine.id) is machine:
            machine.boot()

    def _resume(self, machine: Machine) -> None:
        if machine.paused:
            machine.resume()

    def _rejoin(self, island: int) -> None:
        self.mesh.world.network.join(island)
        self.mesh.gossip.reunited()
