"""Containers through Podman. Nothing else imports podman."""

from beemesh_node.runtime.config import RuntimeConfig, RuntimeInfo
from beemesh_node.runtime.errors import (
    ContainerRuntimeError,
    GuardError,
    NoSuchPodError,
    RuntimeUnavailableError,
    StartError,
)
from beemesh_node.runtime.exec import ExecSession
from beemesh_node.runtime.guard import boottime
from beemesh_node.runtime.logs import LogOptions
from beemesh_node.runtime.opening import open_runtime
from beemesh_node.runtime.runtime import Runtime

__all__ = [
    "ContainerRuntimeError",
    "ExecSession",
    "GuardError",
    "LogOptions",
    "NoSuchPodError",
    "Runtime",
    "RuntimeConfig",
    "RuntimeInfo",
    "RuntimeUnavailableError",
    "StartError",
    "boottime",
    "open_runtime",
]
