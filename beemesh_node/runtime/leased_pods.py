"""The guards of the leased pods that are kept here."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import structlog
import trio

from beemesh_node.runtime.adoption import FoundPod
from beemesh_node.runtime.config import RuntimeConfig
from beemesh_node.runtime.errors import GuardError, NoSuchPodError, PodmanRefusedError, StartError
from beemesh_node.runtime.guard import Guard, Guards, refuse_first_process
from beemesh_node.runtime.images import Images
from beemesh_node.runtime.refusals import create_error
from beemesh_node.workloads.pod import Container, PodIdentity, PodSpec

log = structlog.get_logger()


class LeasedPods:
    """Gives each leased pod its guard. Guards outlive this object; `close` only lets go of them."""

    def __init__(self, config: RuntimeConfig, images: Images) -> None:
        self._images = images
        self._guards = Guards(config.secret_dir / "guards")
        self._held: dict[str, Guard] = {}
        self._over: set[str] = set()

    async def fault(self) -> str:
        """Why no leased pod can run here; empty if they can."""
        return await self._guards.fault()

    async def start(self, spec: PodSpec, deadline: float | None) -> Guard | None:
        """The guard of a pod that is to be started, None if it is not leased.

        Raises StartError for a pod that cannot be guarded, GuardError.
        """
        if not spec.leased:
            return None
        if deadline is None:
            raise StartError(
                "LeaseMissing", f"pod {spec.identity.pod_name} is leased, and no end of its lease was given"
            )
        for container in spec.template.init_containers + spec.template.containers:
            await self._check_program(container)
        uid = spec.identity.pod_uid
        self._held[uid] = await self._guards.start(uid, deadline)
        return self._held[uid]

    def find(self, pod: FoundPod) -> Guard | None:
        """The guard of a pod that is adopted, None if it is not leased. Raises GuardError if it has ended."""
        uid = pod.identity.pod_uid
        if pod.spec is None or not pod.spec.leased:
            return None
        if (guard := self._guards.find(uid)) is None:
            raise GuardError(f"pod {pod.identity.pod_name}: its guard has ended")
        self._held[uid] = guard
        return guard

    def look(self, found: Mapping[str, FoundPod]) -> None:
        """See which of the pods that were found have lost their guard."""
        for uid, pod in found.items():
            if pod.spec is not None and pod.spec.leased and uid not in self._held:
                if (guard := self._guards.find(uid)) is None:
                    pod.unguarded = True
                else:
                    guard.close()

    def guarded(self, pod_uid: str) -> bool:
        """Whether a pod was started with a guard, whatever else is known of it."""
        return self._guards.known(pod_uid)

    async def renew(self, identity: PodIdentity, deadline: float) -> float:
        """Move a pod's end; the end now in force. Needs no Podman.

        Raises NoSuchPodError if no guard of this pod lives, GuardError.
        """
        guard = self._held.get(identity.pod_uid)
        if guard is None or not guard.alive:
            raise NoSuchPodError(f"pod {identity.pod_name} ({identity.pod_uid}) has no guard: its lease has ended")
        return await guard.renew(deadline)

    async def end(self, pod_uid: str) -> None:
        """End a pod's guard, and with it whatever is left of the pod. Idempotent.

        Raises GuardError if something does not end.
        """
        if self._guards.known(pod_uid):
            await self._guards.end(pod_uid)
            self._over.add(pod_uid)
        if (guard := self._held.pop(pod_uid, None)) is not None:
            guard.close()

    def over(self, pod_uid: str) -> bool:
        """Whether a pod that is not removed yet was ended with its guard."""
        return pod_uid in self._over

    def removed(self, pod_uid: str) -> None:
        """Nothing is left of a pod."""
        self._over.discard(pod_uid)

    async def abandon(self, pod_uid: str) -> None:
        """End the guard of a pod whose start failed or was cancelled, whatever else is going on."""
        with trio.CancelScope(shield=True):
            try:
                await self.end(pod_uid)
                self.removed(pod_uid)
            except GuardError as error:
                log.warning("guard left to its deadline", pod=pod_uid, error=str(error))

    async def end_others(self, pod_uids: Collection[str]) -> None:
        """End the guards of all pods but these; one that resists is left to its deadline."""
        try:
            await self._guards.end_others(pod_uids)
        except GuardError as error:
            log.warning("guard left to its deadline", error=str(error))

    def close(self) -> None:
        """Let go of all guards; the pods go on until their deadlines."""
        while self._held:
            self._held.popitem()[1].close()

    async def _check_program(self, container: Container) -> None:
        await self._images.ensure(container)
        try:
            entrypoint, arguments, stop_signal = await self._images.program(container.image)
        except PodmanRefusedError as error:
            raise create_error(f"container {container.name}", error) from error
        # A command of its own also does away with the image's arguments, as in Kubernetes.
        own = container.args or (() if container.command else arguments)
        refuse_first_process(container.name, (*(container.command or entrypoint), *own), stop_signal)
