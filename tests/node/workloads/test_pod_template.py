"""Pod templates: containers, probes, ports, resources, security, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from beemesh_node.workloads.pod import (
    Container,
    ContainerPort,
    ExecAction,
    HttpGetAction,
    Probe,
    PullPolicy,
    Resources,
    SecurityContext,
    TcpSocketAction,
)
from tests.node.workloads.manifests import (
    Body,
    bare_pod,
    container,
    deployment,
    pod_spec,
    problems_of,
    spec_of,
    with_container,
)

AT = "spec.template.spec.containers[0]"


def built(*more: Body, **fields: Any) -> Container:
    return spec_of(with_container(**fields), *more).template.containers[0]


def test_a_container_with_nothing_said() -> None:
    assert built() == Container("web", "localhost/hello:1")


def test_a_container_in_full() -> None:
    found = built(
        imagePullPolicy="Never", command=["sh"], args=["-c", "$(A) $$x"], workingDir="/srv", stdin=True, tty=True
    )
    assert found == Container(
        "web",
        "localhost/hello:1",
        PullPolicy.NEVER,
        command=("sh",),
        args=("-c", "$(A) $$x"),
        working_dir="/srv",
        stdin=True,
        tty=True,
    )


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("hello", "Always"),
        ("hello:latest", "Always"),
        ("reg:5000/hello", "Always"),
        ("reg:5000/hello:1", "IfNotPresent"),
        ("hello@sha256:0a", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert built(image=image).pull_policy == policy


def test_probes() -> None:
    found = built(
        ports=[{"containerPort": 8080, "name": "http"}],
        livenessProbe={"exec": {"command": ["true"]}, "initialDelaySeconds": 3, "timeoutSeconds": 0},
        readinessProbe={
            "httpGet": {
                "port": "http",
                "path": "ready",
                "httpHeaders": [{"name": "a", "value": "b"}],
                "scheme": "HTTPS",
            },
            "periodSeconds": 2,
            "successThreshold": 2,
            "failureThreshold": 4,
        },
        startupProbe={"tcpSocket": {"port": 9}},
    )
    assert found.liveness_probe == Probe(ExecAction(("true",)), initial_delay_seconds=3)
    assert found.readiness_probe == Probe(
        HttpGetAction(8080, "/ready", scheme="HTTPS", headers=(("a", "b"),)),
        period_seconds=2,
        success_threshold=2,
        failure_threshold=4,
    )
    assert found.startup_probe == Probe(TcpSocketAction(9))


@pytest.mark.parametrize(
    ("probe", "field", "message"),
    [
        ({}, "", "exactly one of"),
        ({"exec": {}, "tcpSocket": {"port": 1}}, "", "exactly one of"),
        ({"exec": {}}, ".exec.command", "required"),
        ({"tcpSocket": {"port": 0}}, ".tcpSocket.port", "between 1 and 65535"),
        ({"tcpSocket": {"port": "http"}}, ".tcpSocket.port", "name of no port"),
        ({"httpGet": {"port": 1, "path": "/ x"}}, ".httpGet.path", "spaces"),
        (
            {"httpGet": {"port": 1, "httpHeaders": [{"name": "a", "value": "b\r\n"}]}},
            ".httpGet.httpHeaders[0]",
            "breaks",
        ),
        ({"tcpSocket": {"port": 1}, "periodSeconds": -1}, ".periodSeconds", "greater than or equal to 1"),
        ({"tcpSocket": {"port": 1}, "successThreshold": 2}, ".successThreshold", "must be 1"),
        ({"grpc": {"port": 1}}, ".grpc", "not supported: use httpGet"),
    ],
)
def test_probes_that_cannot_be(probe: Body, field: str, message: str) -> None:
    assert message in problems_of(with_container(livenessProbe=probe))[f"{AT}.livenessProbe{field}"]


def test_ports() -> None:
    found = built(
        ports=[{"containerPort": 53, "hostPort": 5353, "protocol": "UDP", "name": "dns", "hostIP": "10.0.0.1"}]
    )
    assert found.ports == (ContainerPort(53, 5353, "10.0.0.1", "UDP", "dns"),)


@pytest.mark.parametrize(
    ("ports", "path", "message"),
    [
        ([{"containerPort": 0}], "[0].containerPort", "between 1 and 65535"),
        ([{"containerPort": 1, "hostPort": 65536}], "[0].hostPort", "between 1 and 65535"),
        ([{"containerPort": 1, "name": "HTTP"}], "[0].name", "not valid"),
        ([{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}], "[1].name", "duplicate"),
        ([{"containerPort": 1, "hostIP": "x"}], "[0].hostIP", "IPv4 or IPv6"),
        (
            [{"containerPort": 1, "hostPort": 8}, {"containerPort": 2, "hostPort": 8}],
            "[1].hostPort",
            "duplicate value 8",
        ),
    ],
)
def test_ports_that_cannot_be(ports: list[Body], path: str, message: str) -> None:
    assert message in problems_of(with_container(ports=ports))[f"{AT}.ports{path}"]


def test_ports_on_the_host_network() -> None:
    pod = pod_spec(hostNetwork=True, containers=[container(ports=[{"containerPort": 80, "hostPort": 81}])])
    assert "must match `containerPort`" in problems_of(deployment(pod))[f"{AT}.ports[0].hostPort"]
    twice = pod_spec(
        hostNetwork=True,
        containers=[container(ports=[{"containerPort": 80}]), container(name="b", ports=[{"containerPort": 80}])],
    )
    assert any("duplicate value 80" in message for message in problems_of(deployment(twice)).values())


def test_resources() -> None:
    found = built(resources={"limits": {"cpu": "1.5", "memory": "64Mi"}, "requests": {"cpu": 0.1}})
    assert found.limits == Resources(1500, 64 * 2**20)
    assert found.requests == Resources(100, 64 * 2**20)


@pytest.mark.parametrize(
    ("resources", "path", "message"),
    [
        ({"limits": {"cpu": "x"}}, "limits[cpu]", "is no quantity"),
        ({"limits": {"cpu": "-1"}}, "limits[cpu]", "greater than or equal to 0"),
        ({"limits": {"memory": "8Ei"}}, "limits[memory]", "out of range"),
        ({"limits": {"memory": "1Ei"}}, "limits[memory]", "more than any machine has"),
        ({"limits": {"nvidia.com/gpu": 1}}, "limits[nvidia.com/gpu]", "not supported"),
        ({"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}, "requests", "cpu 2 must be less than or equal to"),
    ],
)
def test_resources_that_cannot_be(resources: Body, path: str, message: str) -> None:
    assert message in problems_of(with_container(resources=resources))[f"{AT}.resources.{path}"]


def test_security_is_the_least_unless_asked_for() -> None:
    assert built().security == SecurityContext()
    assert SecurityContext().allow_privilege_escalation is False
    asked = built(
        securityContext={
            "runAsUser": 1000,
            "runAsGroup": 1001,
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": True,
            "capabilities": {"add": ["CAP_NET_BIND_SERVICE"], "drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    )
    assert asked.security == SecurityContext(
        1000, 1001, True, False, True, True, ("NET_BIND_SERVICE",), ("ALL",), seccomp_unconfined=False
    )


def test_a_container_inherits_from_its_pod() -> None:
    pod = pod_spec(
        securityContext={"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "seccompProfile": {"type": "Unconfined"}},
        containers=[container(securityContext={"runAsUser": 5})],
    )
    spec = spec_of(deployment(pod))
    assert spec.template.fs_group == 3
    security = spec.template.containers[0].security
    assert (security.run_as_user, security.run_as_group, security.seccomp_unconfined) == (5, 2, True)
    assert spec.needs == {"privileged"}


@pytest.mark.parametrize(
    ("context", "path", "message"),
    [
        ({"runAsUser": -1}, ".runAsUser", "between 0 and"),
        ({"runAsUser": 0, "runAsNonRoot": True}, ".runAsNonRoot", "runAsUser is 0"),
        ({"privileged": True, "allowPrivilegeEscalation": False}, ".allowPrivilegeEscalation", "cannot be false"),
        (
            {"capabilities": {"add": ["SYS_ADMIN"]}, "allowPrivilegeEscalation": False},
            ".allowPrivilegeEscalation",
            "SYS_A",
        ),
        ({"capabilities": {"add": ["net admin"]}}, ".capabilities.add[0]", "is no capability"),
        ({"seccompProfile": {"type": "Localhost"}}, ".seccompProfile.type", "is not supported, only"),
    ],
)
def test_security_that_cannot_be(context: Body, path: str, message: str) -> None:
    assert message in problems_of(with_container(securityContext=context))[f"{AT}.securityContext{path}"]


@pytest.mark.parametrize(
    ("pod", "needs"),
    [
        (pod_spec(hostNetwork=True), {"hostNetwork"}),
        (pod_spec(volumes=[{"name": "a", "hostPath": {"path": "/"}}]), {"hostPath"}),
        (pod_spec(containers=[container(securityContext={"privileged": True})]), {"privileged"}),
        (pod_spec(initContainers=[container(name="i", securityContext={"privileged": True})]), {"privileged"}),
        (pod_spec(containers=[container(securityContext={"capabilities": {"add": ["NET_ADMIN"]}})]), {"privileged"}),
        (pod_spec(containers=[container(securityContext={"capabilities": {"add": ["ALL"]}})]), {"privileged"}),
        (pod_spec(containers=[container(securityContext={"capabilities": {"add": ["CHOWN"]}})]), set()),
    ],
)
def test_what_takes_a_verb_of_the_operator(pod: Body, needs: set[str]) -> None:
    assert spec_of(deployment(pod)).needs == needs


@pytest.mark.parametrize(
    ("pod", "path", "message"),
    [
        ({"containers": []}, "containers", "required, but empty"),
        (pod_spec(initContainers=[container()]), "containers[0].name", "duplicate value"),
        (pod_spec(containers=[container(name="A")]), "containers[0].name", "not valid"),
        (pod_spec(containers=[{"name": "a"}]), "containers[0].image", "required"),
        (pod_spec(containers=[container(image="a b")]), "containers[0].image", "spaces"),
        (pod_spec(containers=[container(name=f"c{n}") for n in range(65)]), "containers", "more than 64"),
        (pod_spec(terminationGracePeriodSeconds=-1), "terminationGracePeriodSeconds", "between 0"),
        (pod_spec(hostname="A"), "hostname", "not valid"),
        (pod_spec(restartPolicy="Never"), "restartPolicy", 'needs "Always"'),
        (pod_spec(restartPolicy="No"), "restartPolicy", 'unsupported value "No"'),
        (pod_spec(securityContext={"fsGroup": -1}), "securityContext.fsGroup", "between 0"),
        (pod_spec(nodeName="a"), "nodeName", "not supported: use nodeSelector with kubernetes.io/hostname"),
        (
            pod_spec(initContainers=[container(name="i", readinessProbe={})]),
            "initContainers[0].readinessProbe",
            "not supp",
        ),
    ],
)
def test_pods_that_cannot_be(pod: Body, path: str, message: str) -> None:
    assert message in problems_of(deployment(pod))[f"spec.template.spec.{path}"]


def test_the_rest_of_a_pod() -> None:
    template = spec_of(bare_pod(hostname="h", hostNetwork=True, terminationGracePeriodSeconds=5)).template
    assert (template.hostname, template.host_network, template.termination_grace_seconds) == ("h", True, 5)
    assert (
        problems_of({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}})["spec"] == "required, but missing"
    )


def test_kubernetes_own_defaults_are_taken() -> None:
    pod = pod_spec(
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        enableServiceLinks=True,
        serviceAccountName="default",
        securityContext={},
        containers=[
            container(terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File", resources={})
        ],
    )
    assert spec_of(deployment(pod)).template == spec_of(deployment()).template
