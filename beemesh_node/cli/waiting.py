"""Waiting until the mesh is as declared, and saying what is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from beemesh_node.cli.errors import CliError, TimedOutError
from beemesh_node.cli.following import View, following
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.survey import Declaration, survey_events
from beemesh_node.cli.terminal import printable
from beemesh_node.protocol.messages import ClaimReport
from beemesh_node.protocol.record import AttestedRecord, Record
from beemesh_node.workloads.kubernetes import Progress, progress
from beemesh_node.workloads.spec import WorkloadSpec

_AFTERTHOUGHT = 3.0
"""Seconds that finding the cause may take once the time is over."""

_STANDING = frozenset(
    {
        *("CrashLoopBackOff", "RunContainerError", "CreateContainerError", "CreateContainerConfigError"),
        *("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"),
    }
)
"""Reasons of containers for which a pod does not run, and will not by waiting alone."""


async def wait_for_rollout(
    mesh: Mesh, attested: AttestedRecord, spec: WorkloadSpec, seconds: float, say: Callable[[str], None]
) -> None:
    """Wait until every replica runs as `spec` says, telling `say` of each step.

    Raises `CliError` when the rollout failed, was replaced by another change, or is not over in time (`TimedOutError`).
    """
    name = f"{attested.record.kind.lower()}/{attested.record.name}"
    missing = "nothing is known of it yet"
    with trio.move_on_after(seconds):
        async with following(mesh, attested.record) as news:
            while True:
                view = await news()
                if view.declaration is not None:
                    _check_superseded(name, attested, view.declaration)
                state = rollout_state(spec, progress(spec, view.pods, mesh.session.mesh_time_ms))
                if state == "" or (spec.kind == "Pod" and _pod_ended(name, view.pods, spec.revision)):
                    return
                missing = _with_reason(state, view, spec)
                say(f"{name}: {missing}")
                if view.declaration is not None and _failed(attested, view.declaration):
                    raise CliError(f"{name}: the rollout passed its progress deadline: {missing}.{_next_step(name)}")
    why = "" if "(" in missing else await _last_warning(mesh, attested.record.uid)
    raise TimedOutError(f"{name}: after {seconds:g} s {missing}{why}.{_next_step(name)}")


async def wait_for_end(
    mesh: Mesh, records: Sequence[Record], name: str, seconds: float, say: Callable[[str], None]
) -> None:
    """Wait until no machine runs a replica of these deleted declarations any more. Raises `TimedOutError`."""
    left: dict[str, tuple[ClaimReport, ...]] = {}
    with trio.move_on_after(seconds):
        for record in records:
            async with following(mesh, record) as news:
                while True:
                    left[record.uid] = (await news()).pods
                    if not left[record.uid]:
                        break
                    say(f"{name}: {len(left[record.uid])} pods are still ending")
    remaining = [report for record in records for report in left.get(record.uid, ())]
    if remaining or len(left) < len(records):
        where = ", ".join(f"{report.pod_name} on {mesh.machine_name(report.claim.machine)}" for report in remaining)
        raise TimedOutError(f"{name}: deleted, but after {seconds:g} s not ended everywhere: {where or 'no answer'}")


async def _last_warning(mesh: Mesh, uid: str) -> str:
    """The newest warning about a declaration, in brackets: why it is not as declared, when nobody says so just now."""
    with trio.move_on_after(_AFTERTHOUGHT):
        events, _ = await survey_events(mesh.session, uid=uid)
        warnings = [event for event in events if event.type == "Warning"]
        if warnings:
            return f" ({warnings[-1].reason}: {printable(warnings[-1].message).rstrip('.')})"
    return ""


def failure(spec: WorkloadSpec, view: View, now: int) -> str:
    """Why a declaration stands as failed at `now` (milliseconds of the mesh); empty for what runs or may still come."""
    counts = progress(spec, view.pods, now)
    if counts.complete:
        return ""
    current = [report for report in view.pods if report.claim.revision == spec.revision]
    troubles = [
        f"{report.pod_name}: {each.reason}: {each.message}" if each.message else f"{report.pod_name}: {each.reason}"
        for report in current
        for each in (*report.init_containers, *report.containers)
        if each.reason in _STANDING and not each.ready
    ]
    if spec.kind == "Pod":
        troubles += [f"{report.pod_name} failed" for report in current if report.phase == "Failed"]
    late = view.declaration is not None and view.declaration.entry.progress_failed
    if late:
        troubles.insert(0, f"the rollout passed its progress deadline: {rollout_state(spec, counts)}")
    return "; ".join(printable(trouble).strip().rstrip(".") for trouble in list(dict.fromkeys(troubles))[:3])


def rollout_state(spec: WorkloadSpec, counts: Progress) -> str:
    """What a rollout still lacks, in kubectl's words; empty when it is complete."""
    if counts.updated < counts.wanted:
        return f"{counts.updated} out of {counts.wanted} new replicas have been updated"
    if counts.existing > counts.updated:
        return f"{counts.existing - counts.updated} old replicas are pending termination"
    if counts.available < counts.updated:
        return f"{counts.available} of {counts.updated} updated replicas are available"
    return "" if counts.complete else f"{counts.existing} replicas exist, {counts.wanted} are wanted"


def _with_reason(state: str, view: View, spec: WorkloadSpec) -> str:
    """The state with what those responsible, or the pods themselves, say of its cause."""
    reasons = (
        [view.declaration.entry.message] if view.declaration is not None and view.declaration.entry.message else []
    )
    for report in view.pods:
        if report.ready or report.claim.revision != spec.revision:
            continue
        troubles = [each for each in (*report.init_containers, *report.containers) if each.reason and not each.ready]
        reasons += [f"{each.reason}: {each.message}" if each.message else each.reason for each in troubles[:1]]
    distinct = list(dict.fromkeys(printable(reason).strip().rstrip(".") for reason in reasons))
    return f"{state} ({'; '.join(distinct[:3])})" if distinct else state


def _pod_ended(name: str, pods: Sequence[ClaimReport], revision: str) -> bool:
    """Whether a bare Pod has run to its end. Raises `CliError` when it ended badly."""
    phases = {report.phase for report in pods if report.claim.revision == revision}
    if phases == {"Failed"}:
        raise CliError(f"{name} failed: see `beectl logs {name}` and `beectl describe {name}`")
    return phases == {"Succeeded"}


def _failed(ours: AttestedRecord, declaration: Declaration) -> bool:
    return declaration.entry.progress_failed and declaration.attested.record.sequence == ours.record.sequence


def _check_superseded(name: str, ours: AttestedRecord, declaration: Declaration) -> None:
    record = declaration.attested.record
    if record.deleted:
        raise CliError(f"{name} was deleted meanwhile")
    if declaration.attested.rank > ours.rank and declaration.attested.digest != ours.digest:
        raise CliError(
            f"{name} was changed by {declaration.attested.owner.name} meanwhile: that change is rolled out instead"
        )


def _next_step(name: str) -> str:
    return f" It goes on; `beectl describe {name}` shows why, `beectl get events` what happened."
