"""What Podman says about itself and the machine."""

from __future__ import annotations

from typing import Any

from beemesh_node.runtime.config import RuntimeInfo
from beemesh_node.runtime.errors import PodmanRefusedError, RuntimeUnavailableError
from beemesh_node.runtime.podman_api import PodmanApi


async def ask_info(api: PodmanApi) -> RuntimeInfo:
    """Ask Podman.

    Raises RuntimeUnavailableError, also for what is not Podman.
    """
    try:
        return read_info(await api.get("/info"))
    except (ValueError, PodmanRefusedError) as error:
        raise RuntimeUnavailableError.at(
            api.socket, f"what answers there is not Podman 4 or later ({error})"
        ) from error


def read_info(data: Any) -> RuntimeInfo:
    """Read the answer to `GET /info`.

    Raises ValueError if it is not Podman's.
    """
    try:
        host = data["host"]
        return RuntimeInfo(
            version=str(data["version"]["Version"]),
            cpus=int(host["cpus"]),
            memory_bytes=int(host["memTotal"]),
            architecture=str(host["arch"]),
            os=str(host["os"]),
            kernel=str(host["kernel"]),
            cgroup_version=2 if host["cgroupVersion"] == "v2" else 1,
            rootless=bool(host["security"]["rootless"]),
            oci_runtime=str(host["ociRuntime"]["name"]),
            graph_root=str(data["store"]["graphRoot"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not an answer of Podman 4 or later: {error!r}") from error
