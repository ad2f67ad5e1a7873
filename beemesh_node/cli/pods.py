"""Finding the pod, and the container in it, that a person means."""

from __future__ import annotations

from collections.abc import Sequence

from beemesh_node.cli.errors import CliError, InvalidInputError
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.survey import survey_pods
from beemesh_node.cli.targets import DECLARED, ResourceType, Target
from beemesh_node.cli.terminal import note
from beemesh_node.protocol.messages import ClaimReport


async def find_pod(mesh: Mesh, target: Target) -> ClaimReport:
    """The pod that `target` names: itself, or of a workload's pods the best one. Raises `CliError`."""
    if target.resource not in DECLARED or not target.name:
        raise InvalidInputError(f"{target} has no containers: name a pod or a workload, for example deployment/hello")
    reports, silent = await survey_pods(mesh.session, namespace=mesh.namespace, name=target.name)
    named = [report for report in reports if report.pod_name == target.name]
    if target.resource is ResourceType.PODS and named:
        return best(named)
    of_workload = [report for report in reports if report.workload == target.name]
    if not of_workload:
        missing = f" ({mesh.absences(silent)})" if silent else ""
        raise CliError(
            f"{target} has no pod in namespace {mesh.namespace}{missing}: see `beectl get pods -n {mesh.namespace}`"
        )
    chosen = best(of_workload)
    if len(of_workload) > 1:
        note(f"Found {len(of_workload)} pods, using pod/{chosen.pod_name}")
    return chosen


def best(reports: Sequence[ClaimReport]) -> ClaimReport:
    """Of several pods the one to talk to: ready, running, newest revision, lowest slot."""
    return min(
        reports,
        key=lambda report: (not report.ready, report.phase != "Running", -report.claim.sequence, report.claim.slot),
    )


def find_container(pod: ClaimReport, name: str | None) -> str:
    """The name of the container meant; without a name the first one. Raises `CliError` when the pod has none such."""
    known = [report.name for report in (*pod.containers, *pod.init_containers)]
    if name is None:
        if not pod.containers:
            raise CliError(
                f"pod/{pod.pod_name} has no container yet ({pod.reason or pod.phase}): see `beectl describe pod "
                f"{pod.pod_name}`"
            )
        if len(pod.containers) > 1:
            note(f"Using container {known[0]} of {', '.join(known)} (choose with -c)")
        return known[0]
    if name not in known:
        raise InvalidInputError(
            f"pod/{pod.pod_name} has no container {name!r}: it has {', '.join(known) or 'none yet'}"
        )
    return name
