"""The pods of this machine between the decision core, which wants them, and the runtime, which has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

import structlog
import trio

from beemesh_node.daemon.registry import Registry
from beemesh_node.healing.events import Event, PodChanged, PodEnded, PodStartFailed
from beemesh_node.protocol.ids import Uid
from beemesh_node.runtime.config import RuntimeConfig
from beemesh_node.runtime.errors import GuardError, NoSuchPodError, RuntimeUnavailableError, StartError
from beemesh_node.runtime.opening import open_runtime
from beemesh_node.runtime.runtime import Runtime
from beemesh_node.workloads.pod import Container, EnvVar, PodIdentity, PodPhase, PodSpec, PodStatus, PodTemplate

log = structlog.get_logger()

_REOPEN_FIRST, _REOPEN_MOST = 0.5, 15.0
"""Seconds between attempts to reach a Podman that is not there yet."""
_REMOVE_AGAIN = 5.0

LEASE_TERM = "BEEMESH_LEASE_TERM"
"""The variable that tells a leased pod the term of its lease; every later holder of the slot has a greater one."""

Put: TypeAlias = Callable[[Event], Awaitable[None]]


class Pods:
    """Starts and ends pods as they are asked for, and tells what becomes of them."""

    def __init__(self, config: RuntimeConfig, registry: Registry, put: Put) -> None:
        """`put` tells the decision core."""
        self._config = config
        self._registry = registry
        self._put = put
        self._runtime: Runtime | None = None
        self._starting: set[str] = set()
        self._ending: set[str] = set()
        self._deadlines: dict[str, float] = {}
        """Newer ends of leases of pods that are starting."""
        self.fault = "Podman has not answered yet"
        """Why no pod can be started here at all; empty when they can."""

    @property
    def runtime(self) -> Runtime | None:
        """The runtime, once Podman has been reached."""
        return self._runtime

    @property
    def ready(self) -> bool:
        """Whether pods can be started now."""
        return self._runtime is not None and self._runtime.available

    @property
    def reason(self) -> str:
        """Why not, in a sentence."""
        if self._runtime is None:
            return self.fault
        return "" if self._runtime.available else f"Podman at {self._config.socket} stopped answering"

    async def run(self, opened: Callable[[Runtime, tuple[PodStatus, ...]], Awaitable[None]]) -> None:
        """Reach Podman, trying for ever; call `opened` with the pods found there, then tell of every change."""
        delay = _REOPEN_FIRST
        while True:
            try:
                async with open_runtime(self._config) as runtime:
                    await self._serve(runtime, opened)
            except* RuntimeUnavailableError as group:
                self.fault = str(group.exceptions[0])
                log.warning("runtime not available", error=self.fault, retry_in=delay)
            except* Exception as group:
                # Containers go on without the runtime, and the daemon without containers.
                self.fault = f"the runtime stopped ({group.exceptions[0]!r}): see the log of beemeshd"
                log.exception("runtime stopped", retry_in=delay)
            self._runtime = None
            await trio.sleep(delay)
            delay = min(delay * 2, _REOPEN_MOST)

    async def _serve(
        self, runtime: Runtime, opened: Callable[[Runtime, tuple[PodStatus, ...]], Awaitable[None]]
    ) -> None:
        for status in await runtime.list():
            if status.phase is PodPhase.UNKNOWN:
                await self._settle(runtime, status)
        self._runtime, self.fault = runtime, ""
        await opened(runtime, runtime.pods())
        async for status in runtime.changes:
            await self._put(PodChanged(status))

    async def _settle(self, runtime: Runtime, status: PodStatus) -> None:
        """Adopt a pod that nobody keeps, or remove it; one that resists is left for the next daemon."""
        try:
            if not await self._readopted(runtime, status):
                # Half made, ended, or from before a reboot: the core decides anew from its claims.
                await runtime.remove(status.identity)
        except RuntimeUnavailableError:
            raise
        except Exception:
            log.exception("found pod neither adopted nor removed", pod=status.identity.pod_uid)

    async def _readopted(self, runtime: Runtime, status: PodStatus) -> bool:
        """Whether a pod without a readable specification runs on by the one of its record, if that is held here."""
        identity = status.identity
        running = any(one.state == "running" for one in status.containers + status.init_containers)
        spec = self._registry.specification(Uid(identity.uid), identity.revision)
        if status.reason != "SpecLost" or not running or spec is None:
            return False
        try:
            await runtime.adopt(PodSpec(identity, spec.template))
        except (NoSuchPodError, StartError) as error:
            log.warning("pod not adopted, removing it", pod=identity.pod_uid, error=str(error))
            return False
        log.info("pod adopted by its record", pod=identity.pod_uid, revision=identity.revision)
        return True

    async def renew(self, identity: PodIdentity, deadline: float) -> None:
        """Let a leased pod run until `deadline` (CLOCK_BOOTTIME); one that is only starting gets it from its start."""
        if identity.pod_uid in self._starting:
            self._deadlines[identity.pod_uid] = deadline
        if self._runtime is not None:
            try:
                await self._runtime.renew(identity, deadline)
            except NoSuchPodError as error:
                log.debug("lease not handed on", pod=identity.pod_uid, error=str(error))
            except GuardError as error:
                log.warning("guard does not follow its lease", pod=identity.pod_uid, error=str(error))

    async def start(self, identity: PodIdentity, deadline: float | None = None, term: int = 0) -> None:
        """Start a pod from the template of its record; what went wrong becomes an event.

        A leased one has a `deadline` (CLOCK_BOOTTIME) and is told the `term` of its lease.
        """
        if identity.pod_uid in self._ending:
            return  # asked for before its end, though its task came to run after
        runtime = self._runtime
        spec = self._registry.specification(Uid(identity.uid), identity.revision)
        if runtime is None:
            await self._put(PodStartFailed(identity.pod_uid, "NodeNotReady", self.fault, retryable=True))
            return
        if spec is None:
            reason = f"revision {identity.revision} is not held here any more"
            await self._put(PodStartFailed(identity.pod_uid, "RevisionUnknown", reason))
            return
        if identity.pod_uid in self._starting or any(p.identity.pod_uid == identity.pod_uid for p in runtime.pods()):
            return
        self._starting.add(identity.pod_uid)
        try:
            template = spec.template if deadline is None else _with_term(spec.template, term)
            await runtime.start(PodSpec(identity, template, leased=deadline is not None), deadline)
            if (later := self._deadlines.get(identity.pod_uid)) is not None:
                await self.renew(identity, later)
        except StartError as error:
            await self._put(PodStartFailed(identity.pod_uid, error.reason, error.message))
        except NoSuchPodError:
            pass  # it was asked to end while it started; its end is told by `stop`
        except RuntimeUnavailableError as error:
            await self._put(PodStartFailed(identity.pod_uid, "NodeNotReady", str(error), retryable=True))
        except Exception as error:
            log.exception("pod not started", pod=identity.pod_uid)
            message = f"{error!r}: see the log of beemeshd"
            await self._put(PodStartFailed(identity.pod_uid, "InternalError", message))
        finally:
            self._starting.discard(identity.pod_uid)
            self._deadlines.pop(identity.pod_uid, None)

    async def stop(self, identity: PodIdentity, grace: float | None = None) -> None:
        """End a pod within `grace` seconds (None: its own) and remove it, trying until Podman lets it go."""
        self._ending.add(identity.pod_uid)
        told = False
        while True:
            runtime = self._runtime
            if runtime is not None:
                try:
                    await runtime.stop(identity, grace)
                except NoSuchPodError:
                    pass  # nothing to end; what may be left of it is removed all the same
                except RuntimeUnavailableError as error:
                    log.warning("pod not ended yet", pod=identity.pod_uid, error=str(error))
                except Exception:
                    log.exception("pod not ended yet", pod=identity.pod_uid)
                try:
                    await runtime.remove(identity)
                except RuntimeUnavailableError as error:
                    log.warning("pod not removed yet", pod=identity.pod_uid, error=str(error))
                    if not told and runtime.over(identity):
                        # Its lease need not wait for Podman: what the kernel has ended does not come back.
                        told = True
                        await self._put(PodEnded(identity.pod_uid))
                except Exception:
                    log.exception("pod not removed yet", pod=identity.pod_uid)
                else:
                    break
            await trio.sleep(_REMOVE_AGAIN)
        self._ending.discard(identity.pod_uid)
        if not told:
            await self._put(PodEnded(identity.pod_uid))


def _with_term(template: PodTemplate, term: int) -> PodTemplate:
    """The template, told the term of its lease: storage that must never see two writers takes the greater one."""
    told = EnvVar(LEASE_TERM, str(term))

    def tell(containers: tuple[Container, ...]) -> tuple[Container, ...]:
        return tuple(replace(each, env=(*(e for e in each.env if e.name != LEASE_TERM), told)) for each in containers)

    return replace(template, containers=tell(template.containers), init_containers=tell(template.init_containers))
