"""What people and other parts may know of a declaration: how far it is, and why not further."""

from __future__ import annotations

from dataclasses import dataclass

from beemesh_node.healing.context import Context
from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.guardian import Guardian
from beemesh_node.protocol.ids import MachineId

FAULTY = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Reasons of a pod that somebody has to look at, in Kubernetes' words."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """What claims hold of a machine: millicores, bytes, ports, pods."""

    cpu: int
    memory: int
    host_ports: tuple[int, ...]
    pods: int


@dataclass(frozen=True, slots=True)
class Overview:
    """A declaration as one machine sees it. The counts are 0 where it is no guardian of it."""

    declaration: Declaration
    guardians: tuple[MachineId, ...]
    coordinator: MachineId | None
    """The guardian of rank 0."""
    shadowed: bool
    """Another declaration of this name runs instead."""
    message: str
    """Why it is not as declared, in a sentence; empty if it is."""
    progress_failed: bool
    progressed_at: int
    """When it last came further: mesh time in ms, 0 where this machine is no guardian."""
    updated: int
    """Slots with a claim on the declared revision."""
    ready: int
    """Slots with a ready claim of any revision."""
    available: int
    """Slots on the declared revision that have been ready for minReadySeconds."""


def overview(context: Context, guardian: Guardian, declaration: Declaration) -> Overview:
    """Put together what is known of one declaration."""
    uid = declaration.uid
    guardians, watch = context.guardians(declaration.path), guardian.watch(uid)
    shadowed = not declaration.deleted and not context.reigns(declaration)
    planned = watch.now_planned if watch is not None else None
    return Overview(
        declaration=declaration,
        guardians=guardians,
        coordinator=guardians[0] if guardians else None,
        shadowed=shadowed,
        message=_message(context, guardian, declaration, shadowed),
        progress_failed=watch.progress.failed if watch is not None else False,
        progressed_at=context.notes.mesh_ms(watch.progress.since) if watch is not None else 0,
        updated=planned.updated if planned is not None else 0,
        ready=planned.ready if planned is not None else 0,
        available=planned.available if planned is not None else 0,
    )


def _message(context: Context, guardian: Guardian, declaration: Declaration, shadowed: bool) -> str:
    if declaration.deleted:
        return ""
    if shadowed:
        return "shadowed: another declaration of this name runs; delete one of them"
    watch = guardian.watch(declaration.uid)
    parts = []
    if watch is not None:
        if not watch.known:
            return "its guardian has just begun and is learning what runs"
        parts = [watch.progress_message, watch.shortage]
    troubles: dict[str, str] = {}
    for report in context.claims.reports(declaration.uid):
        if report.reason in FAULTY:
            where = context.name(report.claim.machine)
            troubles.setdefault(report.reason, f"{report.pod_name} on {where}: {report.reason}: {report.message}")
    return "; ".join(part for part in (*parts, *troubles.values()) if part)
