"""One pod on this machine, from its first container to its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import structlog
import trio

from beemesh_node.runtime.driver import Driver
from beemesh_node.runtime.errors import NoSuchPodError, RuntimeUnavailableError, StartError
from beemesh_node.runtime.guard import Guard
from beemesh_node.runtime.keeper import UNAVAILABLE_RETRY, ContainerKeeper
from beemesh_node.runtime.labels import Role
from beemesh_node.runtime.pod_files import PodFiles
from beemesh_node.runtime.pod_state import pod_phase, pod_ready
from beemesh_node.workloads.pod import Container, ContainerStatus, EmptyDir, PodPhase, PodSpec, PodStatus, RestartPolicy

log = structlog.get_logger()

FAULT_RETRY = 10.0
"""Seconds until a pod is kept again after something went wrong that no part of the runtime foresaw."""
SANDBOX_SECONDS = 10.0
"""How often at most a pod's namespaces are made anew; the first time is at once."""
VOLUME_CHECK_SECONDS = 10.0
"""How often disk emptyDirs with a sizeLimit are measured (the kubelet's housekeeping interval)."""


class PodSupervisor:
    """Runs a pod's init containers in order, then keeps its containers, until it is halted or over.

    `adopted` holds the statuses of containers that a former daemon started, by name, and `sandbox_died` whether what
    held their namespaces is no more.
    """

    def __init__(
        self,
        driver: Driver,
        files: PodFiles,
        publish: Callable[[PodStatus], None],
        adopted: Mapping[str, ContainerStatus] | None = None,
        *,
        sandbox_died: bool = False,
    ) -> None:
        self.spec: PodSpec = driver.pod
        self.driver = driver
        self._files = files
        self._publish = publish
        self._fault = self._fault_message = ""
        self._trouble = ""
        """What was not foreseen and is tried again; the pod is as good as its containers meanwhile."""
        self._ended = False
        self._sandbox_gone = False
        self._next_sandbox = -math.inf
        self._scope = trio.CancelScope()
        self._keeping = trio.CancelScope()
        self._finished = trio.Event()
        known = adopted or {}
        template = self.spec.template
        self._init = [self._keeper(one, Role.INIT, known) for one in template.init_containers]
        self._main = [self._keeper(one, Role.MAIN, known) for one in template.containers]
        if sandbox_died and not self._over:
            self._lose_sandbox()

    def status(self) -> PodStatus:
        """What is known of the pod now."""
        init = tuple(keeper.status for keeper in self._init)
        main = tuple(keeper.status for keeper in self._main)
        # Of a pod that was ended nothing is started again, whatever its policy says.
        policy = RestartPolicy.NEVER if self._ended else self.spec.template.restart_policy
        phase = PodPhase.FAILED if self._fault else pod_phase(policy, init, main)
        began = [status.started_at_ms for status in init + main if status.started_at_ms]
        return PodStatus(
            identity=self.spec.identity,
            phase=phase,
            ready=pod_ready(phase, main),
            containers=main,
            init_containers=init,
            reason=self._fault or ("InternalError" if self._trouble else ""),
            message=self._fault_message or self._trouble,
            pod_ip=self.driver.pod_ip,
            started_at_ms=min(began, default=0),
        )

    def keeper(self, container: str) -> ContainerKeeper:
        """The keeper of one container.

        Raises NoSuchPodError, naming the containers there are.
        """
        for keeper in self._init + self._main:
            if keeper.container.name == container:
                return keeper
        names = ", ".join(keeper.container.name for keeper in self._init + self._main)
        raise NoSuchPodError(f"pod {self.spec.identity.pod_name} has no container {container!r}; it has: {names}")

    async def start(self) -> None:
        """Start what can be started at once: the first init container, or without one every container.

        Raises StartError, RuntimeUnavailableError; the caller then removes the pod.
        """
        for keeper in self._init[:1] or self._main:
            role = Role.INIT if self._init else Role.MAIN
            keeper.running_as(await self.driver.launch(keeper.container, role, 0))

    async def run(self) -> None:
        """Keep the pod until it is over or `halt` is called.

        Raises nothing of its own: whatever goes wrong with one pod is logged, shown in its status and tried again,
        while its containers and all other pods go on.
        """
        try:
            with self._scope:
                over = False
                while not over:
                    over = await self._contained()
        finally:
            self._finished.set()

    async def _contained(self) -> bool:
        """Keep the pod, or end it if it has failed; False, after a while, if something was not foreseen."""
        trouble = ""
        if self._trouble:
            self._trouble = ""
            self._changed()
        try:
            while not self._fault:
                if self._sandbox_gone:
                    await self._begin_again()
                with trio.CancelScope() as self._keeping:
                    await self._keep()
                if not self._sandbox_gone:
                    break
            if self._fault:
                await self._end_failed()
        except* Exception as group:
            log.exception("pod not kept, trying again", pod=self.spec.identity.pod_uid, retry_in=FAULT_RETRY)
            trouble = f"not kept for {FAULT_RETRY:.0f} s, see the log of beemeshd: {_first(group)!r}"
        if trouble:
            self._trouble = trouble
            self._changed()
            await trio.sleep(FAULT_RETRY)
        return not trouble

    async def halt(self) -> None:
        """Stop keeping; containers are left as they are. Returns when no restart can happen any more."""
        self._scope.cancel()
        await self._finished.wait()

    async def end(self, grace_seconds: float) -> None:
        """End every container that runs, all at the same time, for good. For a pod that is halted.

        Raises RuntimeUnavailableError.
        """
        self._ended = True
        await self._end_containers(grace_seconds)

    async def _end_containers(self, grace_seconds: float) -> None:
        failed: list[RuntimeUnavailableError] = []

        async def end_one(keeper: ContainerKeeper) -> None:
            try:
                await self.driver.end(keeper.status.container_id, grace_seconds)
                keeper.note_end(await self.driver.ended(keeper.status.container_id))
            except RuntimeUnavailableError as error:
                failed.append(error)

        async with trio.open_nursery() as nursery:
            for keeper in self._init + self._main:
                if keeper.status.state == "running":
                    nursery.start_soon(end_one, keeper)
        if failed:
            raise failed[0]
        self._changed()

    async def _keep(self) -> None:
        async with trio.open_nursery() as nursery:
            if self._limited():
                nursery.start_soon(self._watch_volumes)
            if self.driver.guard is not None:
                nursery.start_soon(self._watch_guard, self.driver.guard)
            if self.driver.surroundings.sandbox and not self._over:
                nursery.start_soon(self._watch_sandbox)
            await self._keep_containers()
            nursery.cancel_scope.cancel()

    async def _keep_containers(self) -> None:
        for keeper in self._init:
            over = await keeper.keep()
            if over.exit_code != 0:
                return
        async with trio.open_nursery() as nursery:
            for keeper in self._main:
                nursery.start_soon(keeper.keep)

    @property
    def _over(self) -> bool:
        return self.status().phase in (PodPhase.SUCCEEDED, PodPhase.FAILED)

    def _limited(self) -> bool:
        sources = [volume.source for volume in self.spec.template.volumes]
        return any(isinstance(one, EmptyDir) and one.size_limit_bytes and not one.medium_memory for one in sources)

    async def _watch_volumes(self) -> None:
        while True:
            await trio.sleep(VOLUME_CHECK_SECONDS)
            volume = await trio.to_thread.run_sync(self._files.over_limit, self.spec)
            if volume is not None and isinstance(volume.source, EmptyDir):
                break
        limit = volume.source.size_limit_bytes
        self._fail("Evicted", f"emptyDir {volume.name} holds more than its sizeLimit of {limit} bytes")

    async def _watch_sandbox(self) -> None:
        """Containers share what the infra container owns; a restarted one would no longer meet the others."""
        await self.driver.ended(self.driver.surroundings.sandbox_container)
        self._lose_sandbox()

    def _lose_sandbox(self) -> None:
        if self.spec.template.restart_policy is RestartPolicy.NEVER:
            self._fail("SandboxDied", "the container that holds the pod's namespaces ended")
        self._sandbox_gone = True
        self._keeping.cancel()

    async def _begin_again(self) -> None:
        """All containers from the first on, in namespaces made anew: as the kubelet does when a sandbox is gone.

        Tried for ever; meanwhile the pod's status says why it does not run.
        """
        while True:
            await trio.sleep_until(self._next_sandbox)
            self._next_sandbox = trio.current_time() + SANDBOX_SECONDS
            try:
                await self._end_containers(0)
                for keeper in self._init + self._main:
                    # Also of those that ended under an earlier daemon.
                    await self.driver.end_orphans(keeper.status.container_id)
                await self.driver.renew_sandbox()
                break
            except (StartError, RuntimeUnavailableError) as error:
                self._trouble = f"the namespaces of the pod are gone and not made anew yet: {error}"
                self._changed()
        self._trouble = ""
        self._sandbox_gone = False
        for keeper in self._init + self._main:
            keeper.begin_again()

    async def _watch_guard(self, guard: Guard) -> None:
        """Nothing of the pod is left, and nothing may be started again without a new lease."""
        await guard.ended()
        self._fail("LeaseEnded", "the guard of its lease ended, and the kernel ended the pod with it")

    def _fail(self, fault: str, message: str) -> None:
        self._fault, self._fault_message = fault, message
        self._keeping.cancel()

    async def _end_failed(self) -> None:
        """End what still runs of a failed pod, now or when Podman is back."""
        try:
            await trio.to_thread.run_sync(self._files.mark_ended)
        except RuntimeUnavailableError as error:
            log.warning("a later daemon may keep this pod again", pod=self.spec.identity.pod_uid, error=str(error))
        while True:
            try:
                await self.end(0)
                return
            except RuntimeUnavailableError:
                await trio.sleep(UNAVAILABLE_RETRY)

    def _keeper(self, container: Container, role: Role, known: Mapping[str, ContainerStatus]) -> ContainerKeeper:
        template = self.spec.template
        return ContainerKeeper(
            container,
            role,
            template.restart_policy,
            template.termination_grace_seconds,
            self.driver,
            self._changed,
            known.get(container.name),
        )

    def _changed(self) -> None:
        self._publish(self.status())


def _first(error: Exception) -> Exception:
    """What is inside groups of exceptions, where the first of several stands for all."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
