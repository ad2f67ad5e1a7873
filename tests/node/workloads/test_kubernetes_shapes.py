"""What is shown has Kubernetes' shapes (judged by Kubernetes' own schema) and kubectl's words."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

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
from beemesh_node.workloads import kubernetes
from beemesh_node.workloads.kubernetes.pods import qos_class
from beemesh_node.workloads.kubernetes.shapes import find_condition
from beemesh_node.workloads.kubernetes.tables import pod_status
from beemesh_node.workloads.manifest import load
from beemesh_node.workloads.pod import PodPhase
from tests.node.workloads.manifests import (
    UID,
    bare_pod,
    config_map,
    container,
    deployment,
    encode,
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


def shown(*pods: ClaimReport, entry: WorkloadEntry = ENTRY) -> dict[str, Any]:
    shape = kubernetes.deployment(SPEC, RECORD, entry, pods, NOW)
    check(shape, "io.k8s.api.apps.v1.Deployment")
    return shape


def test_a_deployment_that_is_complete() -> None:
    shape = shown(report(0), report(1), report(2))
    assert shape["metadata"] == {
        "name": "hello",
        "namespace": "default",
        "annotations": {"deployment.kubernetes.io/revision": "2"},
        "uid": UID,
        "resourceVersion": "4",
        "generation": 4,
        "creationTimestamp": "2026-01-31T12:00:00Z",
    }
    counts = {key: value for key, value in shape["status"].items() if key != "conditions"}
    assert counts == {
        "observedGeneration": 4,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
    }
    available, progressing = find_condition(shape, "Available"), find_condition(shape, "Progressing")
    assert (available["status"], available["reason"]) == ("True", "MinimumReplicasAvailable")
    assert (progressing["status"], progressing["reason"]) == ("True", "NewReplicaSetAvailable")


def test_a_deployment_in_the_middle_of_a_rollout() -> None:
    old = report(0)
    old = replace(old, claim=replace(old.claim, revision="older"))
    waiting = replace(RUNNING, ready=False, state="waiting", reason="ImagePullBackOff")
    ended = report(3, phase=PodPhase.FAILED)
    gone = report(2, gone=True)
    shape = shown(old, report(1, waiting), ended, gone, entry=replace(ENTRY, message="1 machine lacks memory"))
    status = shape["status"]
    assert (status["replicas"], status["updatedReplicas"], status["readyReplicas"]) == (2, 1, 1)
    assert (status["availableReplicas"], status["unavailableReplicas"]) == (1, 2)
    progressing = find_condition(shape, "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("True", "ReplicaSetUpdated")
    assert progressing["message"].endswith("is progressing. 1 machine lacks memory")
    assert find_condition(shape, "Available")["reason"] == "MinimumReplicasUnavailable"


def test_a_rollout_that_has_failed() -> None:
    progressing = find_condition(shown(entry=replace(ENTRY, progress_failed=True)), "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")


def test_ready_is_available_after_min_ready_seconds() -> None:
    slow = replace(SPEC, min_ready_seconds=60)
    fresh = report(1, replace(RUNNING, started_at=NOW - 59 * SECOND))
    counts = kubernetes.progress(slow, [report(0), fresh], NOW)
    assert (counts.ready, counts.available, counts.unavailable, counts.complete) == (2, 1, 2, False)


def test_what_is_shown_can_be_applied_again() -> None:
    shape = shown(report(0))
    (obj,) = load(encode(shape), "live.yml")
    assert obj.body["spec"] == SPEC.manifest["spec"]
    obj.check_preconditions(UID, "4")


def test_no_secret_is_in_anything_shown() -> None:
    pods = [report(slot) for slot in range(3)]
    everything = [shown(*pods)] + [kubernetes.pod(each, "pi", SPEC) for each in pods]
    assert "geheim" not in json.dumps(everything)
    assert "Z2VoZWlt" not in json.dumps(everything)


def test_a_pod() -> None:
    shape = kubernetes.pod(report(), "pi", SPEC)
    check(shape, "io.k8s.api.core.v1.Pod")
    assert shape["metadata"]["labels"] == {"app": "hello", "pod-template-hash": SPEC.revision}
    assert shape["metadata"]["ownerReferences"][0]["kind"] == "Deployment"
    assert shape["spec"]["nodeName"] == "pi"
    assert shape["spec"]["containers"] == SPEC.manifest["spec"]["template"]["spec"]["containers"]
    status = shape["status"]
    assert (status["phase"], status["podIP"], status["hostIP"]) == ("Running", "10.88.0.7", "192.0.2.7")
    assert status["startTime"] == "2026-01-31T12:00:01Z"
    assert status["containerStatuses"][0]["state"] == {"running": {"startedAt": "2026-01-31T12:00:02Z"}}
    assert status["containerStatuses"][0]["containerID"] == "podman://c0ffee"
    assert [each["status"] for each in status["conditions"]] == ["True"] * 4


def test_a_pod_of_another_revision_shows_what_was_reported() -> None:
    old = report()
    old = replace(old, claim=replace(old.claim, revision="older"))
    for spec in (SPEC, None):
        shape = kubernetes.pod(old, "pi", spec)
        check(shape, "io.k8s.api.core.v1.Pod")
        assert shape["spec"] == {"containers": [{"name": "web", "image": "localhost/hello:1"}], "nodeName": "pi"}
        assert shape["metadata"]["labels"] == {"pod-template-hash": "older"}


def test_a_pod_of_its_own_has_no_owner() -> None:
    spec = spec_of(bare_pod())
    own = report(pod_name="once", workload="once")
    shape = kubernetes.pod(replace(own, claim=replace(own.claim, revision=spec.revision)), "pi", spec, kind="Pod")
    check(shape, "io.k8s.api.core.v1.Pod")
    assert shape["metadata"].keys() == {"name", "namespace", "uid", "creationTimestamp"}


def ended(code: int, reason: str = "", **fields: Any) -> ContainerReport:
    return replace(
        RUNNING, state="terminated", ready=False, exit_code=code, reason=reason, finished_at=NOW - 5 * SECOND, **fields
    )


WAITING = replace(RUNNING, state="waiting", ready=False, started=False, started_at=0)


@pytest.mark.parametrize(
    ("pod", "word"),
    [
        (report(), "Running"),
        (report(0, replace(WAITING, reason="ContainerCreating"), phase=PodPhase.PENDING), "ContainerCreating"),
        (report(0, replace(WAITING, reason="CrashLoopBackOff")), "CrashLoopBackOff"),
        (report(0, WAITING, phase=PodPhase.PENDING), "Pending"),
        (report(0, ended(0, "Completed"), phase=PodPhase.SUCCEEDED), "Completed"),
        (report(0, ended(137, "OOMKilled"), phase=PodPhase.FAILED), "OOMKilled"),
        (report(0, ended(3), phase=PodPhase.FAILED), "ExitCode:3"),
        (report(0, RUNNING, ended(0, "Completed")), "NotReady"),
        (report(0, RUNNING, ended(0, "Completed"), ready=True), "Running"),
        (report(reason="Evicted", phase=PodPhase.FAILED, containers=()), "Evicted"),
        (report(init_containers=(ended(0), WAITING), phase=PodPhase.PENDING), "Init:1/2"),
        (report(init_containers=(replace(WAITING, reason="ErrImagePull"),)), "Init:ErrImagePull"),
        (report(init_containers=(ended(1, "Error"),)), "Init:Error"),
        (report(init_containers=(ended(2),)), "Init:ExitCode:2"),
        (report(init_containers=(ended(0, "Completed"),)), "Running"),
    ],
)
def test_the_status_of_a_pod_is_kubectls(pod: ClaimReport, word: str) -> None:
    shape = kubernetes.pod(pod, "pi", SPEC)
    check(shape, "io.k8s.api.core.v1.Pod")
    assert pod_status(shape) == word


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
    not_before=CREATED,
    not_after=CREATED + 10**11,
)
MEMBER = MachineEntry(MACHINE, b"", b"", PRESENCE, 1000, True)


def node(entry: MachineEntry = MEMBER) -> dict[str, Any]:
    shape = kubernetes.node(entry, CERTIFICATE, NOW)
    check(shape, "io.k8s.api.core.v1.Node")
    return shape


def test_a_machine_is_a_node() -> None:
    shape = node()
    assert shape["metadata"]["labels"] == {
        "disk": "ssd",
        "kubernetes.io/arch": "arm64",
        "kubernetes.io/hostname": "pi",
        "kubernetes.io/os": "linux",
        "node-role.kubernetes.io/guardian": "",
        "region": "eu",
    }
    assert shape["spec"]["unschedulable"] is True
    assert shape["spec"]["taints"] == [
        {"key": "edge", "value": "true", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
    ]
    assert shape["status"]["allocatable"] == {"cpu": "1900m", "memory": "2Gi"}
    assert shape["status"]["addresses"] == [
        {"type": "InternalIP", "address": "10.0.0.5"},
        {"type": "ExternalIP", "address": "2001:4860:4860::8888"},
        {"type": "Hostname", "address": "pi"},
    ]


@pytest.mark.parametrize(
    ("entry", "status", "message"),
    [
        (MEMBER, "True", "Podman answers"),
        (
            replace(MEMBER, presence=replace(PRESENCE, ready=False, reason="Podman does not answer")),
            "False",
            "Podman does",
        ),
        (replace(MEMBER, age_ms=15_001), "Unknown", "last heard 15s ago"),
        (replace(MEMBER, presence=None), "Unknown", "not been heard of"),
    ],
)
def test_whether_a_machine_is_ready(entry: MachineEntry, status: str, message: str) -> None:
    ready = find_condition(node(entry), "Ready")
    assert ready["status"] == status
    assert message in ready["message"]


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


def test_an_event() -> None:
    shape = kubernetes.event(EVENT, "pi")
    check(shape, "io.k8s.api.core.v1.Event")
    assert shape["metadata"]["name"].startswith("hello.")
    assert shape["metadata"]["name"] == kubernetes.event(replace(EVENT, count=9), "pi")["metadata"]["name"]
    assert (shape["involvedObject"]["kind"], shape["involvedObject"]["apiVersion"]) == ("Deployment", "apps/v1")
    assert (shape["count"], shape["lastTimestamp"]) == (3, "2026-01-31T12:00:09Z")


def test_tables_are_kubectls() -> None:
    found = kubernetes.deployment_table([shown(report(0), report(1))], NOW)
    assert found.titles == ("NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR")
    assert found.narrow == 5
    assert found.rows == (("hello", "2/3", "2", "2", "60m", "web", "localhost/hello:1", "app=hello"),)

    again = replace(
        RUNNING, restart_count=2, last_finished_at=NOW - 312 * SECOND, last_exit_code=1, last_reason="Error"
    )
    shapes = [kubernetes.pod(report(0, again), "pi", SPEC)]
    found = kubernetes.pod_table(shapes, NOW, namespaces=True)
    assert found.titles == ("NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE")
    assert found.narrow == 6
    assert found.rows == (
        ("default", shapes[0]["metadata"]["name"], "1/1", "Running", "2 (5m12s ago)", "60m", "10.88.0.7", "pi"),
    )

    found = kubernetes.node_table([node(), node(replace(MEMBER, presence=None))], NOW)
    assert found.titles[:5] == ("NAME", "STATUS", "ROLES", "AGE", "VERSION")
    assert found.rows[0] == (
        "pi", "Ready,SchedulingDisabled", "guardian", "60m", "0.1.0", "10.0.0.5", "2001:4860:4860::8888", "linux",
        "6.1.0", "podman://4.3.1",
    )  # fmt: skip
    assert found.rows[1][:5] == ("pi", "NotReady", "guardian", "60m", "<unknown>")

    found = kubernetes.event_table([kubernetes.event(EVENT, "pi")], NOW)
    assert found.titles[:5] == ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")
    assert found.rows[0][:8] == (
        "59m", "Warning", "FailedPlacement", "deployment/hello", "no machine", "beemeshd, pi", "60m", "3",
    )  # fmt: skip


def test_reports_with_impossible_values_are_shown_all_the_same() -> None:
    odd = replace(
        RUNNING, started_at=2**62, finished_at=-1, last_finished_at=2**63 - 1, state="gone?", restart_count=-1
    )
    pod = kubernetes.pod(report(0, odd, created_at=-5, started_at=2**60, phase="?", pod_ip="x"), "", SPEC)
    assert kubernetes.pod_table([pod], NOW).rows[0][5] == "x"
    assert pod["status"]["containerStatuses"][0]["state"] == {"waiting": {}}
    presence = replace(PRESENCE, addresses=("/ip4/999.1.1.1",), started_at=2**62, cpu_allocatable=-1)
    assert kubernetes.node_table([kubernetes.node(replace(MEMBER, presence=presence, age_ms=2**62), CERTIFICATE, 0)], 0)
    assert kubernetes.event_table([kubernetes.event(replace(EVENT, first_at=-1, last_at=2**62), "")], NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (45.9, "45s"), (119, "119s"), (120, "2m"), (312, "5m12s"),
        (600, "10m"), (3 * 3600 - 1, "179m"), (3 * 3600, "3h"), (3 * 3600 + 120, "3h2m"), (8 * 3600, "8h"),
        (47 * 3600, "47h"), (48 * 3600, "2d"), (52 * 3600, "2d4h"), (192 * 3600, "8d"), (729 * 86400, "729d"),
        (730 * 86400, "2y"), (800 * 86400, "2y70d"), (3000 * 86400, "8y"),
    ],
)  # fmt: skip
def test_ages_are_written_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert kubernetes.human_duration(seconds) == text


def test_times() -> None:
    assert kubernetes.timestamp(CREATED + 999) == "2026-01-31T12:00:00Z"
    assert kubernetes.timestamp(0) is None
    assert kubernetes.timestamp(2**63) is None


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_quality_of_service(resources: dict[str, Any], expected: str) -> None:
    assert qos_class(spec_of(deployment(pod_spec(containers=[container(resources=resources)])))) == expected
