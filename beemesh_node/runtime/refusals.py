"""Podman's refusals in Kubernetes' words.

Podman has no error codes beyond the HTTP status, so its texts decide; the tests hold them against the real one.
"""

from __future__ import annotations

from pathlib import Path

from beemesh_node.runtime.errors import PodmanRefusedError, StartError
from beemesh_node.workloads.pod import DISK_PRESSURE

_NOT_FOUND = 404


def image_missing(error: PodmanRefusedError) -> bool:
    """Whether a container could not be created because its image is not here."""
    words = ("no such image", "image not known", "unable to find a name and tag match")
    return any(text in error.message for text in words)


def name_taken(error: PodmanRefusedError) -> bool:
    """Whether a container of that name exists already."""
    return "name" in error.message and "already in use" in error.message


def unsettled(error: PodmanRefusedError) -> bool:
    """Whether something was not removed because its process, which Podman went to end first, has ended unheard."""
    return "container state improper" in error.message


def create_error(subject: str, error: PodmanRefusedError) -> StartError:
    """Why something could not be created."""
    return _refused("CreateContainerError", subject, error.message)


def start_error(subject: str, error: PodmanRefusedError, socket: Path) -> StartError:
    """Why something created could not be started."""
    message = error.message
    if "address already in use" in message or "port is already allocated" in message:
        return StartError("PortConflict", f"{subject}: {message}; see who listens with: ss -ltnup")
    if error.status == _NOT_FOUND:
        return StartError("RunContainerError", f"{subject}: gone from the Podman at {socket} before its start")
    return _refused("RunContainerError", subject, message)


def _refused(reason: str, subject: str, message: str) -> StartError:
    if "no space left on device" in message:
        return StartError(DISK_PRESSURE, f"{subject}: {message}; make room with: podman system df; podman image prune")
    return StartError(reason, f"{subject}: {message}")
