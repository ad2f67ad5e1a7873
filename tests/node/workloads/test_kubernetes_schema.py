"""The packaged schema is the one of Kubernetes, and our walk judges as a full JSON-schema validator does."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.workloads.errors import Problems
from beemesh_node.workloads.schema import validate
from beemesh_node.workloads.support import HINTS, ONLY, SERVER_SIDE, SUPPORTED, VALUES
from tests.node.workloads.manifests import config_map, deployment, pod_spec, problems_of, secret

ROOT = Path(__file__).parents[3]
PACKAGED = ROOT / "beemesh_node" / "workloads" / "schema" / "kubernetes.json"
SCHEMA = json.loads(PACKAGED.read_text("utf-8"))
DEFINITIONS: dict[str, Any] = SCHEMA["$defs"]


def test_the_packaged_schema_is_what_the_extraction_makes() -> None:
    spec = importlib.util.spec_from_file_location("extract", ROOT / "schemas" / "kubernetes" / "extract.py")
    assert spec is not None
    assert spec.loader is not None
    extraction = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extraction)
    assert extraction.render(extraction.extract()) == PACKAGED.read_text("utf-8")


def test_the_extraction_refuses_keywords_that_the_validator_does_not_know() -> None:
    spec = importlib.util.spec_from_file_location("extract", ROOT / "schemas" / "kubernetes" / "extract.py")
    assert spec is not None
    assert spec.loader is not None
    extraction = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extraction)
    with pytest.raises(ValueError, match="maxLength"):
        extraction.compact({"type": "string", "maxLength": 3})


def test_the_lists_of_what_is_supported_name_only_what_exists() -> None:
    for rules, fields in [*SUPPORTED.items(), *SERVER_SIDE.items()]:
        definition, _, field = rules.partition(".")
        if field:
            definition = _definition_of(DEFINITIONS[definition]["properties"][field])
        assert fields <= DEFINITIONS[definition]["properties"].keys(), rules
    for place in [*VALUES, *ONLY]:
        definition, _, field = place.partition(".")
        assert field in SUPPORTED[definition], place
    for place in HINTS:
        definition, _, field = place.partition(".")
        assert field in DEFINITIONS[definition]["properties"], place
        assert field not in SUPPORTED[definition] or place in ONLY, place


def _definition_of(node: dict[str, Any]) -> str:
    return str(node.get("items", node)["$ref"]).rpartition("/")[2]


def _unsupported() -> Iterator[tuple[str, str, list[str | int]]]:
    """Every field of Kubernetes that is not supported, with a path by which a Deployment leads to it."""
    seen: set[str] = set()
    todo: list[tuple[str, str, list[str | int]]] = [("Deployment", "Deployment", [])]
    while todo:
        definition, place, path = todo.pop(0)
        rules = place if place in SUPPORTED else definition
        if rules in seen:
            continue
        seen.add(rules)
        for field, node in DEFINITIONS[definition]["properties"].items():
            at: list[str | int] = [*path, field]
            if field not in SUPPORTED[rules]:
                if field not in SERVER_SIDE.get(rules, ()):
                    yield rules, field, at
                continue
            inner = node
            if node.get("type") in ("array", ["array", "null"]):
                at, inner = [*at, 0], node["items"]
            target = inner.get("$ref", "").rpartition("/")[2]
            if target and "properties" in DEFINITIONS[target]:
                todo.append((target, f"{definition}.{field}", at))


UNSUPPORTED = list(_unsupported())


def test_every_node_that_is_walked_has_the_keywords_that_the_walk_needs() -> None:
    def check(node: dict[str, Any], where: str) -> None:
        node = DEFINITIONS[node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        assert "type" in node, where
        if "object" in node["type"] and "properties" not in node:
            check(node["additionalProperties"], where)
        if "array" in node["type"]:
            check(node["items"], where)

    for rules, fields in SUPPORTED.items():
        definition, _, field = rules.partition(".")
        if field:
            definition = _definition_of(DEFINITIONS[definition]["properties"][field])
        for name in fields:
            check(DEFINITIONS[definition]["properties"][name], f"{rules}.{name}")


def _put(body: Any, path: list[str | int], value: Any) -> Any:
    """`body` with `value` at `path`; what is missing on the way is made."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(key, int):
        items = list(body or [])
        return [_put(items[0] if items else None, rest, value), *items[1:]]
    return {**(body or {}), key: _put((body or {}).get(key), rest, value)}


@pytest.mark.parametrize(("rules", "field", "path"), UNSUPPORTED, ids=lambda value: str(value)[:60])
def test_every_unsupported_field_is_refused_by_name(rules: str, field: str, path: list[str | int]) -> None:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    problems = problems_of(_put(deployment(), path, {}))
    assert problems[where].startswith("not supported"), (rules, field)


def test_there_is_much_that_is_refused() -> None:
    assert {("PodSpec", "nodeName"), ("Container", "lifecycle"), ("Volume", "projected")} <= {
        (rules, field) for rules, field, _ in UNSUPPORTED
    }
    assert len(UNSUPPORTED) > 100


def _scalars() -> st.SearchStrategy[Any]:
    return st.sampled_from(
        ["", "x", "10m", "aGk=", "2026-01-31T12:00:00Z", 0, 1, -1, 2**31, 0.5, True, False, [], {}, ["x"]]
    )


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*path, key))


FULL = deployment(
    pod_spec(
        containers=[
            {
                "name": "web",
                "image": "x",
                "command": ["sh"],
                "ports": [{"containerPort": 80, "hostPort": 80, "name": "http"}],
                "env": [
                    {"name": "A", "value": "x"},
                    {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
                "resources": {"limits": {"cpu": "1", "memory": 1000}},
                "readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 2},
                "securityContext": {"runAsUser": 1, "capabilities": {"add": ["KILL"]}},
                "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": True}],
            }
        ],
        volumes=[{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
        tolerations=[{"operator": "Exists"}],
        nodeSelector={"a": "b"},
    ),
    replicas=2,
    strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}},
)
BODIES = {"Deployment": FULL, "ConfigMap": config_map(a="b"), "Secret": {**secret(a="b"), "data": {"c": "aGk="}}}
ORACLES = {kind: jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": DEFINITIONS}) for kind in BODIES}
PATHS = [(kind, path) for kind, body in BODIES.items() for path in _paths(body) if path]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PATHS), _scalars(), st.booleans())
def test_the_verdict_is_that_of_a_json_schema_validator(
    target: tuple[str, tuple[Any, ...]], value: Any, rename: bool
) -> None:
    kind, path = target
    body = json.loads(json.dumps(BODIES[kind]))
    holder = body
    for key in path[:-1]:
        holder = holder[key]
    if rename and isinstance(holder, dict):
        holder[f"{path[-1]}x"] = holder.pop(path[-1])
    else:
        holder[path[-1]] = value
    problems = Problems()
    validate(kind, body, problems)
    found = {str(message) for message in _messages(problems)}
    ours = [text for text in found if "not supported" not in text and "unsupported value" not in text]
    stricter = ("range of int", "base64")
    if ORACLES[kind].is_valid(body):
        assert not [text for text in ours if not any(word in text for word in stricter)]
    else:
        assert found


def _messages(problems: Problems) -> list[str]:
    try:
        problems.raise_if_any()
    except ValueError as error:
        return str(error).splitlines()
    return []


def test_the_unchanged_bodies_are_valid() -> None:
    for kind, body in BODIES.items():
        problems = Problems()
        assert validate(kind, body, problems) == body
        assert _messages(problems) == []


def test_messages_name_the_path_and_what_to_do() -> None:
    body = deployment(
        {
            "containers": [{"name": "web", "image": 1, "lifecycle": {}, "imagePullPolicy": "never", "ports": [{}]}],
            "restartPolicy": None,
        },
        replica=2,
        replicas="two",
        minReadySeconds=2**31,
        paused=True,
        strategy={"type": "Sometimes"},
    )
    at = "spec.template.spec.containers[0]"
    assert problems_of(body) == {
        "spec.replica": 'unknown field (did you mean "replicas"?)',
        "spec.replicas": 'expected integer, got "two"',
        "spec.minReadySeconds": "2147483648 is out of the range of int32",
        "spec.paused": "boolean true is not supported, only false",
        "spec.strategy.type": 'unsupported value "Sometimes": supported values: "RollingUpdate", "Recreate"',
        f"{at}.image": "expected string, got number 1: put it in quotes",
        f"{at}.lifecycle": "not supported",
        f"{at}.imagePullPolicy": 'unsupported value "never": supported values: "Always", "IfNotPresent", "Never"',
        f"{at}.ports[0].containerPort": "required, but missing",
    }


def test_values_of_secrets_are_not_in_messages() -> None:
    body = {**secret(), "data": {"pin": 48151623, "key": "geheim!"}, "stringData": {"n": 7.25, "deep": {"a": "b"}}}
    problems = problems_of(body)
    assert problems == {
        "data[pin]": "expected string, got number: put it in quotes",
        "data[key]": "illegal base64 data: encode the value, or give it under stringData",
        "stringData[n]": "expected string, got number: put it in quotes",
        "stringData[deep]": "expected string, got a mapping",
    }


def test_half_a_surrogate_pair_is_no_text() -> None:
    assert "surrogate" in problems_of(deployment(pod_spec(hostname="\ud800")))["spec.template.spec.hostname"]


def test_control_characters_do_not_reach_the_terminal() -> None:
    problems = Problems("f\x1b[2J")
    problems.add("spec", "a\nb")
    with pytest.raises(ValueError) as caught:
        problems.raise_if_any()
    assert str(caught.value) == r"f\x1b[2J: spec: a\nb"
