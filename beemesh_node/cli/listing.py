"""What `get` lists: machines, workloads, pods and events, as Kubernetes objects and as tables of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from beemesh_node.cli.errors import InvalidInputError
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.output import Table
from beemesh_node.cli.shapes import (
    Shape,
    Specs,
    event_shape,
    machine_shape,
    pod_shape,
    revocation_shape,
    workload_shape,
)
from beemesh_node.cli.survey import Survey, merge_pods, survey, survey_events, survey_pods
from beemesh_node.cli.targets import ResourceType
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import ClaimReport, Expression
from beemesh_node.workloads import kubernetes
from beemesh_node.workloads.kubernetes.times import age
from beemesh_node.workloads.selectors import matches, parse_selector


@dataclass(frozen=True, slots=True)
class Query:
    """Which ones. Empty fields do not restrict."""

    resource: ResourceType
    namespace: str
    """Empty: all namespaces."""
    names: tuple[str, ...] = ()
    selector: tuple[Expression, ...] = ()
    detailed: bool = False
    """With what only the manifests tell: labels of pods, and all fields of JSON and YAML."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What was found, and what could not be."""

    objects: tuple[Shape, ...]
    silent: Mapping[MachineId, str] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)


def selector_of(text: str | None) -> tuple[Expression, ...]:
    """Read `-l`. Raises `CliError`."""
    try:
        return parse_selector(text or "")
    except ValueError as error:
        raise InvalidInputError(f"-l: {error}") from None


async def list_objects(mesh: Mesh, query: Query) -> Listing:
    """Find what `query` asks for, sorted as kubectl sorts it."""
    if query.resource is ResourceType.MACHINES:
        listing = _machines(mesh)
    elif query.resource is ResourceType.PODS:
        listing = await _pods(mesh, query)
    elif query.resource is ResourceType.EVENTS:
        listing = await _events(mesh, query)
    elif query.resource is ResourceType.REVOCATIONS:
        listing = Listing(tuple(revocation_shape(each) for each in mesh.operator.trust.revocations.entries))
    else:
        listing = await _workloads(mesh, query)
    chosen = tuple(each for each in listing.objects if _chosen(each, query))
    return replace(listing, objects=chosen)


def _chosen(shape: Shape, query: Query) -> bool:
    metadata = shape["metadata"]
    about = shape.get("involvedObject", {}).get("name")
    named = not query.names or metadata["name"] in query.names or about in query.names
    if query.resource in (ResourceType.MACHINES, ResourceType.REVOCATIONS):
        named = named or metadata["uid"] in query.names
    return named and matches(query.selector, metadata.get("labels", {}))


def _machines(mesh: Mesh) -> Listing:
    shapes, silent = [], {}
    for machine, entry in mesh.session.machines.items():
        try:
            shapes.append(machine_shape(mesh, entry))
        except ProtocolError as error:
            silent[machine] = f"its certificate is not believed: {error}"
    return Listing(
        tuple(sorted(shapes, key=lambda shape: (shape["metadata"]["name"], shape["metadata"]["uid"]))), silent
    )


async def _workloads(mesh: Mesh, query: Query) -> Listing:
    seen = await declared(mesh, query.namespace, query.resource.kind, query.names, content=True)
    reports, silent = await replicas(mesh, query.namespace, query.names)
    pods = by_uid(reports)
    specs = Specs.of(seen.running())
    shapes = []
    for declaration in seen.running():
        record = declaration.attested.record
        if query.resource.kind and record.kind != query.resource.kind:
            continue
        spec = specs.present(declaration)
        if spec is not None:
            mine = pods.get(record.uid, ())
            shapes.append(workload_shape(spec, record, declaration.entry, mine, mesh.session.mesh_time_ms))
    return Listing(tuple(sorted(shapes, key=_by_name)), {**silent, **seen.silent}, specs.unreadable)


async def _pods(mesh: Mesh, query: Query) -> Listing:
    detailed = query.detailed or bool(query.selector)
    reports, silent = await replicas(mesh, query.namespace, query.names)
    workloads = sorted({report.workload for report in reports}) if query.names else ()
    seen = await declared(mesh, query.namespace, "", workloads, content=detailed)
    specs = Specs.of(seen.declarations)
    shapes = tuple(pod_shape(mesh, report, specs) for report in reports)
    return Listing(shapes, {**silent, **seen.silent}, specs.unreadable if detailed else {})


async def declared(mesh: Mesh, namespace: str, kind: str, names: Sequence[str], *, content: bool) -> Survey:
    """What is declared under these names, or at all if there are none; an empty `kind` is any."""
    seen = [
        await survey(mesh.session, mesh.chain, namespace=namespace, kind=kind, name=name, content=content)
        for name in dict.fromkeys(names or ("",))
    ]
    silent = {machine: why for each in seen for machine, why in each.silent.items()}
    return Survey(tuple(found for each in seen for found in each.declarations), silent)


async def replicas(
    mesh: Mesh, namespace: str, names: Sequence[str]
) -> tuple[tuple[ClaimReport, ...], Mapping[MachineId, str]]:
    """The pods of these names, their own or their workloads', or all if there are none; and who did not answer."""
    found: list[ClaimReport] = []
    silent: dict[MachineId, str] = {}
    for name in dict.fromkeys(names or ("",)):
        reports, unheard = await survey_pods(mesh.session, namespace=namespace, name=name)
        found += reports
        silent.update(unheard)
    return merge_pods(found), silent


async def _events(mesh: Mesh, query: Query) -> Listing:
    reports, silent = await survey_events(mesh.session, namespace=query.namespace)
    return Listing(tuple(event_shape(mesh, report) for report in reports), silent)


def by_uid(reports: Sequence[ClaimReport]) -> dict[str, tuple[ClaimReport, ...]]:
    """Pods by the declaration that they are replicas of."""
    found: dict[str, tuple[ClaimReport, ...]] = {}
    for report in reports:
        found[report.claim.uid] = (*found.get(report.claim.uid, ()), report)
    return found


def _by_name(shape: Shape) -> tuple[str, str, str]:
    return (shape["metadata"]["namespace"], shape["metadata"]["name"], shape["kind"])


def table_of(resource: ResourceType, objects: Sequence[Shape], now: int, *, namespaces: bool) -> Table:
    """The table that kubectl would make of them; `namespaces` puts theirs in front."""
    if resource is ResourceType.MACHINES:
        made = kubernetes.node_table(objects, now)
    elif resource is ResourceType.PODS:
        made = kubernetes.pod_table(objects, now, namespaces=namespaces)
    elif resource is ResourceType.EVENTS:
        made = kubernetes.event_table(objects, now, namespaces=namespaces)
    elif resource is ResourceType.REVOCATIONS:
        return _revocation_table(objects, now)
    elif resource is ResourceType.DEPLOYMENTS:
        made = kubernetes.deployment_table(objects, now, namespaces=namespaces)
    elif resource is ResourceType.STATEFULSETS:
        made = kubernetes.stateful_set_table(objects, now, namespaces=namespaces)
    else:
        return _workload_table(objects, now, namespaces=namespaces)
    return Table(made.titles, made.rows, made.narrow, "TYPE" if resource is ResourceType.EVENTS else "STATUS")


def _revocation_table(objects: Sequence[Shape], now: int) -> Table:
    rows = tuple(
        (
            shape["metadata"]["name"],
            shape["metadata"]["uid"],
            str(shape["spec"]["serial"] or "all"),
            age(shape["metadata"]["creationTimestamp"], now),
            shape["spec"]["reason"],
        )
        for shape in objects
    )
    return Table(("NAME", "ID", "CERTIFICATE", "AGE", "REASON"), rows)


def _workload_table(objects: Sequence[Shape], now: int, *, namespaces: bool) -> Table:
    """All kinds in one table: the columns of Deployments, which a Pod fills as a Deployment of one."""
    rows = []
    for shape in objects:
        metadata, status = shape["metadata"], shape["status"]
        pod_spec = shape["spec"] if shape["kind"] == "Pod" else shape["spec"]["template"]["spec"]
        wanted = 1 if shape["kind"] == "Pod" else shape["spec"]["replicas"]
        ready = status.get("readyReplicas", 0) if shape["kind"] != "Pod" else int(_is_ready(status))
        row = (
            shape["kind"],
            metadata["name"],
            f"{ready}/{wanted}",
            age(metadata.get("creationTimestamp"), now),
            ",".join(each["image"] for each in pod_spec["containers"]),
        )
        rows.append((metadata["namespace"], *row) if namespaces else row)
    titles = ("KIND", "NAME", "READY", "AGE", "IMAGES")
    return Table(("NAMESPACE", *titles) if namespaces else titles, tuple(rows), 5 if namespaces else 4)


def _is_ready(status: Shape) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ()))
