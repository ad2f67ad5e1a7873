"""Finds what `describe` tells of: the object, what belongs to it, and what only a mesh knows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from beemesh_node.cli import describe
from beemesh_node.cli.leases import look_at
from beemesh_node.cli.listing import declared, replicas
from beemesh_node.cli.live import Live
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.shapes import Shape, Specs, event_shape, machine_shape, pod_shape, workload_shape
from beemesh_node.cli.survey import Declaration, Survey, merge_events, responsible, survey_events, survey_pods
from beemesh_node.cli.targets import Target
from beemesh_node.cli.times import date
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import ClaimReport, EventReport


async def machines(mesh: Mesh, target: Target) -> list[str]:
    """Machines, by name or id."""
    found = []
    reports, _ = await survey_pods(mesh.session)
    events, _ = await survey_events(mesh.session)
    for machine, entry in sorted(mesh.session.machines.items()):
        certificate = mesh.chain(entry.certificate)
        if target.name not in ("", certificate.name, machine):
            continue
        mine = [pod_shape(mesh, report, Specs.of(())) for report in reports if report.claim.machine == machine]
        facts = {
            "Guardian": "yes" if certificate.guardian else "no",
            "Peer": certificate.peer_id,
            "Certificate until": date(certificate.not_after),
            "Certificate serial": str(certificate.serial),
            "Root": certificate.issuer.hex()[:16],
        }
        if entry.presence is not None:
            presence = entry.presence
            facts["Reserved"] = f"cpu {presence.cpu_reserved}m, memory {presence.memory_reserved >> 20}Mi"
            facts["Pods"] = str(presence.pods)
            facts["Daemon since"] = date(presence.started_at)
        about = [event_shape(mesh, event) for event in events if event.kind == "Node" and event.uid == machine]
        found.append(describe.machine(machine_shape(mesh, entry), facts, mine, about, mesh.session.mesh_time_ms))
    if target.name:
        gone = (each for each in mesh.operator.trust.revocations.entries if target.name in (each.name, each.machine_id))
        found += [describe.revoked(each) for each in gone]
    return found


async def workloads(mesh: Mesh, target: Target) -> list[str]:
    """Declarations: Deployments with their pods, bare Pods with their replica."""
    names = _names(target)
    seen = await declared(mesh, mesh.namespace, target.resource.kind, names, content=True)
    specs = Specs.of(seen.declarations)
    reports, _ = await replicas(mesh, mesh.namespace, names)
    events = await _events(mesh, seen, reports, target)
    found = []
    for declaration in seen.running():
        record = declaration.attested.record
        if target.name not in ("", record.name) or target.resource.kind not in ("", record.kind):
            continue
        mine = [report for report in reports if report.claim.uid == record.uid]
        about = [event for event in events if event.uid == record.uid]
        spec = specs.present(declaration)
        leases = await _leases(mesh, Live(declaration, spec, b"")) if spec is not None and record.voters else {}
        found.append(_workload(mesh, seen, declaration, specs, mine, about, leases))
    return found


async def _leases(mesh: Mesh, live: Live) -> dict[str, str]:
    """Who holds the leases of a workload, and which machines its volumes are on."""
    leases, name = await look_at(mesh, live), live.record.name
    holders = [f"{name}-{s.number} on {mesh.machine_name(s.holder)} (term {s.term})" for s in leases.slots if s.holder]
    homes = [f"{name}-{s.number} on {mesh.machine_name(s.home)}" for s in leases.slots if s.home]
    facts = {"Voters": ", ".join(mesh.machine_name(voter) for voter in leases.voters), "Leases": "\n".join(holders)}
    return {**facts, "Volumes": "\n".join(homes)} if homes else facts


async def pods(mesh: Mesh, target: Target) -> list[str]:
    """Replicas, by their own name; a bare Pod also by the name that it was declared with."""
    names = _names(target)
    reports, _ = await replicas(mesh, mesh.namespace, names)
    workloads_of = (*names, *sorted({report.workload for report in reports})) if names else ()
    seen = await declared(mesh, mesh.namespace, "", workloads_of, content=True)
    specs = Specs.of(seen.declarations)
    events = await _events(mesh, seen, reports, target)
    found = []
    for report in reports:
        is_declared = specs.kind(report.claim.uid) == "Pod" and report.workload == target.name
        if target.name in ("", report.pod_name) or is_declared:
            claim = report.claim
            about = [e for e in events if e.uid == claim.uid and (e.slot == claim.slot or e.pod == report.pod_name)]
            shown = [event_shape(mesh, event) for event in about]
            facts = {"Slot": f"{report.claim.slot}, attempt {report.claim.attempt}"}
            shape = pod_shape(mesh, report, specs)
            found.append(describe.pod(shape, facts, shown, mesh.session.mesh_time_ms))
    return found or await _unplaced_pods(mesh, target, seen)


async def _unplaced_pods(mesh: Mesh, target: Target, seen: Survey) -> list[str]:
    """Declared Pods that run nowhere (yet): their declaration says why."""
    declared = [each for each in seen.running() if each.key[1] == "Pod" and target.name in ("", each.key[2])]
    return await workloads(mesh, target) if declared else []


def _workload(
    mesh: Mesh,
    seen: Survey,
    declaration: Declaration,
    specs: Specs,
    reports: Sequence[ClaimReport],
    events: Sequence[EventReport],
    leases: Mapping[str, str],
) -> str:
    record, entry, now = declaration.attested.record, declaration.entry, mesh.session.mesh_time_ms
    shown = [event_shape(mesh, event) for event in events]
    facts = {**_facts(mesh, seen, declaration), **leases}
    spec = specs.present(declaration)
    if spec is None:
        why = "; ".join(specs.unreadable.values())
        text = describe.Text()
        text.field("Name", record.name)
        text.field("Namespace", record.namespace)
        text.field("Content", f"not readable: {why}")
        for name, value in facts.items():
            text.field(name, value)
        return str(text)
    shape = workload_shape(spec, record, entry, reports, now)
    if record.kind == "Pod":
        replica: Shape = {**shape, "spec": {**shape["spec"], "nodeName": _where(mesh, reports)}}
        return describe.pod(replica, facts, shown, now)
    return describe.deployment(shape, facts, [pod_shape(mesh, each, specs) for each in reports], shown, now)


def _facts(mesh: Mesh, seen: Survey, declaration: Declaration) -> dict[str, str]:
    record, entry = declaration.attested.record, declaration.entry
    guardians = [mesh.machine_name(machine) for machine in mesh.session.guardians(*declaration.key)]
    facts = {
        "Declared by": f"{declaration.attested.owner.name} (version {record.sequence})",
        "Revision": str(record.revisions[-1].number) if record.revisions else "",
        "Guardians": ", ".join(guardians),
        "Coordinator": mesh.machine_name(entry.coordinator) if entry.coordinator else "",
    }
    if entry.message:
        facts["Message"] = entry.message
    shadowed = [each for each in seen.under(*declaration.key) if not each.deleted][1:]
    if shadowed:
        facts["Shadowed"] = f"{len(shadowed)} other declarations of this name do not run"
    return facts


def _where(mesh: Mesh, reports: Sequence[ClaimReport]) -> str:
    return ", ".join(mesh.machine_name(report.claim.machine) for report in reports)


def _names(target: Target) -> tuple[str, ...]:
    return (target.name,) if target.name else ()


async def _events(mesh: Mesh, seen: Survey, reports: Sequence[ClaimReport], target: Target) -> Sequence[EventReport]:
    """What happened: of one thing as those responsible for it and those that run it remember, else as all do."""
    if not target.name:
        events, _ = await survey_events(mesh.session, namespace=mesh.namespace)
        return events
    found: list[EventReport] = []
    for declaration in seen.declarations:
        uid = declaration.attested.record.uid
        runners = [MachineId(report.claim.machine) for report in reports if report.claim.uid == uid]
        asked = (*responsible(mesh.session, mesh.namespace, [declaration.key[1:]]), *runners)
        events, _ = await survey_events(mesh.session, namespace=mesh.namespace, uid=uid, machines=asked)
        found += events
    return merge_events(found)
