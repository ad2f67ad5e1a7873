"""Manifests as data."""

from __future__ import annotations

from typing import Any

from tests.node.runtime.podman_service import IMAGE

IDLE = "trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait $!; done"
"""A shell script that runs for ever, and ends at once on SIGTERM."""


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
