"""What this machine says of itself: to the mesh as presence, to its own decision core, and to its pods."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog
import trio

from beemesh_node import __version__
from beemesh_node.daemon.config import DaemonConfig
from beemesh_node.daemon.member import LocalMachine
from beemesh_node.daemon.pods import Pods
from beemesh_node.healing.core import Core
from beemesh_node.healing.events import LocalChanged
from beemesh_node.membership.labels import Sources
from beemesh_node.membership.member import member_of
from beemesh_node.network.api import Host
from beemesh_node.protocol.messages import Presence, Taint
from beemesh_node.runtime.config import RuntimeConfig, RuntimeInfo
from beemesh_node.runtime.errors import RuntimeUnavailableError
from beemesh_node.runtime.runtime import Runtime
from beemesh_node.workloads.quantity import cpu_millis, whole_bytes

log = structlog.get_logger()


class SelfDescription:
    """Joins certificate, configuration and what Podman and the core know of this machine."""

    LOOK_EVERY = 2.0
    """Seconds between two looks at what changes without an event."""

    def __init__(self, config: DaemonConfig, machine: LocalMachine, host: Host, core: Core, started_at: int) -> None:
        """`started_at`: when the daemon started, mesh time in ms, greater than at any start before."""
        self._config, self._machine, self._host, self._core = config, machine, host, core
        self._started_at = started_at
        self._info: RuntimeInfo | None = None
        self._images: frozenset[str] = frozenset()
        self._guards = False
        self._address = ""
        self._last: LocalChanged | None = None
        self.pods: Pods | None = None
        self.cordoned = False
        self.labels: Mapping[str, str] = config.labels
        """What this machine says of itself, but for what its certificate says."""

    def runtime_config(self) -> RuntimeConfig:
        """What the runtime is told at its start."""
        certificate = self._machine.membership.certificate
        return RuntimeConfig(
            mesh=certificate.mesh_id.hex()[:32],
            state_dir=self._config.state_path / "pods",
            secret_dir=Path(self._config.local_socket).parent / "pods",
            node_name=certificate.name,
            host_ip=self.address,
            socket=Path(self._config.runtime_socket),
            protected_ports=tuple(dict.fromkeys(_ports(self._config.listen))),
        )

    def address(self) -> str:
        """An IP address of this machine that others can use, the last that it had; empty if it never had one."""
        found = [ipaddress.ip_address(address.split("/")[2]) for address in self._host.addresses() if _is_ip(address)]
        usable = [str(address) for address in found if not address.is_loopback and not address.is_link_local]
        self._address = next(iter(usable), self._address)
        return self._address

    @property
    def label_sources(self) -> Sources:
        """What labels come from, besides operators' orders."""
        certificate, info = self._machine.membership.certificate, self._info
        return Sources(
            name=certificate.name,
            architecture=info.architecture if info else "",
            operating_system=info.os if info else "",
            configured=self._config.labels,
            certified=certificate.labels,
        )

    def presence(self, sequence: int, period_ms: int) -> Presence:
        """This machine's presence as of now."""
        info, reserved, pods = self._info, self._core.reserved(), self.pods
        cpu, memory = self._allocatable()
        return Presence(
            statement=self._machine.member.session.statement_bytes,
            addresses=tuple(self._host.addresses()),
            labels=self.labels,
            taints=tuple(Taint(taint.key, taint.value, taint.effect) for taint in self._config.taints),
            unschedulable=self.cordoned,
            cpu_allocatable=cpu,
            memory_allocatable=memory,
            cpu_reserved=reserved.cpu,
            memory_reserved=reserved.memory,
            host_ports=reserved.host_ports,
            pods=reserved.pods,
            architecture=info.architecture if info else "",
            operating_system=info.os if info else "",
            kernel=info.kernel if info else "",
            runtime_version=info.version if info else "",
            node_version=__version__,
            started_at=self._started_at,
            sequence=sequence,
            period_ms=period_ms,
            ready=pods is not None and pods.ready,
            reason=pods.reason if pods is not None else "starting",
        )

    async def local_changed(self, runtime: Runtime) -> LocalChanged:
        """What the core has to know of this machine. Raises `RuntimeUnavailableError`."""
        self._info = await runtime.info()
        self._guards = self._info.guards
        if self._info.guards_reason:
            log.warning("no leased pods here", reason=self._info.guards_reason)
        self._images = await runtime.images()
        return self.local()

    async def refreshed(self, runtime: Runtime) -> LocalChanged | None:
        """The same, if something about it is different. A Podman that does not answer is not waited for."""
        if runtime.available:
            with trio.move_on_after(self.LOOK_EVERY):
                try:
                    self._images = await runtime.images()
                except RuntimeUnavailableError as error:
                    log.debug("images not looked at", error=str(error))
        last = self._last
        local = self.local()
        return None if local == last else local

    def local(self) -> LocalChanged:
        """What the core has to know of this machine, of which only Podman's part may not be of this moment."""
        certificate = self._machine.membership.certificate
        member = member_of(
            certificate.machine_id, certificate.name, certificate.guardian, certificate.labels, self.presence(0, 0)
        )
        self._last = LocalChanged(member, self._images, self._config.max_pods, self.address(), self._guards)
        return self._last

    def _allocatable(self) -> tuple[int, int]:
        """Millicores and bytes that may be offered to pods."""
        if self._info is None:
            return 0, 0
        reserve = self._config.reserve
        cpu = self._info.cpus * 1000 - cpu_millis(reserve.cpu)
        memory = self._info.memory_bytes - whole_bytes(reserve.memory)
        return max(0, cpu), max(0, memory)


def _is_ip(address: str) -> bool:
    return address.startswith(("/ip4/", "/ip6/"))


def _ports(listen: Iterable[str]) -> Iterable[int]:
    for address in listen:
        parts = address.split("/")
        if "tcp" in parts[:-1] and parts[parts.index("tcp") + 1].isdigit():
            yield int(parts[parts.index("tcp") + 1])
