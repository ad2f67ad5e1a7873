"""Keeping one container of a pod alive: its restarts and its probes, as Kubernetes' kubelet does. No Podman here."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import trio

from beemesh_node.runtime.backoff import CrashLoopBackOff, restarts
from beemesh_node.runtime.errors import RuntimeUnavailableError, StartError
from beemesh_node.runtime.inspection import UNKNOWN, Ended, Inspection
from beemesh_node.runtime.labels import Role
from beemesh_node.runtime.probing import Ask, run_probe
from beemesh_node.workloads.pod import RUNTIME_UNAVAILABLE, Container, ContainerStatus, Probe, RestartPolicy

UNAVAILABLE_RETRY = 1.0
"""Seconds between tries to start a container while Podman does not answer."""
REMOVAL_SECONDS = 5.0
"""How long somebody who removes a container may take between its death and the removal."""
REMOVAL_LOOK = 0.25


class ContainerDriver(Protocol):
    """What a keeper needs done; `driver.Driver` does it by Podman."""

    async def launch(self, container: Container, role: Role, restart: int) -> str:
        """Start one life; its id. Raises StartError, RuntimeUnavailableError."""

    async def prune(self, container: Container, restart: int) -> None:
        """Remove the life before the last."""

    async def settle(self, container: Container, restart: int) -> None:
        """Have a life counted as over of whose end nobody told."""

    async def inspect(self, container_id: str) -> Inspection | None:
        """What is known of one life. Raises RuntimeUnavailableError."""

    async def ended(self, container_id: str, unheard: Callable[[], None] | None = None) -> Ended:
        """Wait for the end of one life. `unheard`: it has ended, but it will take a while until it is known how."""

    async def end(self, container_id: str, grace_seconds: float) -> None:
        """End one life. Raises RuntimeUnavailableError."""

    async def probe(self, container_id: str, probe: Probe) -> bool | None:
        """Ask once, within the probe's timeout. None if there was nobody to ask."""


class ContainerKeeper:
    """One container of one pod. `status` is always current; `changed` is called after each change of it."""

    def __init__(
        self,
        container: Container,
        role: Role,
        policy: RestartPolicy,
        grace_seconds: float,
        driver: ContainerDriver,
        changed: Callable[[], None],
        status: ContainerStatus | None = None,
    ) -> None:
        self.container = container
        self._role = role
        # An init container that has succeeded is over, whatever the pod's policy is.
        self._policy = RestartPolicy.ON_FAILURE if role is Role.INIT and policy is RestartPolicy.ALWAYS else policy
        self._grace = grace_seconds
        self._driver = driver
        self._changed = changed
        self.status = status or ContainerStatus(container.name, container.image, reason="ContainerCreating")
        self._adopted = self.status.state == "running"
        if self._adopted:
            self.status = self._unprobed(self.status)
        self._found = self.status
        self._backoff = CrashLoopBackOff(self.status.restart_count)
        self._restart_now = trio.Event()
        self._over: Ended | None = None
        self._condemned = ""

    def running_as(self, container_id: str) -> None:
        """Take over a container that was just started."""
        self._adopted = False
        self.status = self._unprobed(self.status)
        self._update(
            state="running",
            reason="",
            message="",
            container_id=container_id,
            started_at_ms=int(time.time() * 1000),
            finished_at_ms=0,
            exit_code=0,
        )

    def restart(self) -> None:
        """End the present life and begin the next one at once, whatever the policy and the back-off say."""
        self._restart_now.set()

    def begin_again(self) -> None:
        """Have `keep` start a new life, because what the last one lived in is gone; not of what ended as it should."""
        ended = self.status
        if ended.state == "terminated" and ended is self._found:
            # Under an earlier daemon, so that `keep` has not seen it.
            if ended.exit_code == 0 and self._role is not Role.INIT and not restarts(self._policy, 0):
                self._over = Ended(0, ended.reason, ended.started_at_ms, ended.finished_at_ms)
                return
            self._update(
                last_exit_code=ended.exit_code,
                last_reason=ended.reason,
                last_message=ended.message,
                last_finished_at_ms=ended.finished_at_ms,
            )
        elif self._over is not None and self._over.exit_code == 0 and self._role is not Role.INIT:
            return
        self._over = None
        self._update(
            state="waiting",
            reason="ContainerCreating",
            message="",
            ready=False,
            started=False,
            restart_count=self.status.restart_count + bool(ended.container_id),
        )

    async def keep(self) -> Ended:
        """Run the container until it has ended for good; how it did."""
        if self._over is not None:
            return self._over
        if self.status.state == "waiting":
            await self._launch(0)
        while True:
            began = trio.current_time()
            over = await self._live(self.status.container_id)
            asked = self._restart_now.is_set()
            self._restart_now = trio.Event()
            again = asked or restarts(self._policy, over.exit_code)
            self.note_end(over)
            if not again:
                self._over = over
                return over
            # Podman's own times tell more when the container ran, or ended, under an earlier daemon.
            ran_for = max(trio.current_time() - began, (over.finished_at_ms - over.started_at_ms) / 1000)
            delay = 0.0 if asked or over.removed else self._backoff.next_delay(ran_for)
            await self._launch(delay, over)

    async def _launch(self, delay: float, over: Ended | None = None) -> None:
        """Begin the next life after a delay, and go on trying until it runs."""
        restart = self.status.restart_count + (1 if over else 0)
        reason = "CrashLoopBackOff"
        message = f"restarting failed container {self.container.name}"
        dead = self.status.container_id if over is not None else ""
        while True:
            if delay:
                self._update(state="waiting", reason=reason, message=f"back-off {delay:.0f} s: {message}")
                await self._back_off(delay, dead)
                dead = ""  # That it is gone by now is no reason to hurry a start that fails.
            try:
                container_id = await self._driver.launch(self.container, self._role, restart)
            except StartError as error:
                reason, message = error.reason, error.message
                delay = self._backoff.next_delay(0)
            except RuntimeUnavailableError as error:
                reason, message = RUNTIME_UNAVAILABLE, str(error)
                delay = UNAVAILABLE_RETRY
            else:
                self.status = replace(self.status, restart_count=restart)
                self.running_as(container_id)
                return

    async def _back_off(self, seconds: float, container_id: str) -> None:
        """Wait, unless told to restart now, or the container did not crash after all but is being removed."""
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + seconds
            nursery.start_soon(self._notice_removal, container_id, nursery.cancel_scope)
            await self._restart_now.wait()
            self._restart_now = trio.Event()
            nursery.cancel_scope.cancel()

    async def _notice_removal(self, container_id: str, waiting: trio.CancelScope) -> None:
        """End the wait if a container is removed right after its death: `podman rm -f` kills first, then removes."""
        with trio.move_on_after(REMOVAL_SECONDS):
            while container_id:
                with suppress(RuntimeUnavailableError):
                    if await self._driver.inspect(container_id) is None:
                        waiting.cancel()
                        return
                await trio.sleep(REMOVAL_LOOK)

    async def _live(self, container_id: str) -> Ended:
        self._condemned = ""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._complete_status, container_id)
            nursery.start_soon(self._probe, container_id)
            nursery.start_soon(self._end_when_asked, container_id)
            over = await self._driver.ended(container_id, self._unheard)
            nursery.cancel_scope.cancel()
        return replace(over, message=self._condemned or over.message)

    async def _complete_status(self, container_id: str) -> None:
        """Learn what a start does not tell, and tidy up: neither may delay the start itself."""
        try:
            found = await self._driver.inspect(container_id)
        except RuntimeUnavailableError:
            return
        if found is not None:
            self._update(started_at_ms=found.started_at_ms, image_id=found.image_id)
        if self.status.last_reason == UNKNOWN:
            await self._driver.settle(self.container, self.status.restart_count - 1)
        await self._driver.prune(self.container, self.status.restart_count)

    def _unheard(self) -> None:
        """Its program ended, and Podman, which would start the next, does not answer."""
        if self.status.reason != RUNTIME_UNAVAILABLE:
            self._update(
                ready=False, reason=RUNTIME_UNAVAILABLE, message="its program has ended, and Podman does not answer"
            )

    def _unprobed(self, status: ContainerStatus) -> ContainerStatus:
        """A running container's status before any probe has answered."""
        started = self.container.startup_probe is None
        return replace(status, started=started, ready=started and self.container.readiness_probe is None)

    async def _end_when_asked(self, container_id: str) -> None:
        await self._restart_now.wait()
        await self._end(container_id)

    async def _probe(self, container_id: str) -> None:
        """Startup first; then liveness and readiness side by side."""
        container = self.container

        async def ask(probe: Probe) -> bool | None:
            return await self._driver.probe(container_id, probe)

        def begun(probe: Probe) -> Probe:
            # A container that an earlier daemon started has had its initial delay.
            return replace(probe, initial_delay_seconds=0) if self._adopted else probe

        if container.startup_probe and not self.status.started:
            if not await run_probe(begun(container.startup_probe), ask, until_success=True):
                self._condemned = "its startup probe failed"
                await self._end(container_id)
                return
            self._update(started=True, ready=container.readiness_probe is None)
        async with trio.open_nursery() as nursery:
            if container.liveness_probe:
                nursery.start_soon(self._keep_alive, container_id, begun(container.liveness_probe), ask)
            if container.readiness_probe:
                nursery.start_soon(run_probe, begun(container.readiness_probe), ask, self._set_ready)

    async def _keep_alive(self, container_id: str, probe: Probe, ask: Ask) -> None:
        await run_probe(probe, ask, until_failure=True)
        self._condemned = "its liveness probe failed"
        await self._end(container_id)

    def _set_ready(self, ready: bool) -> None:
        if ready != self.status.ready:
            self._update(ready=ready)

    async def _end(self, container_id: str) -> None:
        """End a life; a Podman that is gone is asked again until the container has ended."""
        while True:
            try:
                await self._driver.end(container_id, self._grace)
                return
            except RuntimeUnavailableError:
                await trio.sleep(UNAVAILABLE_RETRY)

    def note_end(self, over: Ended) -> None:
        """Take down how a life ended."""
        self._update(
            state="terminated",
            ready=False,
            started=False,
            reason=over.reason,
            message=over.message,
            exit_code=over.exit_code,
            started_at_ms=over.started_at_ms,
            finished_at_ms=over.finished_at_ms,
            last_exit_code=over.exit_code,
            last_reason=over.reason,
            last_message=over.message,
            last_finished_at_ms=over.finished_at_ms,
        )

    def _update(self, **fields: object) -> None:
        self.status = replace(self.status, **fields)  # type: ignore[arg-type]
        self._changed()
