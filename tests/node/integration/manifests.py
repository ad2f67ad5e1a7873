"""Manifests as data."""

from __future__ import annotations

from typing import Any

from tests.node.runtime.podman_service import IMAGE

IDLE = "trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait $!; done"
"""A shell script that runs for ever, and ends at once on SIGTERM."""

COUNTING = (
    "trap 'exit 0' TERM; echo life >> /data/lives; echo term $BEEMESH_LEASE_TERM; "
    "while :; do sleep 1000 & wait $!; done"
)
"""Notes each of its lives in its volume."""


def deployment(
    name: str,
    replicas: int = 1,
    *,
    namespace: str = "default",
    image: str = IMAGE,
    script: str = IDLE,
    **container: Any,
) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [
                        {
                            "name": "main",
                            "image": image,
                            "imagePullPolicy": "Never",
                            "command": ["sh", "-c", script],
                            "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}},
                            **container,
                        }
                    ],
                },
            },
        },
    }


def stateful_set(name: str, replicas: int, **spec: Any) -> dict[str, Any]:
    """One whose pods count their lives in the volume `data`, which `spec` has to give them."""
    mount = {"name": "data", "mountPath": "/data"}
    manifest = deployment(name, replicas, script=COUNTING, volumeMounts=[mount])
    manifest["kind"] = "StatefulSet"
    manifest["spec"] |= {"serviceName": name, **spec}
    return manifest


def claims() -> list[dict[str, Any]]:
    """Templates of the volume that `stateful_set` mounts."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return [{"metadata": {"name": "data"}, "spec": spec}]
