"""WorkloadSpec: what a declaration means, the content it travels as, and its revision."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.protocol.block import MAX_CONTENT
from beemesh_node.protocol.messages import Expression
from beemesh_node.workloads.manifest import ManifestError, load
from beemesh_node.workloads.pod import EnvVar, RestartPolicy
from beemesh_node.workloads.spec import WorkloadSpec, bundles, content
from tests.node.workloads.manifests import (
    UID,
    Body,
    bare_pod,
    config_map,
    container,
    deployment,
    encode,
    pod_spec,
    problems_of,
    refusal,
    secret,
    spec_of,
    with_container,
)

USING = with_container(
    envFrom=[{"configMapRef": {"name": "settings"}}],
    env=[{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}}],
)


def test_the_example_is_a_workload() -> None:
    data = (Path(__file__).parents[3] / "examples" / "hello.yml").read_bytes()
    (bundle,) = bundles(load(data, "hello.yml"))
    spec = WorkloadSpec.parse(content(bundle), UID)
    assert (spec.kind, spec.name, spec.replicas) == ("Deployment", "hello", 2)
    assert spec.requirements.memory_bytes > 0


def test_a_deployment_has_kubernetes_defaults() -> None:
    spec = spec_of(deployment())
    assert (spec.namespace, spec.kind, spec.name) == ("default", "Deployment", "hello")
    assert (spec.replicas, spec.max_surge, spec.max_unavailable) == (1, 1, 0)
    assert (spec.min_ready_seconds, spec.progress_deadline_seconds, spec.revision_history_limit) == (0, 600, 10)
    assert spec.selector == (Expression("app", "In", ("hello",)),)
    assert spec.template.labels == {"app": "hello"}
    assert spec.template.restart_policy is RestartPolicy.ALWAYS
    assert spec.needs == frozenset()
    assert (spec.change_cause, spec.labels, spec.annotations) == ("", {}, {})


def test_a_change_can_have_a_cause() -> None:
    body = deployment()
    body["metadata"] |= {"labels": {"team": "a"}, "annotations": {"kubernetes.io/change-cause": "new image"}}
    spec = spec_of(body)
    assert (spec.change_cause, spec.labels) == ("new image", {"team": "a"})


def test_a_pod_is_one_slot_that_is_replaced() -> None:
    spec = spec_of(bare_pod(restartPolicy="Never"))
    assert (spec.kind, spec.replicas, spec.max_surge, spec.max_unavailable) == ("Pod", 1, 0, 1)
    assert spec.template.restart_policy is RestartPolicy.NEVER
    assert spec.selector == ()


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"replicas": -1}, "spec.replicas", "-1 must be between 0 and 10000"),
        ({"replicas": 10_001}, "spec.replicas", "10001 must be between 0 and 10000"),
        ({"minReadySeconds": -1}, "spec.minReadySeconds", "must be between 0"),
        ({"minReadySeconds": 600}, "spec.progressDeadlineSeconds", "must be greater than minReadySeconds"),
        ({"revisionHistoryLimit": -1}, "spec.revisionHistoryLimit", "must be between 0"),
        ({"selector": {}}, "spec.selector", "empty selector is invalid"),
        ({"selector": {"matchLabels": {"app": "x"}}}, "spec.template.metadata.labels", "does not match"),
        (
            {"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}},
            "spec.selector.matchExpressions[0]",
            "In needs values",
        ),
        ({"strategy": {"rollingUpdate": {"maxSurge": "x"}}}, "spec.strategy.rollingUpdate.maxSurge", "a percentage"),
    ],
)
def test_what_a_deployment_cannot_be(fields: Body, path: str, message: str) -> None:
    assert message in problems_of(deployment(**fields))[path]


def test_ten_thousand_replicas_can_be_asked_for() -> None:
    assert spec_of(deployment(replicas=10_000)).max_surge == 2500
    assert spec_of(deployment(replicas=0)).replicas == 0


def test_content_is_the_same_however_the_manifest_was_written() -> None:
    (one,) = bundles(load(encode(config_map(a="1"), USING, secret(password="s"))))
    backwards = json.dumps(dict(reversed(USING.items()))).encode()
    (other,) = bundles(load(encode(secret(password="s")) + b"\n" + backwards + encode(config_map(a="1"))))
    assert content(one) == content(other)
    assert [obj["kind"] for obj in json.loads(content(one))["items"]] == ["Deployment", "ConfigMap", "Secret"]


def test_parsing_its_own_content_gives_the_same_content() -> None:
    spec = spec_of(USING, config_map(a="1"), secret(password="s"))
    (again,) = bundles(load(content(spec.objects)))
    assert content(again) == content(spec.objects)
    assert WorkloadSpec.parse(content(spec.objects), UID) == spec
    assert spec.template.containers[0].env == (EnvVar("a", "1"), EnvVar("PASSWORD", "s", secret=True))


def test_several_workloads_each_take_what_they_use() -> None:
    other = deployment()
    other["metadata"]["name"] = "other"
    found = bundles(load(encode(USING, other, config_map(a="1"), secret(password="s"))))
    assert [[obj.name for obj in bundle] for bundle in found] == [["hello", "settings", "keys"], ["other"]]


def test_what_is_used_must_be_in_the_same_input_and_namespace() -> None:
    problems = problems_of(USING)
    at = "spec.template.spec.containers[0]"
    assert problems[f"{at}.envFrom[0].configMapRef"] == (
        "ConfigMap default/settings is not in this input: give it in the same file"
    )
    assert "Secret default/keys is not in this input" in problems[f"{at}.env[0].valueFrom.secretKeyRef"]
    elsewhere = config_map(a="1")
    elsewhere["metadata"]["namespace"] = "other"
    assert f"{at}.envFrom[0].configMapRef" in problems_of(USING, elsewhere, secret(password="s"))


def test_what_nothing_uses_is_refused() -> None:
    with pytest.raises(ManifestError, match="ConfigMap default/settings: no workload in this input uses it"):
        bundles(load(encode(deployment(), config_map(a="1"))))


def test_the_revision_is_ten_characters_over_template_contents_and_uid() -> None:
    base = spec_of(USING, config_map(a="1"), secret(password="s"))
    assert len(base.revision) == 10
    same = [
        spec_of({**USING, "spec": {**USING["spec"], "replicas": 5}}, config_map(a="1"), secret(password="s")),
        spec_of(
            {**USING, "metadata": {"name": "hello", "labels": {"a": "b"}}}, config_map(a="1"), secret(password="s")
        ),
    ]
    different = [
        spec_of(USING, config_map(a="2"), secret(password="s")),
        spec_of(USING, config_map(a="1"), secret(password="t")),
        spec_of(USING, config_map(a="1"), secret(password="s"), uid="another"),
        spec_of(deployment()),
    ]
    assert {spec.revision for spec in same} == {base.revision}
    assert len({spec.revision for spec in [base, *different]}) == 5


def test_the_revision_does_not_change_with_the_software() -> None:
    # Machines of one mesh may run different versions: all must give one content the same revision, for ever.
    assert spec_of(deployment()).revision == "s5swz84mgr"


def test_a_restart_is_another_revision() -> None:
    restarted = deployment()
    restarted["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
    assert spec_of(restarted).revision != spec_of(deployment()).revision


def test_secrets_do_not_show_in_a_repr() -> None:
    spec = spec_of(USING, config_map(a="1"), secret(password="very-secret"))
    assert "very-secret" not in repr(spec)
    assert "very-secret" not in repr(spec.objects)


def test_content_that_no_block_holds_is_refused() -> None:
    big = config_map(a="x" * (MAX_CONTENT // 2), b="y" * (MAX_CONTENT // 2))
    (bundle,) = bundles(load(encode(USING, big, secret(password="s"))))
    with pytest.raises(ManifestError, match=r"^-: document 1: Deployment default/hello: .* fit: split it"):
        content(bundle)
    with pytest.raises(ManifestError, match="too many for a declaration"):
        WorkloadSpec.parse(b"x" * (MAX_CONTENT + 1), UID)


def test_content_with_other_than_one_workload_is_refused() -> None:
    other = deployment()
    other["metadata"]["name"] = "other"
    for objects in ([deployment(), other], [config_map()], []):
        with pytest.raises(ManifestError):
            WorkloadSpec.parse(encode({"apiVersion": "v1", "kind": "List", "items": objects}), UID)


CONTENT = content(bundles(load(encode(USING, config_map(a="1"), secret(password="s"))))[0])


@settings(max_examples=300)
@given(
    st.integers(0, len(CONTENT)),
    st.integers(0, 10),
    st.binary(max_size=10) | st.sampled_from([b'"', b"}", b"[]", b"-1"]),
)
def test_hostile_content_gives_a_spec_or_a_manifest_error(position: int, gone: int, inserted: bytes) -> None:
    said = refusal(lambda: WorkloadSpec.parse(CONTENT[:position] + inserted + CONTENT[position + gone :], UID))
    assert not said or said.startswith("content")


def _leaves(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [leaf for key, item in items for leaf in _leaves(item, (*path, key))]


RICH = deployment(
    pod_spec(
        containers=[
            container(
                command=["sh", "-c"],
                env=[
                    {"name": "A", "value": "$(B)"},
                    {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                ],
                ports=[{"containerPort": 80, "hostPort": 80, "name": "http", "protocol": "UDP", "hostIP": "::1"}],
                resources={"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": 0.5}},
                livenessProbe={"exec": {"command": ["true"]}, "periodSeconds": 2},
                readinessProbe={"httpGet": {"port": "http", "httpHeaders": [{"name": "a", "value": "b"}]}},
                startupProbe={"tcpSocket": {"port": 80}},
                securityContext={"capabilities": {"add": ["KILL"], "drop": ["ALL"]}, "runAsUser": 1},
                volumeMounts=[{"name": "v", "mountPath": "/v", "subPath": "a/b"}],
            )
        ],
        initContainers=[{"name": "init", "image": "x"}],
        volumes=[
            {"name": "v", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "h", "hostPath": {"path": "/x"}},
            {
                "name": "c",
                "configMap": {"name": "settings", "items": [{"key": "a", "path": "b/c"}], "defaultMode": 256},
            },
            {"name": "s", "secret": {"secretName": "keys", "optional": True}},
        ],
        affinity={
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}]
                },
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}
                ],
            },
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}
                ]
            },
        },
        tolerations=[{"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}],
        nodeSelector={"a": "b"},
        hostname="web",
    ),
    replicas=3,
    strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}},
)
ODD = [
    "",
    "x",
    "..",
    "/",
    "10m",
    "$(A)",
    "%",
    "-1",
    "1" * 80,
    0,
    1,
    -1,
    70_000,
    2**31 - 1,
    0.5,
    True,
    None,
    [],
    {},
    [""],
    {"": ""},
]


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(_leaves(RICH)), st.sampled_from(ODD))
def test_any_value_anywhere_gives_a_spec_or_a_manifest_error(path: tuple[str | int, ...], value: object) -> None:
    body = json.loads(json.dumps([RICH]))
    holder, path = body, (0, *path)
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    said = refusal(lambda: spec_of(*body, config_map(a="1")))
    assert not said or said.startswith("test.yml")


def test_the_rich_manifest_itself_is_taken() -> None:
    body = json.loads(json.dumps(RICH))
    del body["spec"]["template"]["spec"]["containers"][0]["env"][0]
    spec = spec_of(body, config_map(a="1"))
    assert spec.needs == {"hostPath"}
    assert spec.requirements.host_ports == (80,)
