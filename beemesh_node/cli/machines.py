"""Machines by the names that people give, and what can be asked of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from beemesh_node.cli.errors import CliError, InvalidInputError
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.targets import ResourceType, Target, parse_targets
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import MachineEntry, Maintenance, MaintenanceReply, MaintenanceRequest

_WITHIN = 10.0
"""Seconds that a machine has to write an order down."""


@dataclass(frozen=True, slots=True)
class NamedMachine:
    """A member, as far as maintenance is concerned."""

    id: MachineId
    name: str
    cordoned: bool
    """By its last presence."""


def find_machine(mesh: Mesh, word: str) -> NamedMachine:
    """The machine that `NAME`, `node/NAME` or an id means. Raises `CliError` for none, and for several of one name."""
    (target,) = parse_targets([word], ResourceType.MACHINES)
    if target.resource is not ResourceType.MACHINES or not target.name:
        raise InvalidInputError(f"{word!r} names no machine: give its name or id, see `beectl get machines`")
    return the_machine(mesh, target)


def the_machine(mesh: Mesh, target: Target) -> NamedMachine:
    """The machine of a name or id. Raises `CliError` for none, and for several of one name."""
    found = [machine for machine, _ in members(mesh) if target.name in (machine.name, machine.id)]
    if not found:
        raise CliError(f"machine {target.name} not found: see `beectl get machines`")
    if len(found) > 1:
        ids = ", ".join(sorted(each.id for each in found))
        raise InvalidInputError(f"several machines are called {target.name}: give the id of one of {ids}")
    return found[0]


def members(mesh: Mesh) -> Iterator[tuple[NamedMachine, MachineEntry]]:
    """Every machine whose certificate is believed."""
    for machine, entry in mesh.session.machines.items():
        try:
            name = mesh.chain(entry.certificate).name
        except ProtocolError:
            continue
        yield NamedMachine(machine, name, entry.presence is not None and entry.presence.unschedulable), entry


async def maintain(mesh: Mesh, machine: NamedMachine, mode: Maintenance, grace_seconds: int = -1) -> MaintenanceReply:
    """Tell a machine what to do with its work. Raises `MeshError`, a `RemoteFailure` if that is not allowed."""
    request = MaintenanceRequest(mode, grace_seconds)
    return await mesh.session.ask(machine.id, request, MaintenanceReply, timeout=_WITHIN)
