"""Diffs as kubectl diff shows them."""

from __future__ import annotations

import json

import yaml

from beemesh_node.workloads.diff import diff, to_yaml
from beemesh_node.workloads.manifest import load
from tests.node.workloads.manifests import config_map, container, deployment, encode, pod_spec, secret


def test_no_change_is_no_diff() -> None:
    live = load(encode(deployment(), config_map(a="1"), secret(b="2")))
    backwards = json.dumps(dict(reversed(deployment().items()))).encode()
    wanted = load(backwards + encode(secret(b="2"), config_map(a="1")))
    assert diff(live, wanted) == ""
    encoded = {**secret(), "data": {"b": "Mg=="}}
    del encoded["stringData"]
    assert diff(load(encode(secret(b="2"))), load(encode(encoded))) == ""


def test_a_change_is_a_unified_diff_of_sorted_yaml() -> None:
    wanted = deployment(pod_spec(containers=[container(image="localhost/hello:2")]), replicas=3)
    found = diff(load(encode(deployment())), load(encode(wanted)))
    lines = found.splitlines()
    assert lines[:2] == ["--- LIVE/apps.v1.Deployment.default.hello", "+++ MERGED/apps.v1.Deployment.default.hello"]
    assert "+  replicas: 3" in lines
    assert "-      - image: localhost/hello:1" in lines
    assert "+      - image: localhost/hello:2" in lines


def test_what_is_new_or_gone_is_shown_whole() -> None:
    added = diff([], load(encode(config_map(text="a\nb\n"))))
    assert "+  text: |" in added.splitlines()
    assert "+    a" in added.splitlines()
    removed = diff(load(encode(config_map(a="1"))), [])
    assert all(line.startswith(("-", "+++ ", "@@")) for line in removed.splitlines())


def test_values_of_secrets_are_masked() -> None:
    live = load(encode(secret(same="geheim0", other="geheim1", gone="geheim2")))
    wanted = load(encode(secret(same="geheim0", other="geheim3", new="geheim4")))
    found = diff(live, wanted)
    assert "geheim" not in found
    assert [line for line in found.splitlines() if "***" in line] == [
        "-  gone: '***'",
        "-  other: '*** (before)'",
        "+  new: '***'",
        "+  other: '*** (after)'",
        "   same: '***'",
    ]
    assert "geheim" not in diff([], wanted)
    assert "geheim" not in diff(live, [])


def test_yaml_is_read_back_as_it_was() -> None:
    value = {"b": ["x", "yes", "012", "a\n b\n", "é", "x" * 500], "a": {"n": 1, "t": True, "e": {}, "l": []}}
    shared = {"p": value, "q": value}
    text = to_yaml(shared)
    assert yaml.safe_load(text) == shared
    assert "&" not in text
