"""Containers whose monitor (conmon) died together with their process, as when somebody kills everything of a pod.

The monitor is who tells Podman of an end. Without it, Podman says for ever that the container runs (seen with Podman
4.3; after a reboot Podman begins anew). Stopping such a container makes Podman say that it is stopping, for ever again:
that, and a process that is gone, is how such an end is told apart from others.
"""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog
import trio

from beemesh_node.runtime.errors import PodmanRefusedError, RuntimeUnavailableError
from beemesh_node.runtime.inspection import RUNNING_STATES, STOPPING
from beemesh_node.runtime.labels import MESH
from beemesh_node.runtime.podman_api import PodmanApi

log = structlog.get_logger()


def is_gone(pid: int) -> bool:
    """Whether a process of this machine has ended; False if it cannot be known."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    try:
        return bool(select.select([descriptor], [], [], 0)[0])
    finally:
        os.close(descriptor)


def died_unheard(entry: Mapping[str, Any]) -> bool:
    """Whether a listed container ended so, and was settled since."""
    return entry.get("State") == STOPPING and bool(entry.get("Pid")) and is_gone(int(entry["Pid"]))


async def settle(api: PodmanApi, container_id: str) -> None:
    """Have Podman stop a container whose process is gone. Raises RuntimeUnavailableError."""
    log.warning("a container's monitor died with it", container=container_id)
    with suppress(PodmanRefusedError):  # it ended as others do, meanwhile
        await api.post(f"/containers/{container_id}/stop", params={"timeout": "0"})


async def settle_all(api: PodmanApi, mesh: str) -> None:
    """Do so with all of this mesh's containers that Podman lists as running although their process is gone.

    Raises RuntimeUnavailableError.
    """
    try:
        listed = await api.get("/containers/json", {"filters": {"label": [f"{MESH}={mesh}"]}}) or ()
    except PodmanRefusedError as error:
        raise RuntimeUnavailableError.at(api.socket, f"containers cannot be listed ({error})") from error
    async with trio.open_nursery() as nursery:
        for entry in listed:
            if _says_it_runs(entry) and is_gone(int(entry["Pid"])):
                nursery.start_soon(settle, api, str(entry["Id"]))


def _says_it_runs(entry: Mapping[str, Any]) -> bool:
    return entry.get("State") in RUNNING_STATES and bool(entry.get("Pid"))
