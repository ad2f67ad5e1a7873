"""The three types of patches, as kubectl has them."""

from __future__ import annotations

import copy

import pytest

from beemesh_node.workloads.errors import ManifestError
from beemesh_node.workloads.patching import PatchType, patched

BODY = {
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"a": "1", "b": "2"}},
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": "web:1",
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    },
                    {"name": "side", "image": "side:1", "args": ["x", "y"]},
                ],
            }
        },
    },
}


def containers(body):
    return body["spec"]["template"]["spec"]["containers"]


def strategic(containers_patch):
    patch = {"spec": {"template": {"spec": {"containers": containers_patch}}}}
    return containers(patched(BODY, patch, PatchType.STRATEGIC))


def test_a_merge_patch_sets_removes_and_replaces_lists():
    before = copy.deepcopy(BODY)
    patch = {
        "metadata": {"labels": {"a": None, "c": "3"}},
        "spec": {"template": {"spec": {"containers": [{"name": "web"}]}}},
    }
    found = patched(BODY, patch, PatchType.MERGE)
    assert found["metadata"]["labels"] == {"b": "2", "c": "3"}
    assert containers(found) == [{"name": "web"}]
    assert found["spec"]["replicas"] == 2
    assert before == BODY, "what is patched stays as it is"


def test_a_strategic_patch_merges_lists_by_name():
    found = strategic([{"name": "web", "image": "web:2", "env": [{"name": "B", "value": "3"}, {"name": "C"}]}])
    assert [each["image"] for each in found] == ["web:2", "side:1"]
    assert found[0]["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C"}]


def test_a_strategic_patch_adds_deletes_and_replaces_elements():
    assert [c["name"] for c in strategic([{"name": "new", "image": "n"}])] == ["web", "side", "new"]
    assert [c["name"] for c in strategic([{"name": "side", "$patch": "delete"}])] == ["web"]
    assert strategic([{"$patch": "replace"}, {"name": "only"}]) == [{"name": "only"}]
    assert strategic([{"name": "side", "args": ["z"]}])[1]["args"] == ["z"], "other lists are replaced"


def test_ports_are_told_apart_by_number_and_protocol():
    body = {"ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53}]}
    found = patched(body, {"ports": [{"containerPort": 53, "protocol": "TCP", "name": "dns"}]}, PatchType.STRATEGIC)
    assert found["ports"] == [
        {"containerPort": 53, "protocol": "UDP"},
        {"containerPort": 53, "protocol": "TCP", "name": "dns"},
    ]


def test_a_json_patch_does_its_operations_in_order():
    first = "/spec/template/spec/containers/0"
    found = patched(
        BODY,
        [
            {"op": "test", "path": "/spec/replicas", "value": 2},
            {"op": "replace", "path": f"{first}/image", "value": "web:2"},
            {"op": "add", "path": f"{first}/env/0", "value": {"name": "Z"}},
            {"op": "add", "path": f"{first}/env/-", "value": {"name": "Y"}},
            {"op": "remove", "path": "/metadata/labels/a"},
            {"op": "add", "path": "/metadata/labels/x~1y", "value": "1"},
            {"op": "copy", "from": "/spec/replicas", "path": "/spec/minReadySeconds"},
            {"op": "move", "from": "/metadata/labels/b", "path": "/metadata/labels/moved"},
        ],
        PatchType.JSON,
    )
    assert [each["name"] for each in containers(found)[0]["env"]] == ["Z", "A", "B", "Y"]
    assert found["metadata"]["labels"] == {"x/y": "1", "moved": "2"}
    assert (found["spec"]["minReadySeconds"], containers(found)[0]["image"]) == (2, "web:2")


@pytest.mark.parametrize(
    ("patch", "kind", "says"),
    [
        ([], PatchType.MERGE, "mapping"),
        ("x", PatchType.STRATEGIC, "mapping"),
        ({}, PatchType.JSON, "list"),
        ({"containers": [{"image": "x"}]}, PatchType.STRATEGIC, "without name"),
        ({"containers": ["x"]}, PatchType.STRATEGIC, "expected a mapping"),
        (["x"], PatchType.JSON, "operation"),
        ([{"op": "grow", "path": "/a"}], PatchType.JSON, "add, remove"),
        ([{"op": "add", "path": "/a"}], PatchType.JSON, "needs a value"),
        ([{"op": "remove", "path": "a"}], PatchType.JSON, "JSON pointer"),
        ([{"op": "remove", "path": ""}], PatchType.JSON, "cannot be removed"),
        ([{"op": "remove", "path": "/nothing"}], PatchType.JSON, "not in the manifest"),
        ([{"op": "replace", "path": "/spec/nothing", "value": 1}], PatchType.JSON, "not in the manifest"),
        ([{"op": "add", "path": "/kind/x", "value": 1}], PatchType.JSON, "nothing that could be added to"),
        ([{"op": "test", "path": "/spec/replicas", "value": 3}], PatchType.JSON, "another value"),
        ([{"op": "remove", "path": "/spec/template/spec/containers/7"}], PatchType.JSON, "no index"),
        ([{"op": "remove", "path": "/spec/template/spec/containers/-1"}], PatchType.JSON, "no index"),
    ],
)
def test_what_cannot_be_done_is_said(patch, kind, says):
    with pytest.raises(ManifestError, match=says):
        patched(BODY, patch, kind)
