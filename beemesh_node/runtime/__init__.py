"""Containers through Podman. Nothing else imports podman."""

from beemesh_node.runtime.config import RuntimeConfig, RuntimeInfo
from beemesh_node.runtime.errors import ContainerRuntimeError, NoSuchPodError, RuntimeUnavailableError, StartError
from beemesh_node.runtime.exec import ExecSession
from beemesh_node.runtime.logs import LogOptions
from beemesh_node.runtime.runtime import Runtime, open_runtime

__all__ = [
    "ContainerRuntimeError",
    "ExecSession",
    "LogOptions",
    "NoSuchPodError",
    "Runtime",
    "RuntimeConfig",
    "RuntimeInfo",
    "RuntimeUnavailableError",
    "StartError",
    "open_runtime",
]
