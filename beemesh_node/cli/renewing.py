"""Renewing the certificates of machines over the mesh: the same keys, another root or more time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from beemesh_node.cli.authority import record
from beemesh_node.cli.context import Context
from beemesh_node.cli.errors import CliError
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
    """Give each machine a certificate by this root; one that is under it already stays as it is."""
    outcomes: list[Renewed] = []
    for machine in machines:
        try:
            old = mesh.operator.trust.verify_chain(mesh.session.machines[machine].certificate)
        except KeyError:
            raise CliError(f"machine {machine} is not known to the mesh") from None
        raw = root.renew(old, now_ms())
        fresh = mesh.operator.trust.verify_chain(raw)
        try:
            with trio.fail_after(_WITHIN):
                await mesh.session.ask(machine, CertificateRenewal(raw), Ack, timeout=_WITHIN)
        except (MeshError, trio.TooSlowError) as error:
            outcomes.append(Renewed(old.name, 0, old.serial, printable(str(error))))
            continue
        record(context, fresh, raw)
        outcomes.append(Renewed(old.name, fresh.serial, old.serial))
    return outcomes


def renew_own(context: Context, mesh: Mesh, root: MeshRoot) -> Renewed:
    """Renew the certificate of the operator who asks."""
    old = mesh.operator.certificate
    raw = root.renew(old, now_ms())
    fresh: Certificate = mesh.operator.trust.verify_chain(raw)
    write_private(context.operator_certificate, raw, replace=True)
    record(context, fresh, raw)
    return Renewed(old.name, fresh.serial, old.serial)
