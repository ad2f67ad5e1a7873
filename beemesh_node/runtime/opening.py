"""Reaching Podman, and having everything of the runtime there while that lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from beemesh_node.runtime.config import RuntimeConfig
from beemesh_node.runtime.errors import RuntimeUnavailableError
from beemesh_node.runtime.firewall import ensure_firewall
from beemesh_node.runtime.images import Images
from beemesh_node.runtime.info import ask_info
from beemesh_node.runtime.leased_pods import LeasedPods
from beemesh_node.runtime.network import ensure_network
from beemesh_node.runtime.pod_files import require_memory
from beemesh_node.runtime.podman_api import PodmanApi
from beemesh_node.runtime.runtime import Runtime


@asynccontextmanager
async def open_runtime(config: RuntimeConfig) -> AsyncIterator[Runtime]:
    """Reach Podman, adopt this mesh's pods, and keep them while the block lasts; leaving it leaves them running.

    What is raised within the block leaves it in an ExceptionGroup, as from any nursery.

    Raises RuntimeUnavailableError if there is no usable Podman, memory directory or firewall.
    """
    api = PodmanApi(config.socket)
    leases = LeasedPods(config, Images(api))
    try:
        info = await ask_info(api)
        if info.rootless and config.protected_ports:
            raise RuntimeUnavailableError.at(
                config.socket,
                "rootless Podman's pods cannot be kept from the machine plane's ports; use the system's Podman",
            )
        await trio.to_thread.run_sync(require_memory, config.secret_dir)
        interface = await ensure_network(api, config)
        await ensure_firewall(interface, config.protected_ports)
        async with trio.open_nursery() as nursery:
            runtime = Runtime(api, config, info, leases, nursery)
            await runtime.serve()
            nursery.start_soon(runtime.keep_firewall, interface)
            yield runtime
            nursery.cancel_scope.cancel()
    finally:
        leases.close()
        api.close()
