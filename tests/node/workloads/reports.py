"""Reports of machines, and the check of what is made of them by Kubernetes' own schema."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import jsonschema

from beemesh_node.crypto.identity import peer_id_of
from beemesh_node.protocol.certificate import HASH_SIZE, SIGNING_PUBLIC_SIZE, SUITE, Certificate, Role
from beemesh_node.protocol.ids import MachineId, MeshId, PeerId
from beemesh_node.protocol.messages import (
    ClaimRef,
    ClaimReport,
    ContainerReport,
    EventReport,
    MachineEntry,
    Presence,
    Taint,
    WorkloadEntry,
)
from beemesh_node.protocol.record import Record, RevisionRef
from beemesh_node.protocol.root import CLOCK_ALLOWANCE_MS
from beemesh_node.workloads.pod import PodPhase
from tests.node.workloads.manifests import (
    UID,
    config_map,
    container,
    deployment,
    pod_spec,
    secret,
    spec_of,
)

SECOND = 1000
CREATED = 1_769_860_800_000  # 2026-01-31T12:00:00Z
NOW = CREATED + 3600 * SECOND
MACHINE = "0123456789abcdef" * 2

_SOURCE = "kubernetes-json-schema/v1.37.0-local-strict/_definitions.json"
_DEFINITIONS = json.loads(files("kubernetes_validate").joinpath(_SOURCE).read_text("utf-8"))["$defs"]


def check(shape: dict[str, Any], definition: str) -> None:
    """Kubernetes' schema takes it, and it is plain JSON."""
    assert json.loads(json.dumps(shape)) == shape
    jsonschema.Draft202012Validator({"$ref": f"#/$defs/{definition}", "$defs": _DEFINITIONS}).validate(shape)


PRIVATE = deployment(
    pod_spec(
        containers=[
            container(
                env=[{"name": "P", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}}],
                envFrom=[{"configMapRef": {"name": "settings"}}],
            )
        ]
    ),
    replicas=3,
)
SPEC = spec_of(PRIVATE, config_map(a="1"), secret(password="geheim"))
RECORD = Record(
    mesh_id=bytes(32),
    namespace="default",
    kind="Deployment",
    name="hello",
    uid=UID,
    uid_nonce=bytes(16),
    generation=1,
    sequence=4,
    parent=b"",
    deleted=False,
    cid="b",
    key_commitment=b"",
    revisions=(RevisionRef(2, "b", b"", SPEC.revision, CREATED),),
    created_at=CREATED,
)
ENTRY = WorkloadEntry(b"", (), (), MACHINE, False, "", False, CREATED + 5 * SECOND)
RUNNING = ContainerReport(
    name="web",
    image="localhost/hello:1",
    state="running",
    ready=True,
    started=True,
    restart_count=0,
    reason="",
    message="",
    exit_code=0,
    started_at=CREATED + 2 * SECOND,
    finished_at=0,
    container_id="c0ffee",
    image_id="sha256:1",
    last_exit_code=0,
    last_reason="",
    last_finished_at=0,
)


def report(slot: int = 0, *containers: ContainerReport, **fields: Any) -> ClaimReport:
    found = containers or (RUNNING,)
    whole = ClaimReport(
        claim=ClaimRef(UID, 4, slot, 0, MACHINE, SPEC.revision),
        namespace="default",
        workload="hello",
        pod_name=f"hello-{SPEC.revision}-abcd{slot}",
        pod_uid="u",
        phase=PodPhase.RUNNING,
        ready=all(each.ready for each in found),
        reason="",
        message="",
        pod_ip="10.88.0.7",
        host_ip="192.0.2.7",
        created_at=CREATED,
        started_at=CREATED + SECOND,
        containers=found,
        init_containers=(),
        gone=False,
        version=1,
    )
    return replace(whole, **fields)


def ended(code: int, reason: str = "", **fields: Any) -> ContainerReport:
    return replace(
        RUNNING, state="terminated", ready=False, exit_code=code, reason=reason, finished_at=NOW - 5 * SECOND, **fields
    )


WAITING = replace(RUNNING, state="waiting", ready=False, started=False, started_at=0)


PRESENCE = Presence(
    statement=b"",
    addresses=(
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/10.0.0.5/tcp/4001",
        "/ip6/2001:4860:4860::8888/tcp/4001",
        "/dns/x",
        "junk",
    ),
    labels={"disk": "ssd", "region": "lie"},
    taints=(Taint("edge", "true"),),
    unschedulable=True,
    cpu_allocatable=1900,
    memory_allocatable=2 * 2**30,
    cpu_reserved=0,
    memory_reserved=0,
    host_ports=(),
    pods=0,
    architecture="arm64",
    operating_system="linux",
    kernel="6.1.0",
    runtime_version="4.3.1",
    node_version="0.1.0",
    started_at=CREATED + SECOND,
    sequence=1,
    period_ms=5000,
    ready=True,
    reason="",
)
CERTIFICATE = Certificate(
    suite=SUITE,
    mesh_id=MeshId(bytes(HASH_SIZE)),
    issuer=bytes(HASH_SIZE),
    serial=1,
    machine_id=MachineId(MACHINE),
    peer_id=PeerId(peer_id_of(bytes(32))),
    public_key=bytes(SIGNING_PUBLIC_SIZE),
    role=Role.MACHINE,
    name="pi",
    labels={"region": "eu"},
    guardian=True,
    namespaces=(),
    verbs=(),
    not_before=CREATED - CLOCK_ALLOWANCE_MS,
    not_after=CREATED + 10**11,
)
MEMBER = MachineEntry(MACHINE, b"", b"", PRESENCE, 1000, True)


EVENT = EventReport(
    UID,
    "default",
    "Deployment",
    "hello",
    "Warning",
    "FailedPlacement",
    "no machine",
    MACHINE,
    CREATED,
    CREATED + 9000,
    3,
)
