"""Volumes, what they hold, and where they are mounted."""

from __future__ import annotations

import pytest

from beemesh_node.workloads.pod import (
    EmptyDir,
    Files,
    HostPath,
    Volume,
    VolumeMount,
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
)

AT = "spec.template.spec.containers[0]"


def test_volumes_and_mounts() -> None:
    pod = pod_spec(
        containers=[
            container(
                volumeMounts=[
                    {"name": "tmp", "mountPath": "/tmp"},
                    {"name": "etc", "mountPath": "/etc/app", "readOnly": True, "subPath": "a/b"},
                ]
            )
        ],
        volumes=[
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "none"},
            {"name": "etc", "configMap": {"name": "settings"}},
            {
                "name": "some",
                "configMap": {"name": "settings", "items": [{"key": "a", "path": "d/e"}], "defaultMode": 256},
            },
            {"name": "keys", "secret": {"secretName": "keys"}},
            {"name": "gone", "secret": {"secretName": "no", "optional": True}},
            {"name": "host", "hostPath": {"path": "/data", "type": "Directory"}},
        ],
    )
    raw = {**config_map(a="1"), "binaryData": {"raw": "/w=="}}
    template = spec_of(deployment(pod), raw, secret(password="geheim")).template
    assert template.volumes == (
        Volume("tmp", EmptyDir(True, 1024 * 1024)),
        Volume("none", EmptyDir()),
        Volume("etc", Files({"a": b"1", "raw": b"\xff"}, False)),
        Volume("some", Files({"d/e": b"1"}, False, 0o400)),
        Volume("keys", Files({"password": b"geheim"}, True)),
        Volume("gone", Files({}, True)),
        Volume("host", HostPath("/data", "Directory")),
    )
    assert template.containers[0].mounts == (
        VolumeMount("tmp", "/tmp"),
        VolumeMount("etc", "/etc/app", True, "a/b"),
    )


@pytest.mark.parametrize(
    ("volume", "path", "message"),
    [
        ({"name": "A"}, "volumes[0].name", "not valid"),
        ({"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}, "volumes[0]", "more than 1 volume type"),
        ({"name": "twice"}, "volumes[1].name", 'duplicate value "twice"'),
        ({"name": "a", "hostPath": {"path": "/" + "a" * 4096}}, "volumes[0].hostPath.path", "at most 4096"),
        ({"name": "a", "hostPath": {"path": "x"}}, "volumes[0].hostPath.path", "absolute"),
        ({"name": "a", "hostPath": {"path": "/a/../b"}}, "volumes[0].hostPath.path", '".."'),
        ({"name": "a", "hostPath": {"path": "/a", "type": "No"}}, "volumes[0].hostPath.type", "unsupported value"),
        ({"name": "a", "emptyDir": {"sizeLimit": "-1"}}, "volumes[0].emptyDir.sizeLimit", "greater than or equal"),
        (
            {"name": "a", "configMap": {"name": "settings", "defaultMode": 512}},
            "volumes[0].configMap.defaultMode",
            "0777",
        ),
        ({"name": "a", "configMap": {"name": "no"}}, "volumes[0].configMap", "give it in the same file"),
        ({"name": "a", "secret": {}}, "volumes[0].secret", "needs the name of a Secret"),
        ({"name": "a", "projected": {}}, "volumes[0].projected", "not supported"),
    ],
)
def test_volumes_that_cannot_be(volume: Body, path: str, message: str) -> None:
    body = deployment(pod_spec(volumes=[volume, {"name": "twice"}]))
    assert message in problems_of(body, config_map(a="1"))[f"spec.template.spec.{path}"]


@pytest.mark.parametrize(
    ("items", "path", "message"),
    [
        ([{"key": "a", "path": "/x"}], ".items[0].path", "relative"),
        ([{"key": "a", "path": "../x"}], ".items[0].path", '".."'),
        ([{"key": "a", "path": "."}], ".items[0].path", "names no file"),
        ([{"key": "no", "path": "x"}], ".items[0]", 'has no key "no"'),
        ([{"key": "a", "path": "x"}, {"key": "a", "path": "x/y"}], ".items", "a file and a directory"),
    ],
)
def test_items_that_cannot_be(items: list[Body], path: str, message: str) -> None:
    volume = {"name": "a", "configMap": {"name": "settings", "items": items}}
    problems = problems_of(deployment(pod_spec(volumes=[volume])), config_map(a="1"))
    assert message in problems[f"spec.template.spec.volumes[0].configMap{path}"]


@pytest.mark.parametrize(
    ("mount", "field", "message"),
    [
        ({"name": "no", "mountPath": "/x"}, "name", "is no volume of this pod"),
        ({"name": "a", "mountPath": "x"}, "mountPath", "absolute"),
        ({"name": "a", "mountPath": "/x:y"}, "mountPath", "':'"),
        ({"name": "a", "mountPath": "/x", "subPath": "../y"}, "subPath", '".."'),
        ({"name": "a", "mountPath": "/taken/"}, "mountPath", "must be unique"),
    ],
)
def test_mounts_that_cannot_be(mount: Body, field: str, message: str) -> None:
    mounts = [mount, {"name": "a", "mountPath": "/taken"}]
    pod = pod_spec(containers=[container(volumeMounts=mounts)], volumes=[{"name": "a"}])
    index = 1 if mount["mountPath"] == "/taken/" else 0
    assert message in problems_of(deployment(pod))[f"{AT}.volumeMounts[{index}].{field}"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({**config_map(), "data": {"a/b": "1"}}, "data[a/b]"),
        ({**config_map(), "data": {"..": "1"}}, "data[..]"),
        ({**config_map(a="1"), "binaryData": {"a": ""}}, "binaryData[a]"),
        ({**secret(), "stringData": {"": "1"}}, "stringData[]"),
    ],
)
def test_keys_that_cannot_be_files(body: Body, path: str) -> None:
    assert path in problems_of(deployment(), body)
