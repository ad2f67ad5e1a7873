"""Manifests that the tests begin from."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from beemesh_node.workloads.manifest import ManifestError, load
from beemesh_node.workloads.spec import WorkloadSpec, bundles, content

Body = dict[str, Any]
UID = "0e7c5c0e-5c8f-4d0e-9a39-0c8a3ef1d1c6"


def container(**fields: Any) -> Body:
    return {"name": "web", "image": "localhost/hello:1", **fields}


def pod_spec(**fields: Any) -> Body:
    return {"containers": [container()], **fields}


def deployment(pod: Body | None = None, **fields: Any) -> Body:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "hello"},
        "spec": {
            "selector": {"matchLabels": {"app": "hello"}},
            "template": {"metadata": {"labels": {"app": "hello"}}, "spec": pod if pod is not None else pod_spec()},
            **fields,
        },
    }


def with_container(**fields: Any) -> Body:
    return deployment(pod_spec(containers=[container(**fields)]))


def bare_pod(**fields: Any) -> Body:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "once"}, "spec": pod_spec(**fields)}


def config_map(name: str = "settings", **data: str) -> Body:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str = "keys", **data: str) -> Body:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def encode(*objects: Body) -> bytes:
    return "\n".join(json.dumps(each) for each in objects).encode()


def spec_of(*objects: Body, uid: str = UID) -> WorkloadSpec:
    """The way of an apply: load, take apart, encode, read again on a machine."""
    (bundle,) = bundles(load(encode(*objects), "test.yml"))
    return WorkloadSpec.parse(content(bundle), uid)


def refusal(action: Callable[[], object]) -> str:
    """The text of the ManifestError that `action` raises; empty when it raises nothing."""
    try:
        action()
    except ManifestError as error:
        return str(error) or "(nothing said)"
    return ""


def problems_of(*objects: Body) -> dict[str, str]:
    """Path -> message of what is wrong."""
    with pytest.raises(ManifestError) as caught:
        bundles(load(encode(*objects), "test.yml"))
    return {issue.path: issue.message for issue in caught.value.issues}
