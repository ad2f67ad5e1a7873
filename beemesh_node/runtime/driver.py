"""What a keeper has done to the containers of one pod, by Podman."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog
import trio

from beemesh_node.runtime.container_spec import Surroundings
from beemesh_node.runtime.containers import Containers
from beemesh_node.runtime.errors import PodmanRefusedError, RuntimeUnavailableError, StartError
from beemesh_node.runtime.guard import Guard, end_orphans
from beemesh_node.runtime.inspection import Ended, Inspection
from beemesh_node.runtime.labels import Role, container_name
from beemesh_node.runtime.launcher import Launcher
from beemesh_node.runtime.probe_actions import Prober
from beemesh_node.workloads.pod import Container, PodSpec, Probe

log = structlog.get_logger()


@dataclass
class Driver:
    """The `keeper.ContainerDriver` of one pod."""

    pod: PodSpec
    surroundings: Surroundings
    launcher: Launcher
    containers: Containers
    prober: Prober
    guard: Guard | None = None
    """What ends a leased pod; its containers live in the guard's namespace."""
    _seen_ip: str = field(default="", init=False)
    """The pod's address as last seen; that of a container without a sandbox changes with each of its lives."""

    def __post_init__(self) -> None:
        self.join(self.surroundings)

    def join(self, surroundings: Surroundings) -> None:
        """Start containers in these surroundings from now on."""
        self.surroundings = surroundings
        self._seen_ip = surroundings.pod_ip

    @property
    def pod_ip(self) -> str:
        """The pod's address as last seen; of a hostNetwork pod, the machine's."""
        return self.surroundings.config.host_ip() if self.pod.template.host_network else self._seen_ip

    async def launch(self, container: Container, role: Role, restart: int) -> str:
        """Start the next life of a container.

        Raises StartError, RuntimeUnavailableError.
        """
        around = self.surroundings
        if self.guard is not None:
            if not self.guard.alive:
                raise StartError("LeaseEnded", f"pod {self.pod.identity.pod_name}: its guard has ended")
            around = replace(around, pid_namespace=self.guard.namespace)
        return await self.launcher.launch(self.pod, container, role, restart, around)

    async def renew_sandbox(self) -> None:
        """Make the pod's namespaces anew in the place of those that are gone, with the containers that were in them.

        Raises StartError, RuntimeUnavailableError.
        """
        await self.launcher.discard_sandbox(self.pod)
        self.join(await self.launcher.sandbox(self.pod, again=True))

    async def prune(self, container: Container, restart: int) -> None:
        """Remove the life before the last one; the last is kept for its logs."""
        if restart < 2:
            return
        prefix = self.surroundings.config.name_prefix
        try:
            await self.launcher.discard(container_name(prefix, self.pod.identity, container.name, restart - 2))
        except (PodmanRefusedError, RuntimeUnavailableError):
            return  # It goes with the pod.

    async def settle(self, container: Container, restart: int) -> None:
        """Have Podman count a life as over of whose end nobody told it."""
        prefix = self.surroundings.config.name_prefix
        await self.containers.settle(container_name(prefix, self.pod.identity, container.name, restart))

    async def inspect(self, container_id: str) -> Inspection | None:
        """What Podman says of one life, None if it has no such one.

        Raises RuntimeUnavailableError.
        """
        found = await self.containers.inspect(container_id)
        if found and found.ip and not (self.surroundings.sandbox or self.pod.template.host_network):
            self._seen_ip = found.ip
        return found

    async def ended(self, container_id: str, unheard: Callable[[], None] | None = None) -> Ended:
        """Wait for the end of one life, and of all it has left running."""
        over = await self.containers.ended(container_id, unheard)
        await self.end_orphans(container_id)
        return over

    async def end_orphans(self, container_id: str) -> None:
        """End what a life that is over has left running; nothing of a container that has not begun yet (no id)."""
        if container_id and self.guard is not None and self.guard.alive:
            namespace = self.guard.descriptor
            while not await trio.to_thread.run_sync(end_orphans, container_id, namespace):
                log.warning("container not gone yet", pod=self.pod.identity.pod_uid, container=container_id)

    async def end(self, container_id: str, grace_seconds: float) -> None:
        """End one life.

        Raises RuntimeUnavailableError.
        """
        await self.containers.end(container_id, grace_seconds)

    async def probe(self, container_id: str, probe: Probe) -> bool | None:
        """Ask a container once how it is; None if there was nobody to ask."""
        # A hostNetwork pod listens on the machine's own addresses, of which only loopback is always there.
        address = "127.0.0.1" if self.pod.template.host_network else self.pod_ip
        return await self.prober.ask(container_id, address, probe)
