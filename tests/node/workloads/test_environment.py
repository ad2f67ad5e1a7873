"""Environment variables: sources, order, `$(NAME)`, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from beemesh_node.workloads.environment import MAX_ENVIRONMENT
from beemesh_node.workloads.pod import (
    Container,
    EnvVar,
)
from tests.node.workloads.manifests import (
    Body,
    config_map,
    container,
    deployment,
    pod_spec,
    problems_of,
    secret,
    spec_of,
    with_container,
)

AT = "spec.template.spec.containers[0]"


def built(*more: Body, **fields: Any) -> Container:
    return spec_of(with_container(**fields), *more).template.containers[0]


def test_environment_is_resolved_in_order() -> None:
    found = built(
        config_map(a="from map", b="$(a)"),
        secret(password="geheim"),
        envFrom=[{"prefix": "M_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "keys"}}],
        env=[
            {"name": "ONE", "value": "1"},
            {"name": "REF", "value": "$(ONE)$(M_a)$$(ONE)$(LATER)$"},
            {"name": "URL", "value": "x:$(password)"},
            {"name": "LATER", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "b"}}},
            {"name": "MISSING", "valueFrom": {"secretKeyRef": {"name": "no", "key": "b", "optional": True}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP", "apiVersion": "v1"}}},
            {"name": "ONE", "value": "$(ONE)1"},
            {"name": "EMPTY"},
        ],
    )
    assert found.env == (
        EnvVar("M_a", "from map"),
        EnvVar("M_b", "$(a)"),
        EnvVar("password", "geheim", secret=True),
        EnvVar("REF", "1from map$(ONE)$(LATER)$"),
        EnvVar("URL", "x:geheim", secret=True),
        EnvVar("LATER", "$(a)"),
        EnvVar("IP", field_path="status.podIP"),
        EnvVar("ONE", "11"),
        EnvVar("EMPTY", ""),
    )


@pytest.mark.parametrize(
    ("env", "path", "message"),
    [
        ({"name": "a=b"}, ".name", "printable ASCII"),
        ({"name": "a", "value": "x\0"}, ".value", "NUL"),
        (
            {"name": "a", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ".valueFrom",
            "not empty",
        ),
        ({"name": "a", "valueFrom": {}}, ".valueFrom", "exactly one"),
        ({"name": "a", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "no"}}}, None, 'has no key "no"'),
        ({"name": "a", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "raw"}}}, None, "not UTF-8"),
        ({"name": "a", "valueFrom": {"configMapKeyRef": {"key": "no"}}}, None, "needs the name of a ConfigMap"),
        (
            {"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "status.nope"}}},
            ".valueFrom.fieldRef.fieldPath",
            'unsupported value "status.nope"',
        ),
    ],
)
def test_environment_that_cannot_be(env: Body, path: str | None, message: str) -> None:
    settings = {**config_map(a="1"), "binaryData": {"raw": "/w=="}}
    problems = problems_of(with_container(env=[env]), settings)
    assert message in problems[f"{AT}.env[0]{path or '.valueFrom.configMapKeyRef'}"]


@pytest.mark.parametrize(
    ("source", "path", "message"),
    [
        ({}, "", "exactly one of configMapRef and secretRef"),
        ({"secretRef": {"name": "keys"}, "configMapRef": {"name": "settings"}}, "", "exactly one of"),
        ({"configMapRef": {"name": "settings"}}, ".configMapRef", "NUL character"),
        ({"prefix": "=", "secretRef": {"name": "keys"}}, ".secretRef", "printable ASCII"),
    ],
)
def test_sources_of_environment_that_cannot_be(source: Body, path: str, message: str) -> None:
    problems = problems_of(with_container(envFrom=[source]), config_map(a="x\0"), secret(password="x"))
    assert message in problems[f"{AT}.envFrom[0]{path}"]


def test_a_field_of_the_pod_is_not_known_in_other_values() -> None:
    env = [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "URL", "value": "http://$(IP)"},
    ]
    assert "use it in command or args" in problems_of(with_container(env=env))[f"{AT}.env[1].value"]


def test_variables_that_double_at_every_step_are_bounded() -> None:
    env = [{"name": "A", "value": "x" * 1000}] + [{"name": "A", "value": "$(A)$(A)"} for _ in range(64)]
    problems = problems_of(with_container(env=env))
    assert any(f"more than {MAX_ENVIRONMENT:,}" in message for message in problems.values())


@pytest.mark.parametrize("field", ["command", "args"])
@pytest.mark.parametrize("name", ["password", "TOKEN", "URL"])
def test_a_secret_is_not_expanded_where_everyone_on_the_machine_can_read_it(field: str, name: str) -> None:
    env = [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "URL", "value": "x:$(TOKEN)"},
    ]
    body = with_container(envFrom=[{"secretRef": {"name": "keys"}}], env=env, **{field: ["run", f"--key=$({name})"]})
    problems = problems_of(body, secret(password="geheim"))
    assert list(problems) == [f"{AT}.{field}[1]"]
    assert f"$({name}) comes from a Secret" in problems[f"{AT}.{field}[1]"]
    assert "mount the Secret as a file" in problems[f"{AT}.{field}[1]"]


def test_an_init_container_does_not_expand_a_secret_either() -> None:
    init = container(name="init", envFrom=[{"secretRef": {"name": "keys"}}], args=["$(password)"])
    body = deployment(pod_spec(initContainers=[init]))
    assert list(problems_of(body, secret(password="geheim"))) == ["spec.template.spec.initContainers[0].args[0]"]


def test_words_that_only_look_like_a_secret_are_taken() -> None:
    words = ["$$(password)", "$password", "$(PLAIN)", "$(none)", "$(password"]
    env = [{"name": "PLAIN", "value": "1"}]
    found = built(secret(password="geheim"), envFrom=[{"secretRef": {"name": "keys"}}], env=env, args=words)
    assert found.args == tuple(words)
