"""What a change did, or would do, for programs: the object, the difference, and where its replicas run or would run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beemesh_node.cli.following import View
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.shapes import Shape, workload_shape
from beemesh_node.cli.waiting import failure
from beemesh_node.cli.workload_client import Outcome
from beemesh_node.protocol.messages import ClaimReport, WorkloadEntry
from beemesh_node.workloads import diff
from beemesh_node.workloads.kubernetes import progress

_NOTHING_KNOWN = WorkloadEntry(b"", (), (), "", False, "", False, 0)


def outcome_facts(
    outcomes: Sequence[Outcome], mesh: Mesh | None = None, views: Mapping[str, View] | None = None
) -> Shape:
    """What was done: whether anything changed, and every object as it is declared now.

    `views`, by uid, are how those stand whose pods were looked for. Of Secrets no values appear.
    """
    results = [_result(outcome, mesh, (views or {}).get(outcome.attested.record.uid)) for outcome in outcomes]
    warnings = list(dict.fromkeys(warning for outcome in outcomes for warning in outcome.warnings))
    return {"changed": any(outcome.changed for outcome in outcomes), "results": results, "warnings": warnings}


def forecast_lines(outcome: Outcome, mesh: Mesh) -> list[str]:
    """What a dry run foretells, for people."""
    forecast = outcome.forecast
    if forecast is None:
        return []
    counts: dict[str, int] = {}
    for place in forecast.places:
        if not place.stays:
            name = mesh.machine_name(place.machine)
            counts[name] = counts.get(name, 0) + 1
    where = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in counts.items())
    lines = [f"  would start on {where}"] if where else []
    if forecast.waiting:
        lines.append(f"  {forecast.waiting} would wait: {forecast.message}")
    return lines


def _result(outcome: Outcome, mesh: Mesh | None, view: View | None) -> Shape:
    record, spec = outcome.attested.record, outcome.spec
    result: Shape = {
        "action": outcome.action,
        "changed": outcome.changed,
        "kind": record.kind,
        "namespace": record.namespace,
        "name": record.name,
        "uid": record.uid,
    }
    if spec is None:
        return result
    live = outcome.before.objects if outcome.before is not None else ()
    entry, pods, now = _NOTHING_KNOWN, tuple[ClaimReport, ...](), record.created_at
    if view is not None and mesh is not None:
        entry = view.declaration.entry if view.declaration is not None else entry
        pods, now = view.pods, mesh.session.mesh_time_ms
    result["object"] = workload_shape(spec, record, entry, pods, now)
    result["diff"] = diff.diff(live, spec.objects) if outcome.changed else ""
    result["replicas"] = spec.replicas
    result |= _standing(outcome, mesh, view)
    if view is not None and (failed := failure(spec, view, now)):
        result["failure"] = failed
    return result


def _standing(outcome: Outcome, mesh: Mesh | None, view: View | None) -> Shape:
    """Where the replicas are, and how many of them are ready; of a dry run where they would be."""
    spec, forecast = outcome.spec, outcome.forecast
    if mesh is None or spec is None:
        return {}
    if forecast is not None:
        places: list[dict[str, Any]] = [
            {"slot": each.slot, "machine": mesh.machine_name(each.machine), "predicted": not each.stays}
            for each in forecast.places
        ]
        return {"placement": places, "waiting": forecast.waiting, "message": forecast.message}
    if view is None:
        return {}
    # What is ending because fewer are wanted is no replica any more.
    wanted = [each for each in view.pods if each.claim.revision == spec.revision and each.claim.slot < spec.replicas]
    found = [
        {
            "slot": report.claim.slot,
            "machine": mesh.machine_name(report.claim.machine),
            "predicted": False,
            "pod": report.pod_name,
            "ready": report.ready,
        }
        for report in sorted(wanted, key=lambda report: (report.claim.slot, report.claim.attempt))
    ]
    counts = progress(spec, wanted, mesh.session.mesh_time_ms)
    message = view.declaration.entry.message if view.declaration is not None else ""
    return {"placement": found, "readyReplicas": counts.ready, "message": message}
