"""Renewing the certificates of machines over the mesh: the same keys, another root or more time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from beemesh_node.cli.authority import record
from beemesh_node.cli.context import Context
from beemesh_node.cli.gather import AT_ONCE
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.terminal import printable
from beemesh_node.cli.times import now_ms
from beemesh_node.crypto.files import write_private
from beemesh_node.messaging.errors import MeshError
from beemesh_node.protocol.certificate import Certificate
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Ack, CertificateRenewal
from beemesh_node.protocol.root import MeshRoot

_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Renewed:
    """What became of one certificate."""

    name: str
    serial: int
    """Of the new one; 0 if there is none."""
    replaced: int
    """Serial of the one before."""
    why_not: str = ""


async def renew(context: Context, mesh: Mesh, root: MeshRoot, machines: Sequence[MachineId]) -> list[Renewed]:
    """Give each machine a certificate by this root, for the keys that it has."""
    outcomes: list[Renewed] = []
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def give(machine: MachineId) -> None:
        async with limiter:
            outcomes.append(await _renew(context, mesh, root, machine))

    async with trio.open_nursery() as nursery:
        for machine in machines:
            nursery.start_soon(give, machine)
    return sorted(outcomes, key=lambda each: each.name)


async def _renew(context: Context, mesh: Mesh, root: MeshRoot, machine: MachineId) -> Renewed:
    old = mesh.operator.trust.verify_chain(mesh.session.machines[machine].certificate)
    raw = root.renew(old, now_ms())
    fresh = mesh.operator.trust.verify_chain(raw)
    try:
        await mesh.session.ask(machine, CertificateRenewal(raw), Ack, timeout=_WITHIN)
    except MeshError as error:
        return Renewed(old.name, 0, old.serial, printable(str(error)))
    record(context, fresh, raw)
    return Renewed(old.name, fresh.serial, old.serial)


def renew_own(context: Context, mesh: Mesh, root: MeshRoot) -> Renewed:
    """Renew the certificate of the operator who asks."""
    old = mesh.operator.certificate
    raw = root.renew(old, now_ms())
    fresh: Certificate = mesh.operator.trust.verify_chain(raw)
    write_private(context.operator_certificate, raw, replace=True)
    record(context, fresh, raw)
    return Renewed(old.name, fresh.serial, old.serial)
