"""Requirements: what every member may read of a workload."""

from __future__ import annotations

import pytest

from beemesh_node.protocol.messages import Expression, PodTerm, Requirements, Term, Toleration
from tests.node.workloads.manifests import Body, container, deployment, pod_spec, problems_of, spec_of

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
ZONE = Expression("zone", "In", ("a", "b"))


def sized(name: str, cpu: str, memory: str) -> Body:
    return container(name=name, resources={"requests": {"cpu": cpu, "memory": memory}})


def test_nothing_asked_for() -> None:
    assert spec_of(deployment()).requirements == Requirements(0, 0, images=("localhost/hello:1",))


def test_containers_add_up_and_init_containers_count_where_they_need_more() -> None:
    pod = pod_spec(
        containers=[sized("a", "100m", "10Mi"), sized("b", "200m", "20Mi")],
        initContainers=[sized("i", "250m", "100Mi"), sized("j", "1", "1")],
    )
    found = spec_of(deployment(pod)).requirements
    assert (found.cpu_millis, found.memory_bytes) == (1000, 100 * 2**20)


@pytest.mark.parametrize(("host_network", "expected"), [(False, (53, 8443)), (True, (53, 8443, 9000))])
def test_host_ports(host_network: bool, expected: tuple[int, ...]) -> None:
    ports = [
        {"containerPort": 53, "hostPort": 53, "protocol": "UDP"},
        {"containerPort": 53, "hostPort": 53},
        {"containerPort": 8443, "hostPort": 8443},
        {"containerPort": 9000},
    ]
    pod = pod_spec(hostNetwork=host_network, containers=[container(ports=ports)])
    assert spec_of(deployment(pod)).requirements.host_ports == expected


@pytest.mark.parametrize(
    ("fields", "priority", "needs"),
    [
        ({}, 0, set()),
        ({"priority": 0, "priorityClassName": ""}, 0, set()),
        ({"priority": 1000}, 1000, {"priority"}),
        ({"priority": -5}, -5, set()),
        ({"priorityClassName": "system-cluster-critical"}, 2_000_000_000, {"priority"}),
        ({"priorityClassName": "system-node-critical", "priority": 2_000_001_000}, 2_000_001_000, {"priority"}),
    ],
)
def test_priority_is_a_number_or_a_class_that_every_cluster_has(fields: Body, priority: int, needs: set[str]) -> None:
    spec = spec_of(deployment(pod_spec(**fields)))
    assert (spec.requirements.priority, spec.needs) == (priority, needs)


def test_selectors_affinity_and_tolerations() -> None:
    expression = {"key": "zone", "operator": "In", "values": ["a", "b"]}
    selector = {"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "old", "operator": "DoesNotExist"}]}
    term = {"labelSelector": selector, "topologyKey": "zone"}
    pod = pod_spec(
        nodeSelector={"disk": "ssd"},
        affinity={
            "nodeAffinity": {
                REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [expression]}]},
                PREFERRED: [{"weight": 7, "preference": {"matchExpressions": [expression]}}],
            },
            "podAffinity": {PREFERRED: [{"weight": 9, "podAffinityTerm": {**term, "namespaces": ["other"]}}]},
            "podAntiAffinity": {REQUIRED: [term]},
        },
        tolerations=[
            {"operator": "Exists"},
            {"key": "a", "value": "b", "effect": "NoExecute"},
            {"key": "c", "operator": "Exists", "effect": "NoSchedule"},
        ],
    )
    found = spec_of(deployment(pod)).requirements
    pods = (Expression("app", "In", ("x",)), Expression("old", "DoesNotExist"))
    assert found.node_selector == {"disk": "ssd"}
    assert found.node_terms == (Term((ZONE,)),)
    assert found.preferred_terms == (Term((ZONE,), 7),)
    assert found.pod_terms == (
        PodTerm(pods, ("other",), "zone", False, 9),
        PodTerm(pods, ("default",), "zone", True),
    )
    assert found.tolerations == (
        Toleration("", "Exists"),
        Toleration("a", "Equal", "b", "NoExecute"),
        Toleration("c", "Exists", "", "NoSchedule"),
    )


NODE = "affinity.nodeAffinity"
PODS = "affinity.podAffinity"


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"nodeSelector": {"a b": "c"}}, "nodeSelector[a b]", "not valid"),
        ({"nodeSelector": {"a": "c d"}}, "nodeSelector[a]", "not valid"),
        (
            {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}},
            f"{NODE}.{REQUIRED}.nodeSelectorTerms",
            "at least one",
        ),
        (
            {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{}]}}}},
            f"{NODE}.{REQUIRED}.nodeSelectorTerms[0].matchExpressions",
            "matches no machine",
        ),
        (
            {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchFields": []}]}}}},
            f"{NODE}.{REQUIRED}.nodeSelectorTerms[0].matchFields",
            "not supported",
        ),
        (
            {
                "affinity": {
                    "nodeAffinity": {
                        PREFERRED: [
                            {"weight": 0, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}
                        ]
                    }
                }
            },
            f"{NODE}.{PREFERRED}[0].weight",
            "range 1-100",
        ),
        (
            {
                "affinity": {
                    "nodeAffinity": {
                        REQUIRED: {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["x"]}]}
                            ]
                        }
                    }
                }
            },
            f"{NODE}.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0]",
            "Gt needs one integer",
        ),
        (
            {"affinity": {"podAffinity": {REQUIRED: [{"topologyKey": "a"}]}}},
            f"{PODS}.{REQUIRED}[0].labelSelector",
            "no pod",
        ),
        (
            {"affinity": {"podAffinity": {REQUIRED: [{"labelSelector": {}, "topologyKey": ""}]}}},
            f"{PODS}.{REQUIRED}[0].topologyKey",
            "must not be empty",
        ),
        (
            {"affinity": {"podAffinity": {REQUIRED: [{"labelSelector": {}, "topologyKey": "a", "namespaces": ["A"]}]}}},
            f"{PODS}.{REQUIRED}[0].namespaces[0]",
            "not valid",
        ),
        ({"priorityClassName": "gold"}, "priorityClassName", "a mesh has no other classes: give a number as priority"),
        ({"priority": 1_000_000_001}, "priority", "must be between"),
        ({"priority": -1_000_000_001}, "priority", "must be between"),
        ({"priority": 2**40}, "priority", "int32"),
        ({"priority": "high"}, "priority", "expected integer"),
        ({"priorityClassName": "system-node-critical", "priority": 7}, "priority", "is not the priority of"),
        ({"preemptionPolicy": "Never"}, "preemptionPolicy", "not supported"),
        ({"tolerations": [{"value": "x"}]}, "tolerations[0].operator", "must be Exists when `key` is empty"),
        ({"tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]}, "tolerations[0].value", "must be empty"),
        ({"tolerations": [{"key": "a b"}]}, "tolerations[0].key", "not valid"),
        ({"tolerations": [{"key": "a", "tolerationSeconds": 3}]}, "tolerations[0].tolerationSeconds", "not supported"),
    ],
)
def test_what_cannot_be_asked_of_a_machine(fields: Body, path: str, message: str) -> None:
    assert message in problems_of(deployment(pod_spec(**fields)))[f"spec.template.spec.{path}"]
