"""Objects out of inputs: kinds, names, namespaces, Lists, what exported files have, several errors at once."""

from __future__ import annotations

import json
import re

import pytest

from beemesh_node.workloads.errors import MAX_ISSUES
from beemesh_node.workloads.manifest import ManifestError, load, load_all
from tests.node.workloads.manifests import Body, bare_pod, config_map, deployment, encode, problems_of


def refused(data: bytes) -> str:
    with pytest.raises(ManifestError) as caught:
        load(data, "f.yml")
    return str(caught.value)


def test_an_object_knows_its_name_and_namespace() -> None:
    (obj,) = load(encode(deployment()), "f.yml")
    assert (obj.api_version, obj.kind, obj.namespace, obj.name) == ("apps/v1", "Deployment", "default", "hello")
    assert obj.subject == "Deployment default/hello"
    assert obj.body["metadata"] == {"name": "hello", "namespace": "default"}


def test_the_namespace_of_the_command_is_for_objects_that_name_none() -> None:
    own = deployment()
    own["metadata"]["namespace"] = "shop"
    assert [o.namespace for o in load(encode(own, bare_pod()), namespace="lab")] == ["shop", "lab"]
    with pytest.raises(ManifestError, match='is "shop", but the command is for the namespace "lab"'):
        load(encode(own), namespace="lab", enforce=True)


def test_a_list_is_taken_apart_and_its_items_are_named_in_errors() -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": [deployment(), bare_pod()]}
    assert [obj.kind for obj in load(encode(items))] == ["Deployment", "Pod"]
    items["items"][1]["spec"]["contaners"] = []  # type: ignore[index]
    assert refused(encode(items)) == (
        'f.yml: items[1]: Pod default/once: spec.contaners: unknown field (did you mean "containers"?)'
    )
    assert "expected array" in refused(b"{apiVersion: v1, kind: List, items: {}}")
    assert 'must be "v1"' in refused(b"{apiVersion: v2, kind: List, items: []}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"hello world", "expected a Kubernetes object"),
        (b"- a", "expected a Kubernetes object.*got a list"),
        (b"kind: Pod", "apiVersion: required, but missing"),
        (b"apiVersion: v1\nkind: 3", "kind: expected string, got number 3"),
        (b"apiVersion: v1\nkind: Pot", r'kind "Pot" \(v1\) is not supported: give a Deployment or a Pod'),
        (b"apiVersion: v1\nkind: pod", 'no kind "pod": write Pod'),
        (b"apiVersion: extensions/v1beta1\nkind: Deployment", "use apiVersion: apps/v1"),
        (b"apiVersion: apps/v1\nkind: DaemonSet", "DaemonSet.*is not supported"),
        (b"apiVersion: v1\nkind: ConfigMap", r"ConfigMap default/\(no name\): metadata.name: required, but missing"),
        (b"apiVersion: v1\nkind: ConfigMap\nmetadata: []", "metadata: expected object, got a list"),
        (b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_b}", 'metadata.name: "A_b" is not valid'),
        (b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: x.y}", "metadata.namespace"),
        (b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {'-': x}}", r"metadata.labels\[-\]"),
        (b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {b: 'x y'}}", r"metadata.labels\[b\]"),
        (b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {'b c': x}}", r"annotations\[b c\]"),
        (b"apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a}", "not supported: give a name"),
    ],
)
def test_what_is_no_known_object_is_refused(text: bytes, message: str) -> None:
    assert re.search(message, refused(text))


def test_too_many_annotations() -> None:
    body = deployment()
    body["metadata"]["annotations"] = {"a": "x" * 300_000}
    assert "at most 262,144" in problems_of(body)["metadata.annotations"]


def test_one_name_twice_is_refused_across_inputs() -> None:
    with pytest.raises(ManifestError) as caught:
        load_all([("a.yml", encode(deployment(), config_map())), ("b.yml", encode(deployment()))])
    assert str(caught.value) == "b.yml: Deployment default/hello: given twice, also in a.yml: document 1: keep one"
    assert len(load_all([("a.yml", encode(config_map("x"))), ("b.yml", encode(config_map("y")))])) == 2


def test_all_that_is_wrong_is_said_at_once() -> None:
    bad: Body = deployment(replica=1)
    with pytest.raises(ManifestError) as caught:
        load_all([("a.yml", encode(bad, {"kind": "x"})), ("b.yml", b"a: ["), ("c.yml", encode(bad))])
    assert [(issue.source, issue.path) for issue in caught.value.issues] == [
        ("a.yml: document 1", "spec.replica"),
        ("a.yml: document 2", "apiVersion"),
        ("b.yml: document 1", ""),
        ("c.yml", "spec.replica"),
    ]


def test_a_long_list_of_problems_is_cut() -> None:
    text = refused(encode(deployment(**{f"no{n}": 1 for n in range(MAX_ISSUES + 7)})))
    assert len(text.splitlines()) == MAX_ISSUES + 1
    assert text.endswith("and 7 more problems")


EXPORTED = {
    "creationTimestamp": "2026-01-31T12:00:00Z",
    "generation": 4,
    "managedFields": [{"manager": "kubectl", "operation": "Update"}],
    "selfLink": "/apis/apps/v1/namespaces/default/deployments/hello",
    "resourceVersion": "7",
    "uid": "0e7c5c0e-5c8f-4d0e-9a39-0c8a3ef1d1c6",
}


def test_an_exported_object_can_be_applied_again() -> None:
    body = deployment()
    body["metadata"] |= EXPORTED
    body["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "deployment.kubernetes.io/revision": "3",
        "team": "shop",
    }
    body["spec"]["template"]["metadata"]["creationTimestamp"] = None
    body["status"] = {"replicas": 2, "conditions": []}
    (obj,) = load(encode(body), "f.yml")
    expected = deployment()
    expected["metadata"] |= {"namespace": "default", "annotations": {"team": "shop"}}
    assert obj.body == expected
    obj.check_preconditions(EXPORTED["uid"], "7")  # type: ignore[arg-type]
    with pytest.raises(ManifestError, match=r"metadata\.resourceVersion: the object has been changed since"):
        obj.check_preconditions(EXPORTED["uid"], "8")  # type: ignore[arg-type]
    with pytest.raises(ManifestError, match=r"metadata\.uid: the object was deleted or made anew"):
        obj.check_preconditions("another", "7")


def test_nulls_mean_not_given() -> None:
    body = deployment(replicas=None)
    body["metadata"]["labels"] = None
    body["spec"]["template"]["spec"]["volumes"] = None
    (obj,) = load(encode(body))
    assert obj.body["spec"].keys() == {"selector", "template"}
    (settings,) = load(b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":null}}')
    assert settings.body["data"] == {"x": ""}


def test_yaml_and_json_of_the_same_object_are_the_same() -> None:
    text = (
        b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: hello}\nspec:\n  selector:\n"
        b"    matchLabels: &labels {app: hello}\n  template:\n    metadata: {labels: *labels}\n"
        b"    spec:\n      containers:\n      - name: web\n        image: localhost/hello:1\n"
    )
    assert load(text)[0].body == load(json.dumps(deployment()).encode())[0].body
