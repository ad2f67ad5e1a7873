"""Machines and events in Kubernetes' shapes, the tables that kubectl makes, ages and times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from beemesh_node.protocol.messages import (
    MachineEntry,
)
from beemesh_node.workloads import kubernetes
from beemesh_node.workloads.kubernetes.shapes import find_condition
from tests.node.workloads.reports import (
    CERTIFICATE,
    CREATED,
    ENTRY,
    EVENT,
    MEMBER,
    NOW,
    PRESENCE,
    RECORD,
    RUNNING,
    SECOND,
    SPEC,
    check,
    report,
)


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


def test_who_a_machine_is_and_whether_it_guards_is_what_its_certificate_says() -> None:
    lie = {"kubernetes.io/hostname": "elm", "node-role.kubernetes.io/guardian": ""}
    entry = replace(MEMBER, presence=replace(PRESENCE, labels=lie))
    labels = kubernetes.node(entry, replace(CERTIFICATE, guardian=False), NOW)["metadata"]["labels"]
    assert labels["kubernetes.io/hostname"] == "pi"
    assert "node-role.kubernetes.io/guardian" not in labels


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


def test_an_event() -> None:
    shape = kubernetes.event(EVENT, "pi")
    check(shape, "io.k8s.api.core.v1.Event")
    assert shape["metadata"]["name"].startswith("hello.")
    assert shape["metadata"]["name"] == kubernetes.event(replace(EVENT, count=9), "pi")["metadata"]["name"]
    assert (shape["involvedObject"]["kind"], shape["involvedObject"]["apiVersion"]) == ("Deployment", "apps/v1")
    assert (shape["count"], shape["lastTimestamp"]) == (3, "2026-01-31T12:00:09Z")


def test_tables_are_kubectls() -> None:
    deployment_shape = kubernetes.deployment(SPEC, RECORD, ENTRY, [report(0), report(1)], NOW)
    found = kubernetes.deployment_table([deployment_shape], NOW)
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
