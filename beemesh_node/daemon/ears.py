"""Hears those whom this machine watches, and asks others about them: the watcher's side of the streams of beats."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog
import trio

from beemesh_node.membership.detection import Closed, DetectionEvent, Opened, Redialled, Vouched
from beemesh_node.membership.hearing import ASK_WITHIN, LINGER, OPEN_WITHIN, Retry, Way
from beemesh_node.messaging.beat_stream import BEATS, BeatStream, begin
from beemesh_node.messaging.directory import Contact
from beemesh_node.messaging.errors import MeshError, MeshUnreachable
from beemesh_node.messaging.local import LocalMember
from beemesh_node.network.api import ConnectionLost, Host, NetworkError
from beemesh_node.protocol.beats import ID_SIZE, REFUSALS, Beat, LastHeard, Watching, WhenHeard
from beemesh_node.protocol.counters import Refusal
from beemesh_node.protocol.ids import MachineId

log = structlog.get_logger()

_REDIAL_WITHIN = 0.25

_BROKEN = (NetworkError, MeshError, trio.TooSlowError, *REFUSALS)

Tell: TypeAlias = Callable[[DetectionEvent], object]
Heard: TypeAlias = Callable[[MachineId, float], None]
"""Takes in that a machine was heard, and when."""
Addresses: TypeAlias = Callable[[MachineId], tuple[str, ...]]
"""Tells where a machine can be dialled."""


@dataclass(eq=False, slots=True)
class _Ear:
    """A stream on which a machine's beats are awaited."""

    machine: MachineId
    stream: BeatStream
    opening: trio.CancelScope
    """Bounds the time until the first beat."""
    way: Way = field(default_factory=Way)
    until: float = math.inf
    """When datagrams of it are no longer heard: some time after the stream was lost."""


class Ears:
    """A stream to each machine that is watched. `tell` and `heard` bring what happens to the detector."""

    def __init__(
        self, host: Host, member: LocalMember, addresses: Addresses, tell: Tell, heard: Heard, nursery: trio.Nursery
    ) -> None:
        """`nursery` owns the streams."""
        self._host, self._member, self._addresses = host, member, addresses
        self._tell, self._heard = tell, heard
        self._nursery = nursery
        self._open: dict[MachineId, _Ear] = {}
        self._by_id: dict[bytes, _Ear] = {}
        self._watching: dict[MachineId, trio.CancelScope] = {}
        self._numbers = itertools.count(1)
        self._asked: dict[int, MachineId] = {}
        self.counts: Counter[str] = Counter()
        """Beats heard, questions asked, and how often it was looked whether anybody listens."""
        host.on_datagram(self._datagram)

    @property
    def open(self) -> int:
        """How many machines are heard."""
        return len(self._open)

    @property
    def by_datagram(self) -> int:
        """How many of these are heard without their stream."""
        return sum(not ear.way.on_stream for ear in self._open.values())

    def watch(self, machine: MachineId) -> None:
        """Keep a stream to a machine open until `unwatch`; `Opened` and `Closed` are told."""
        scope = self._watching[machine] = trio.CancelScope()
        self._nursery.start_soon(self._watch, machine, scope)

    def unwatch(self, machine: MachineId) -> None:
        """Close the stream."""
        self._watching.pop(machine).cancel()
        self._open.pop(machine, None)
        # Until the task that is cancelled comes to know of it, beats may still come.
        self._by_id = {number: ear for number, ear in self._by_id.items() if ear.machine != machine}

    def redial(self, machine: MachineId) -> None:
        """Look whether anybody listens where a machine was; `Redialled` is told."""
        self.counts["redials"] += 1
        self._nursery.start_soon(self._redial, machine)

    def ask(self, machine: MachineId, fellow: MachineId) -> None:
        """Ask another watcher about a machine, and the machine itself to beat on its stream; `Vouched` may be told."""
        self.counts["questions"] += 1
        self._want_on_stream(machine, True)
        self._nursery.start_soon(self._ask, machine, fellow)

    # ---- inside

    async def _watch(self, machine: MachineId, scope: trio.CancelScope) -> None:
        retry = Retry()
        with scope:
            while True:
                try:
                    await self._listen(machine)
                except _BROKEN as error:
                    log.debug("stream of beats is lost", machine=machine, error=str(error))
                if self._open.pop(machine, None) is not None:
                    retry.opened()
                self._tell(Closed(machine))
                await trio.sleep(retry.wait())

    async def _redial(self, machine: MachineId) -> None:
        contact = self._member.contacts.by_machine(machine)
        refused = False
        if contact is not None:
            refused = await self._host.refuses(contact.peer, self._addresses(machine), _REDIAL_WITHIN)
        self._tell(Redialled(machine, refused))

    async def _listen(self, machine: MachineId) -> None:
        """Hear the beats of a machine until the stream is lost. Raises what `_BROKEN` names."""
        contact = self._contact(machine)
        self._forget_lost()
        with trio.fail_after(OPEN_WITHIN) as opening:
            await self._host.connect(contact.peer, self._addresses(machine))
            async with self._host.open(contact.peer, BEATS) as frames:
                stream = await begin(frames, self._member.counters)
                ear = self._by_id[stream.id] = _Ear(machine, stream, opening)
                try:
                    await stream.send(Watching(self._host.datagram_port, on_stream=True))
                    while True:
                        said = await stream.receive()
                        if isinstance(said, Beat):
                            self._beat_of(ear)
                        else:
                            self._answered(said)
                except ConnectionLost:
                    if machine in self._open:
                        ear.until = trio.current_time() + LINGER
                    raise
                finally:
                    if ear.until == math.inf:
                        self._by_id.pop(stream.id, None)

    def _forget_lost(self) -> None:
        now = trio.current_time()
        self._by_id = {number: ear for number, ear in self._by_id.items() if ear.until > now}

    def _beat_of(self, ear: _Ear) -> None:
        if ear.stream.id not in self._by_id:
            return
        self.counts["beats.heard"] += 1
        if ear.machine in self._open or ear.until < math.inf:
            self._heard(ear.machine, trio.current_time())
        else:
            ear.opening.deadline = math.inf
            self._open[ear.machine] = ear
            self._tell(Opened(ear.machine))

    def _datagram(self, data: bytes) -> None:
        ear = self._by_id.get(data[:ID_SIZE])
        if ear is None or ear.until <= trio.current_time():
            self._member.counters.count(Refusal.DATAGRAM_UNKNOWN)
        elif ear.stream.is_beat(data):
            self._beat_of(ear)
            if ear.until == math.inf and ear.way.came_by_datagram():
                self._want_on_stream(ear.machine, False)

    def _want_on_stream(self, machine: MachineId, on_stream: bool) -> None:
        """Have a machine beat on the stream too, or not; who is asked to, beats there at once."""
        ear = self._open.get(machine)
        if ear is not None and ear.way.choose(on_stream):
            self._nursery.start_soon(self._say, ear, Watching(self._host.datagram_port, on_stream))

    async def _say(self, ear: _Ear, said: Watching) -> None:
        with suppress(*_BROKEN), trio.move_on_after(ASK_WITHIN):  # whoever reads the stream finds out
            await ear.stream.send(said)

    async def _ask(self, machine: MachineId, fellow: MachineId) -> None:
        """Ask another watcher about a machine; no answer is an answer too."""
        number = next(self._numbers) & 0xFFFFFFFF
        self._asked[number] = machine
        question = WhenHeard(number, machine)
        try:
            with trio.fail_after(ASK_WITHIN):
                ear = self._open.get(fellow)
                if ear is not None:
                    await ear.stream.send(question)
                    await trio.sleep(ASK_WITHIN)
                    return
                async with self._host.open(self._contact(fellow).peer, BEATS) as frames:
                    stream = await begin(frames, self._member.counters)
                    await stream.send(question)
                    self._answered(await stream.receive())
        except _BROKEN as error:
            log.debug("no second opinion", machine=machine, fellow=fellow, error=str(error))
        finally:
            self._asked.pop(number, None)

    def _answered(self, said: object) -> None:
        if not isinstance(said, LastHeard):
            self._member.counters.count(Refusal.FRAME_NOT_EXPECTED)
            return
        machine = self._asked.pop(said.number, None)  # None: it comes too late to be of use
        if machine is not None and said.age_ms is not None:
            self._tell(Vouched(machine, said.age_ms / 1000))

    def _contact(self, machine: MachineId) -> Contact:
        contact = self._member.contacts.by_machine(machine)
        if contact is None:
            raise MeshUnreachable(f"machine {machine} has not been met yet")
        return contact
