"""Giving out status changes without ever making a pod wait for a slow reader."""

from __future__ import annotations

import trio

from beemesh_node.workloads.pod import PodStatus


class StatusFeed:
    """Changes go in at any rate; out comes the newest status of each changed pod, in the order of first change.

    So the memory it takes is bounded by the number of pods, not by the reader's speed.
    """

    def __init__(self) -> None:
        self._changed: dict[str, PodStatus] = {}
        self._some = trio.Event()
        self._send, self.receive = trio.open_memory_channel[PodStatus](0)

    def put(self, status: PodStatus) -> None:
        """A pod has changed."""
        self._changed[status.identity.pod_uid] = status
        self._some.set()

    async def pump(self) -> None:
        """Hand out changes for ever."""
        with self._send:
            while True:
                await self._some.wait()
                self._some = trio.Event()
                while self._changed:
                    uid = next(iter(self._changed))
                    await self._send.send(self._changed.pop(uid))
