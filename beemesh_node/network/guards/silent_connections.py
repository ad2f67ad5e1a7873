"""Silence is never noticed: a connection to a machine that lost power stays up until TCP gives up, many minutes later.

Guarded by a keepalive of Yamux pings, in the place of the library's own pings, which only measure. (The library's
health monitor is no alternative: it keeps data of closed connections and dials replacements by rules of its own.)
A peer is asked twice, because one of us may have stood still in between, and because a connection that is closed
wrongly costs most when there is least to spend: both sides have to agree on keys anew.
"""

from typing import Any

import trio

from beemesh_node.network.guards import Guard
from beemesh_node.network.library import BaseLibp2pError, yamux

_ERRORS = (BaseLibp2pError, OSError, trio.BrokenResourceError, trio.ClosedResourceError)


class Keepalive:
    """Overrides `Yamux`."""

    keepalive_interval = 5.0
    keepalive_timeout = 3.0
    """For each of the two questions."""
    event_shutting_down: trio.Event
    _ping_event: trio.Event
    _ping_id: int
    _ping_sent_time: float
    contained: Any

    async def answers(self, timeout: float) -> bool:
        """Whether the peer answers a ping within `timeout` seconds."""
        self._ping_id = (self._ping_id + 1) & 0xFFFFFFFF
        if self._ping_event.is_set():
            self._ping_event = trio.Event()
        self._ping_sent_time = trio.current_time()
        header = (yamux.YAMUX_HEADER_FORMAT, 0, yamux.TYPE_PING, yamux.FLAG_SYN, 0, self._ping_id)
        with trio.move_on_after(timeout):
            await self._write_frame(yamux.struct.pack(*header))  # type: ignore[attr-defined]
            await self._ping_event.wait()
            return True
        return False

    async def _measure_rtt_loop(self) -> None:
        try:
            while not self.event_shutting_down.is_set():
                await trio.sleep(self.keepalive_interval)
                if not (await self.answers(self.keepalive_timeout) or await self.answers(self.keepalive_timeout)):
                    self.contained("silent-connections", TimeoutError("no answer to keepalive"))
                    with trio.CancelScope(shield=True):  # closing ends the nursery in which this task runs
                        await self.close()  # type: ignore[attr-defined]
                    return
        except _ERRORS:
            return  # lost already; the reader ends the connection


GUARD = Guard("silent-connections", Keepalive, ("libp2p.stream_muxer.yamux.yamux.Yamux._measure_rtt_loop",))
