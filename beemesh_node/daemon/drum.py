"""Beats for those who watch this machine, and answers what they ask: the side that is watched."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import structlog
import trio

from beemesh_node.membership.hearing import LINGER, Rhythm
from beemesh_node.messaging.beat_stream import BEATS, BeatStream, accept
from beemesh_node.messaging.directory import Contact
from beemesh_node.network.api import ConnectionLost, FrameStream, Host, NetworkError
from beemesh_node.protocol.beats import REFUSALS, Beat, LastHeard, Watching, WhenHeard
from beemesh_node.protocol.certificate import Role
from beemesh_node.protocol.counters import Refusal, RefusalCounters
from beemesh_node.protocol.ids import MachineId

log = structlog.get_logger()

_STREAMS = 64
"""Streams of beats at most …"""
_STREAMS_PER_MACHINE = 4
"""… and of one machine: one to watch, one of a lost connection, the others to ask on."""

Silence: TypeAlias = Callable[[MachineId, float], float | None]
"""Tells how many seconds ago a machine was heard here, given what time it is."""


@dataclass(eq=False, slots=True)
class _Watcher:
    """A stream that another machine opened."""

    machine: MachineId
    stream: BeatStream
    port: int = 0
    """To which its beats go as datagrams; 0 if to none."""
    on_stream: bool = False
    sending: bool = False
    """Whether a beat waits to be taken by the stream: then there is no use in another one."""
    until: float = math.inf
    """When its beats end: some time after the stream was lost."""


class Drum:
    """All who watch this machine, and one timer for all of them."""

    def __init__(self, host: Host, counters: RefusalCounters, silence: Silence) -> None:
        self.sent: Counter[str] = Counter()
        """Beats by how they went: `datagram` or `stream`."""
        self._host = host
        self._counters = counters
        self._silence = silence
        self._served: Counter[MachineId] = Counter()
        self._watchers: dict[int, _Watcher] = {}
        self._numbers = itertools.count()
        self._sooner = trio.Event()
        host.serve(BEATS, self._serve)

    async def run(self) -> None:
        """Beat for ever."""
        async with trio.open_nursery() as nursery:
            rhythm = Rhythm(trio.current_time())
            while True:
                now = trio.current_time()
                self._watchers = {number: each for number, each in self._watchers.items() if each.until > now}
                for watcher in self._watchers.values():
                    if watcher.port:
                        self.sent["datagram"] += 1
                        self._host.send_datagram(watcher.stream.peer, watcher.port, watcher.stream.datagram())
                    if watcher.on_stream and not watcher.sending:
                        watcher.sending = True
                        nursery.start_soon(self._beat, watcher)
                self._sooner = trio.Event()
                with trio.move_on_at(rhythm.beaten(now)):
                    await self._sooner.wait()
                    rhythm.hurry(trio.current_time())

    async def _beat(self, watcher: _Watcher) -> None:
        try:
            await watcher.stream.send(Beat())
            self.sent["stream"] += 1
        except NetworkError:
            watcher.on_stream = False  # who reads the stream finds out, and ends it
        watcher.sending = False

    async def _serve(self, frames: FrameStream, admission: object) -> None:
        if (
            not isinstance(admission, Contact)
            or admission.certificate.role is not Role.MACHINE
            or self._served[admission.machine] >= _STREAMS_PER_MACHINE
            or self._served.total() >= _STREAMS
        ):
            self._counters.count(Refusal.STREAM_NOT_ALLOWED)
            await frames.reset()
            return
        machine = admission.machine
        self._served[machine] += 1
        try:
            await self._attend(machine, await accept(frames, self._counters))
        except REFUSALS as error:
            log.info("stream of beats is closed", machine=machine, error=str(error))
            await frames.reset()
        finally:
            self._served[machine] -= 1
            if not self._served[machine]:
                del self._served[machine]

    async def _attend(self, machine: MachineId, stream: BeatStream) -> None:
        """Hear what a watcher wants until its stream is lost. Raises `NetworkError` and `REFUSALS`.

        Who did not end the stream itself hears datagrams for a while yet, and opens another one meanwhile.
        """
        number, watcher = next(self._numbers), _Watcher(machine, stream)
        lost = False
        try:
            while True:
                said = await stream.receive()
                if isinstance(said, WhenHeard):
                    silence = self._silence(said.machine, trio.current_time())
                    await stream.send(LastHeard(said.number, None if silence is None else round(silence * 1000)))
                elif isinstance(said, Watching):
                    watcher.port, watcher.on_stream = said.port, said.on_stream
                    self._drop_lost(machine)
                    self._watchers[number] = watcher
                    if said.on_stream:
                        self._sooner.set()
                else:
                    self._counters.count(Refusal.FRAME_NOT_EXPECTED)
        except ConnectionLost:
            lost = True
            raise
        finally:
            if lost:
                watcher.on_stream, watcher.until = False, trio.current_time() + LINGER
            else:
                self._watchers.pop(number, None)

    def _drop_lost(self, machine: MachineId) -> None:
        """Beat no more for lost streams of a machine: there is another one."""
        for number, watcher in tuple(self._watchers.items()):
            if watcher.machine == machine and watcher.until < math.inf:
                del self._watchers[number]
