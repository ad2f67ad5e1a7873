"""The network of this mesh's pods on this machine.

A bridge of its own, so that the firewall can tell pods from everything else by the interface, and so that pods of the
mesh do not share a network with containers that somebody started by hand. Without Podman's DNS: its server would
listen on the gateway, tell every pod the names of all others on the machine, and cost time at each start; service
discovery belongs to the workload plane.
"""

from __future__ import annotations

from beemesh_node.runtime.config import RuntimeConfig
from beemesh_node.runtime.errors import PodmanRefusedError, RuntimeUnavailableError
from beemesh_node.runtime.podman_api import PodmanApi


async def ensure_network(api: PodmanApi, config: RuntimeConfig) -> str:
    """Create the network if it is missing; the name of its interface on the machine.

    Raises RuntimeUnavailableError.
    """
    try:
        found = await _inspect(api, config.network)
        if found is None:
            found = await api.post("/networks/create", _network_spec(config))
        if found["driver"] != "bridge" or not found["network_interface"]:
            raise RuntimeUnavailableError.at(
                api.socket, f"network {config.network} is no bridge; remove it or set another name with network"
            )
        return str(found["network_interface"])
    except PodmanRefusedError as error:
        raise RuntimeUnavailableError.at(api.socket, f"network {config.network} cannot be made ({error})") from error
    except (KeyError, TypeError) as error:
        raise RuntimeUnavailableError.at(api.socket, f"network {config.network} cannot be read ({error!r})") from error


async def _inspect(api: PodmanApi, name: str) -> dict[str, object] | None:
    try:
        found = await api.get(f"/networks/{name}/json")
    except PodmanRefusedError as error:
        if error.status == 404:
            return None
        raise
    # Podman 4 answers with the network, some versions with a list of the one.
    return dict(found[0] if isinstance(found, list) else found)


def _network_spec(config: RuntimeConfig) -> dict[str, object]:
    spec: dict[str, object] = {
        "name": config.network,
        "driver": "bridge",
        "network_interface": config.network_interface,
        "dns_enabled": False,
        "labels": {"io.beemesh.network": "true"},
    }
    if config.subnet:
        spec["subnets"] = [{"subnet": config.subnet}]
    return spec
