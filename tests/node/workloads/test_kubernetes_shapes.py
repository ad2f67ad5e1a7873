"""Deployments and pods are shown in Kubernetes' shapes (judged by its own schema) and kubectl's words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from beemesh_node.protocol.messages import (
    ClaimReport,
    WorkloadEntry,
)
from beemesh_node.workloads import kubernetes
from beemesh_node.workloads.kubernetes.pods import qos_class
from beemesh_node.workloads.kubernetes.shapes import find_condition
from beemesh_node.workloads.kubernetes.tables import pod_status
from beemesh_node.workloads.manifest import load
from beemesh_node.workloads.pod import PodPhase
from tests.node.workloads.manifests import (
    UID,
    bare_pod,
    container,
    deployment,
    encode,
    pod_spec,
    spec_of,
)
from tests.node.workloads.reports import (
    ENTRY,
    NOW,
    RECORD,
    RUNNING,
    SECOND,
    SPEC,
    WAITING,
    check,
    ended,
    report,
)


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
