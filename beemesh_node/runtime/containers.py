"""Single containers: what they are doing, waiting for their end, ending them.

A death is seen through a pidfd, which tells at once; Podman's own event takes 60 to 290 ms longer (measured with Podman
4.3, whose file of events is polled). Events are the fallback where the process is not visible from here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import suppress

import trio

from beemesh_node.runtime.cgroups import out_of_memory
from beemesh_node.runtime.errors import PodmanRefusedError, RuntimeUnavailableError
from beemesh_node.runtime.inspection import (
    UNKNOWN,
    Ended,
    Inspection,
    ended,
    ended_unheard,
    read_inspection,
)
from beemesh_node.runtime.podman_api import PodmanApi
from beemesh_node.runtime.processes import process_end
from beemesh_node.runtime.unmonitored import is_corpse

RESYNC_SECONDS = 30.0
"""How often a container is looked at although nothing was heard of it."""
KILL_SECONDS = 30.0
"""How long a process may take to vanish after SIGKILL: one that waits for a disk cannot until it has it."""
SILENCE_SECONDS = 1.0
"""How long Podman may take to tell of a container, before it is asked whether its process runs without Podman."""
_FIRST_LOOK = 0.003
_LONGEST_LOOK = 0.5
_RETRY_SECONDS = 0.5


class Wakeups:
    """Lets the events of Podman wake those who wait for a container's end."""

    def __init__(self) -> None:
        self._events: dict[str, trio.Event] = {}

    def event(self, container_id: str) -> trio.Event:
        """Set at the next wake-up of this container."""
        return self._events.setdefault(container_id, trio.Event())

    def wake(self, container_id: str) -> None:
        """Something happened to a container."""
        if (event := self._events.pop(container_id, None)) is not None:
            event.set()

    def wake_all(self) -> None:
        """Something may have happened to any."""
        for container_id in tuple(self._events):
            self.wake(container_id)


class Containers:
    """The containers behind one socket."""

    def __init__(self, api: PodmanApi, wakeups: Wakeups, network: str) -> None:
        self._api = api
        self._wakeups = wakeups
        self._network = network

    async def inspect(self, container_id: str) -> Inspection | None:
        """What Podman says of a container, None if it has no such one.

        Raises RuntimeUnavailableError.
        """
        try:
            return read_inspection(await self._api.get(f"/containers/{container_id}/json"), self._network)
        except PodmanRefusedError as error:
            if error.status == 404:
                return None
            raise RuntimeUnavailableError.at(self._api.socket, f"container {container_id}: {error}") from error
        except ValueError as error:
            raise RuntimeUnavailableError.at(self._api.socket, str(error)) from error

    async def ended(self, container_id: str, unheard: Callable[[], None] | None = None) -> Ended:
        """Wait until a container's main process has ended; how it did.

        Waits through a Podman that is gone: containers run on without it, and how they ended is told when it is back.
        `unheard` is called if that takes long although the process has surely ended.
        """
        look = _FIRST_LOOK
        pid, starved, gone = 0, False, False
        while True:
            try:
                found = await self._look(container_id, math.inf if not pid else SILENCE_SECONDS)
            except RuntimeUnavailableError:
                if gone and unheard is not None:
                    unheard()
                if gone or not pid:
                    await trio.sleep(_RETRY_SECONDS)
                else:
                    gone = await self._hint(container_id, pid)
                continue
            if found is None:
                return Ended(137, UNKNOWN, message="removed by somebody else", removed=True)
            if not found.running:
                self._wakeups.wake(container_id)  # Whoever else waits for it.
                return ended(found, starved)
            pid = found.pid
            gone = await self._hint(container_id, pid)
            if gone:
                if look >= _LONGEST_LOOK and is_corpse(found, self._api.socket):
                    return ended_unheard(found)
                starved = starved or out_of_memory(found.cgroup_path)
                # The process is gone, and Podman learns of it within milliseconds from conmon.
                await trio.sleep(look)
                look = min(look * 1.5, _LONGEST_LOOK)

    async def settle(self, container: str) -> None:
        """Have Podman stop a container whose process is gone, if it says that it runs."""
        with suppress(PodmanRefusedError, RuntimeUnavailableError):  # it goes with the pod
            await self._api.post(f"/containers/{container}/stop", params={"timeout": "0"})

    async def _look(self, container_id: str, seconds: float) -> Inspection | None:
        try:
            with trio.fail_after(seconds):
                return await self.inspect(container_id)
        except trio.TooSlowError:
            raise RuntimeUnavailableError.at(self._api.socket, "no answer in time") from None

    async def end(self, container_id: str, grace_seconds: float) -> None:
        """Ask a container to end by its image's stop signal (else SIGTERM), and after the grace by SIGKILL.

        Returns when it has ended. Raises RuntimeUnavailableError, also if it does not end by SIGKILL.
        """
        found = await self.inspect(container_id)
        if found is None or not found.running:
            return
        if grace_seconds > 0:
            await self._signal(container_id, found.stop_signal)
            with trio.move_on_after(grace_seconds):
                await self.ended(container_id)
                return
        await self._signal(container_id, "SIGKILL")
        with trio.move_on_after(KILL_SECONDS):
            await self.ended(container_id)
            return
        raise RuntimeUnavailableError.at(
            self._api.socket, f"container {container_id} has not ended {KILL_SECONDS:.0f} s after SIGKILL"
        )

    async def end_all(self, container_ids: Iterable[str], grace_seconds: float) -> None:
        """End containers, all at the same time, each as `end` does.

        Raises RuntimeUnavailableError for the first that could not be ended, after all others were.
        """
        failed: list[RuntimeUnavailableError] = []

        async def end_one(container_id: str) -> None:
            try:
                await self.end(container_id, grace_seconds)
            except RuntimeUnavailableError as error:
                failed.append(error)

        async with trio.open_nursery() as nursery:
            for container_id in container_ids:
                nursery.start_soon(end_one, container_id)
        if failed:
            raise failed[0]

    async def _signal(self, container_id: str, name: str) -> None:
        try:
            await self._api.post(f"/containers/{container_id}/kill", params={"signal": name})
        except PodmanRefusedError as error:
            if error.status not in (404, 409, 500):
                raise RuntimeUnavailableError.at(
                    self._api.socket, f"container {container_id} takes no {name} ({error})"
                ) from error
            # It ended by itself meanwhile; `ended` tells.

    async def _hint(self, container_id: str, pid: int) -> bool:
        """Wait until the container may have ended; True when its process surely has."""
        event = self._wakeups.event(container_id)
        gone = False
        with trio.move_on_after(RESYNC_SECONDS):
            async with trio.open_nursery() as nursery:

                async def by_process() -> None:
                    nonlocal gone
                    gone = await process_end(pid)
                    if gone:
                        nursery.cancel_scope.cancel()

                nursery.start_soon(by_process)
                await event.wait()
                nursery.cancel_scope.cancel()
        return gone
