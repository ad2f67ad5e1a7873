"""Feeds the decision core: one event after the other, its effects performed in order, its timer kept."""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import trio

from beemesh_node.healing.core import Core
from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.effects import Effect, Reply, Said, Token
from beemesh_node.healing.events import Asked, AssignmentOffered, Event, ForecastAsked, Wakeup
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import (
    ClaimQuery,
    ClaimsQuery,
    KeepQuery,
    LeaseQuery,
    LeaseRequest,
    MoveRequest,
    Task,
    VoterProposal,
)

_QUEUE = 4096
"""Events that wait for the core at most; who brings more waits too."""

Question: TypeAlias = (
    Task | ClaimQuery | ClaimsQuery | KeepQuery | MoveRequest | LeaseRequest | LeaseQuery | VoterProposal
)
"""What others ask the core."""
Perform: TypeAlias = Callable[[Sequence[Effect]], Awaitable[None]]


class Decisions:
    """The decision core with its queue and clock. Whoever has news calls `put`; whoever asks calls `answer_to`."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._send, self._receive = trio.open_memory_channel[Event](_QUEUE)
        self._tokens = itertools.count(1)
        self._decided = trio.Event()
        self._waiting: dict[Token, trio.MemorySendChannel[Said]] = {}

    async def put(self, event: Event) -> None:
        """Tell the core something; returns once it is queued, in order."""
        await self._send.send(event)

    async def answer_to(self, sender: MachineId, question: Question) -> object:
        """Put a member's question to the core and wait for its answer; the caller bounds the time."""
        return await self._asked(lambda token: Asked(token, sender, question))

    async def assigned(self, offer: Callable[[Token], AssignmentOffered]) -> object:
        """Put an assignment to the core and wait for its answer; the caller bounds the time."""
        return await self._asked(offer)

    async def forecast(self, declaration: Declaration) -> object:
        """Ask the core where replicas of what is not in force would run; the caller bounds the time."""
        return await self._asked(lambda token: ForecastAsked(token, declaration))

    async def decided(self) -> None:
        """Wait until the core has taken in another event."""
        await self._decided.wait()

    def reply(self, effect: Reply) -> None:
        """Hand an answer of the core to who waits for it; nobody may, if they gave up meanwhile."""
        if (waiting := self._waiting.get(effect.token)) is not None:
            waiting.send_nowait(effect.payload)

    async def run(self, perform: Perform) -> None:
        """Decide, for ever."""
        while True:
            wakeup = self.core.next_wakeup()
            event: Event = Wakeup()
            with trio.move_on_at(math.inf if wakeup is None else wakeup):
                event = await self._receive.receive()
            effects = self.core.handle(event, trio.current_time())
            if effects:
                await perform(effects)
            self._decided.set()
            self._decided = trio.Event()

    async def _asked(self, event: Callable[[Token], Event]) -> object:
        token = Token(next(self._tokens))
        send, receive = trio.open_memory_channel[Said](1)
        self._waiting[token] = send
        try:
            await self.put(event(token))
            return await receive.receive()
        finally:
            del self._waiting[token]
