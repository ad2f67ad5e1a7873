"""The pods of this machine: started, kept, shown, ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog
import trio

from beemesh_node.runtime.adoption import FoundPod, find_pods
from beemesh_node.runtime.config import RuntimeConfig, RuntimeInfo
from beemesh_node.runtime.container_spec import needs_sandbox
from beemesh_node.runtime.containers import Containers, Wakeups
from beemesh_node.runtime.driver import Driver
from beemesh_node.runtime.errors import (
    GuardError,
    NoSuchPodError,
    PodmanRefusedError,
    RuntimeUnavailableError,
    StartError,
)
from beemesh_node.runtime.events import ContainerEvent, watch_events
from beemesh_node.runtime.exec import ExecSession, open_exec
from beemesh_node.runtime.feed import StatusFeed
from beemesh_node.runtime.firewall import ensure_firewall
from beemesh_node.runtime.health import watch_health
from beemesh_node.runtime.images import Images, check_reference
from beemesh_node.runtime.info import ask_info
from beemesh_node.runtime.labels import container_name, safe_name
from beemesh_node.runtime.launcher import Launcher
from beemesh_node.runtime.leased_pods import LeasedPods
from beemesh_node.runtime.logs import WHOLE_LOG, LogOptions, open_logs
from beemesh_node.runtime.pod_files import PodFiles, memory_volume
from beemesh_node.runtime.podman_api import PodmanApi
from beemesh_node.runtime.probe_actions import Prober
from beemesh_node.runtime.supervisor import PodSupervisor
from beemesh_node.workloads.pod import PodIdentity, PodSpec, PodStatus

log = structlog.get_logger()

ADDRESS_SECONDS = 10.0
"""How often it is looked whether this machine has another address."""
FIREWALL_SECONDS = 30.0
"""How often the firewall's rules are put in place again, in case somebody flushed them."""


class Runtime:
    """Made by `open_runtime`. `changes` gives the newest status of each pod that changed; a slow reader misses none.

    Every method raises RuntimeUnavailableError when Podman does not answer, and NoSuchPodError for a pod or container
    that is not on this machine.
    """

    def __init__(
        self, api: PodmanApi, config: RuntimeConfig, info: RuntimeInfo, leases: LeasedPods, nursery: trio.Nursery
    ) -> None:
        self._api = api
        self._config = config
        self._info = info
        self._nursery = nursery
        self._wakeups = Wakeups()
        self._images = Images(api)
        self._containers = Containers(api, self._wakeups, config.network)
        self._leases = leases
        self._launcher = Launcher(api, config, self._images, info.memory_bytes)
        self._feed = StatusFeed()
        self._pods: dict[str, PodSupervisor] = {}
        self._connected = self._answers = True
        self._network_fault = ""
        self.changes: trio.MemoryReceiveChannel[PodStatus] = self._feed.receive

    @property
    def available(self) -> bool:
        """Whether Podman answers, and its stream of events is open: without either nothing can be started."""
        return self._connected and self._answers

    async def info(self) -> RuntimeInfo:
        """The machine as Podman sees it now. The first call in a machine's life tries a guard, for half a second."""
        fault = await self._leases.fault()
        return replace(await ask_info(self._api), guards=not fault, guards_reason=fault)

    async def images(self) -> frozenset[str]:
        """The names of the images that are here."""
        return await self._images.present()

    async def start(self, spec: PodSpec, deadline: float | None = None) -> None:
        """Create a pod and start its first init container, or else all its containers; the rest follows by itself.

        A leased pod needs a `deadline`, in seconds of `guard.boottime`: then the kernel ends it, unless it is renewed.

        Raises StartError, and then, as after a cancellation, nothing of the pod is left. If its remains could not be
        removed because Podman went away, they are removed when it is back.
        """
        identity = spec.identity
        names = [container.name for container in spec.template.init_containers + spec.template.containers]
        names += [volume.name for volume in spec.template.volumes]
        for name in (identity.pod_uid, *names):
            if not safe_name(name):
                raise StartError(
                    "CreateContainerConfigError", f"pod {identity.pod_name}: {name!r} cannot be part of a path"
                )
        for container in spec.template.init_containers + spec.template.containers:
            check_reference(container.image)
        if identity.pod_uid in self._pods:
            raise StartError(
                "CreateContainerError", f"pod {identity.pod_name} is on this machine already; remove it first"
            )
        if self._network_fault and not spec.template.host_network:
            raise StartError("NetworkNotReady", self._network_fault)
        self._require_answers()
        await self._start(spec, deadline)

    async def renew(self, identity: PodIdentity, deadline: float) -> float:
        """Move the end of a leased pod to `deadline` (seconds of `guard.boottime`), never backward; the end in force.

        Asks the pod's guard alone, whatever Podman does. If there is no answer, the guard may follow later all the
        same: the pod is over only when the later of both deadlines has passed.

        Raises GuardError if the guard does not follow; NoSuchPodError if the pod has ended, or is not leased.
        """
        return await self._leases.renew(identity, deadline)

    async def adopt(self, spec: PodSpec) -> None:
        """Keep a running pod again whose own specification is lost (`list` says SpecLost).

        Its containers run on, unless the namespaces that they share are gone.

        Raises NoSuchPodError if nothing of such a pod runs here, or it was told to end; StartError (FailedMount) if
        its files cannot be kept. Then the pod is left as it is.
        """
        identity = spec.identity
        found = (await self._found()).get(identity.pod_uid)
        if found is None or found.identity != identity or not found.running or identity.pod_uid in self._pods:
            raise NoSuchPodError(f"pod {identity.pod_name} ({identity.pod_uid}) does not run here without an owner")
        if self._leases.guarded(identity.pod_uid):
            spec = replace(spec, leased=True)
        found.spec = spec
        self._leases.look({identity.pod_uid: found})
        if not found.adoptable or (needs_sandbox(spec) and not found.sandbox):
            raise NoSuchPodError(f"pod {identity.pod_name} ({identity.pod_uid}) is not whole here: remove it")
        await trio.to_thread.run_sync(PodFiles(self._config, identity.pod_uid).restore, spec)
        await self._adopt(found)

    async def stop(self, identity: PodIdentity, grace_seconds: float | None = None) -> None:
        """End a pod's containers: their stop signal, then after the grace (the template's, if None) SIGKILL.

        They are not restarted, also not by a later daemon; logs stay until `remove`. If that cannot be kept because a
        file system is full, they are ended all the same, and then RuntimeUnavailableError is raised.
        """
        try:
            await trio.to_thread.run_sync(PodFiles(self._config, identity.pod_uid).mark_ended)
        finally:
            await self._end(identity, grace_seconds)

    async def remove(self, identity: PodIdentity) -> None:
        """Remove all that is here of a pod, running or not: containers, sandbox, volumes, files. Idempotent."""
        if supervisor := self._pods.get(identity.pod_uid):
            await supervisor.halt()
        await self._leases.end(identity.pod_uid)
        self._require_answers()
        await self._launcher.remove_pod(identity.pod_uid)
        self._pods.pop(identity.pod_uid, None)
        self._leases.removed(identity.pod_uid)

    def over(self, identity: PodIdentity) -> bool:
        """Whether `remove` has ended a leased pod, of which Podman still has what it left: nothing of it runs."""
        return self._leases.over(identity.pod_uid)

    def restart_container(self, identity: PodIdentity, container: str) -> None:
        """End a container gracefully and start it again at once, whatever its policy and back-off say."""
        self._supervisor(identity).keeper(container).restart()

    def pods(self) -> tuple[PodStatus, ...]:
        """The pods that are kept, as they are now; asks nobody."""
        return tuple(supervisor.status() for supervisor in self._pods.values())

    async def list(self) -> tuple[PodStatus, ...]:
        """Every pod of this mesh: those kept, and those found without an owner.

        The latter have phase Unknown and a reason: Ended (stop without remove), SpecLost (the machine rebooted),
        Partial (a start broke off), LeaseEnded (the kernel has ended it).
        """
        found = await self._found()
        orphans = [pod.status() for uid, pod in found.items() if uid not in self._pods]
        return (*self.pods(), *orphans)

    @asynccontextmanager
    async def logs(
        self, identity: PodIdentity, container: str, options: LogOptions = WHOLE_LOG, *, previous: bool = False
    ) -> AsyncIterator[AsyncIterator[tuple[int, bytes]]]:
        """A container's output as pairs of stream (1 stdout, 2 stderr) and bytes; `previous`: of its life before."""
        status = self._supervisor(identity).keeper(container).status
        # While it waits for its next life, its last one is the previous one, as `kubectl logs --previous` has it.
        life = status.restart_count - 1 if previous and status.state != "waiting" else status.restart_count
        if life < 0:
            raise NoSuchPodError(f"container {container} of pod {identity.pod_name} has not been restarted")
        name = container_name(self._config.name_prefix, identity, container, life)
        try:
            async with open_logs(self._api, name, options) as pieces:
                yield pieces
        except PodmanRefusedError as error:
            raise NoSuchPodError(f"log of {container} of pod {identity.pod_name}: {error.message}") from error

    @asynccontextmanager
    async def exec(
        self, identity: PodIdentity, container: str, command: Sequence[str], *, tty: bool = False, stdin: bool = False
    ) -> AsyncIterator[ExecSession]:
        """Run a command in a running container; leaving the block ends it."""
        status = self._supervisor(identity).keeper(container).status
        try:
            async with open_exec(self._api, status.container_id, command, tty=tty, stdin=stdin) as session:
                yield session
        except PodmanRefusedError as error:
            raise NoSuchPodError(f"exec in {container} of pod {identity.pod_name}: {error.message}") from error

    async def serve(self) -> None:
        """Adopt what is here, then begin the tasks of the runtime. Called by `open_runtime`."""
        found = await self._found()
        await self._leases.end_others(found)
        for pod in found.values():
            if pod.adoptable:
                try:
                    await self._adopt(pod)
                except (StartError, GuardError) as error:
                    # Its sandbox is broken: `list` shows the pod as one that nobody keeps.
                    log.warning("pod not adopted", pod=pod.identity.pod_uid, error=str(error))
        self._nursery.start_soon(self._feed.pump)
        self._nursery.start_soon(self._follow_address)
        self._nursery.start_soon(watch_events, self._api, self._config.mesh, self._connection, self._happened)
        self._nursery.start_soon(watch_health, self._api, self._health)

    async def _follow_address(self) -> None:
        """Tell of the pods whose address is the machine's when it has another one."""
        known = self._config.host_ip()
        while True:
            await trio.sleep(ADDRESS_SECONDS)
            if (address := self._config.host_ip()) != known:
                known = address
                for supervisor in self._pods.values():
                    if supervisor.spec.template.host_network:
                        self._feed.put(supervisor.status())

    async def keep_firewall(self, interface: str) -> None:
        """Put the firewall's rules in place again and again; no pod starts on the bridge while that fails."""
        while True:
            await trio.sleep(FIREWALL_SECONDS)
            try:
                await ensure_firewall(interface, self._config.protected_ports)
                self._network_fault = ""
            except RuntimeUnavailableError as error:
                self._network_fault = str(error)

    def _driver(self, spec: PodSpec) -> Driver:
        prober = Prober(self._api, lambda: self.available)
        return Driver(spec, self._launcher.alone(), self._launcher, self._containers, prober)

    async def _found(self) -> dict[str, FoundPod]:
        found = await find_pods(self._api, self._config)
        self._leases.look(found)
        return found

    async def _start(self, spec: PodSpec, deadline: float | None) -> None:
        uid = spec.identity.pod_uid
        files = PodFiles(self._config, uid)
        driver = self._driver(spec)
        supervisor = self._pods[uid] = PodSupervisor(driver, files, self._feed.put)
        started = False
        try:
            await trio.to_thread.run_sync(files.create, spec)
            driver.guard = await self._leases.start(spec, deadline)
            shared = needs_sandbox(spec)
            if shared or any(memory_volume(volume) for volume in spec.template.volumes):
                # What is missing shall show before anything runs; alone, a container finds out by itself.
                for container in spec.template.init_containers + spec.template.containers:
                    await self._images.ensure(container)
                await self._launcher.memory_volumes(spec)
            if shared:
                driver.join(await self._launcher.sandbox(spec))
            await supervisor.start()
            started = True
        finally:
            if not started:
                await self._leases.abandon(uid)
                await self._launcher.abandon_pod(uid)
                self._pods.pop(uid, None)
        self._nursery.start_soon(supervisor.run)

    async def _adopt(self, pod: FoundPod) -> None:
        assert pod.spec is not None  # noqa: S101 - what adoptable means
        driver = self._driver(pod.spec)
        driver.guard = self._leases.find(pod)
        if pod.sandbox:
            driver.join(await self._launcher.join(pod.spec, pod.sandbox))
        files = PodFiles(self._config, pod.identity.pod_uid)
        supervisor = PodSupervisor(driver, files, self._feed.put, pod.statuses, sandbox_died=pod.sandbox_died)
        self._pods[pod.identity.pod_uid] = supervisor
        self._nursery.start_soon(supervisor.run)

    async def _end(self, identity: PodIdentity, grace_seconds: float | None) -> None:
        if supervisor := self._pods.get(identity.pod_uid):
            template = supervisor.spec.template
            await supervisor.halt()
            self._require_answers()
            await supervisor.end(template.termination_grace_seconds if grace_seconds is None else grace_seconds)
            return
        found = (await self._found()).get(identity.pod_uid)
        if found is None:
            raise NoSuchPodError(f"pod {identity.pod_name} ({identity.pod_uid}) is not on this machine")
        await self._containers.end_all((status.container_id for status in found.statuses.values()), grace_seconds or 0)

    def _supervisor(self, identity: PodIdentity) -> PodSupervisor:
        supervisor = self._pods.get(identity.pod_uid)
        if supervisor is None:
            raise NoSuchPodError(f"pod {identity.pod_name} ({identity.pod_uid}) is not kept on this machine")
        return supervisor

    def _require_answers(self) -> None:
        """Not to wait again, for a minute perhaps, for a Podman that is known to hang."""
        if not self._answers:
            raise RuntimeUnavailableError.at(self._api.socket, "no answer")

    def _happened(self, event: ContainerEvent) -> None:
        self._wakeups.wake(event.container_id)

    def _health(self, answers: bool) -> None:
        if answers != self._answers:
            log.warning("Podman answers again" if answers else "Podman does not answer", socket=str(self._api.socket))
        back, self._answers = answers and not self._answers, answers
        if back:
            self._wakeups.wake_all()

    def _connection(self, connected: bool) -> None:
        self._connected = connected
        if connected:
            self._wakeups.wake_all()
            self._nursery.start_soon(self._clear_leftovers)

    async def _clear_leftovers(self) -> None:
        for uid in tuple(self._launcher.leftovers):
            if uid not in self._pods:
                await self._launcher.abandon_pod(uid)
