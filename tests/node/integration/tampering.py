"""A member that runs modified code: `beemeshd`, but what it relays is written down and tampered with.

`python -m tests.node.integration.tampering run --config FILE` with BEEMESH_TAMPER naming a directory. There `order`
says what to do with what is relayed, and `tape` is all that was given to it, so that both can be used from outside.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path

import trio

from beemesh_node.daemon.main import cli
from beemesh_node.messaging import exchange
from beemesh_node.messaging.directory import Contact
from beemesh_node.messaging.exchange import Exchange, Question
from beemesh_node.messaging.wire import MESSAGE
from beemesh_node.network.api import FrameStream, NetworkError, StreamEnded
from beemesh_node.protocol.errors import MalformedError
from beemesh_node.protocol.header import parse_header
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Ack

DIRECTORY = "BEEMESH_TAMPER"

Pass = Callable[[bytes], Awaitable[None]]


class Relayed:
    """One relayed stream: who asked, and the ways on."""

    def __init__(self, door: Exchange, asker: Contact, target: Contact, left: FrameStream, right: FrameStream) -> None:
        self.door, self.asker, self.target = door, asker, target
        self.left, self.right = left, right
        self.trick = ""
        self.held: bytes | None = None


class Tamperer:
    """Takes the place of `pipe`."""

    def __init__(self, directory: Path) -> None:
        self._order, self._tape = directory / "order", directory / "tape"
        self._question: ContextVar[tuple[Exchange, Question]] = ContextVar("question")
        self._waiting: tuple[trio.Event, list[bytes]] | None = None

    def install(self) -> None:
        """Make this process dishonest."""
        honest = Exchange._relay

        async def relay(door: Exchange, stream: FrameStream, question: Question) -> None:
            self._question.set((door, question))
            await honest(door, stream, question)

        Exchange._relay = relay  # type: ignore[assignment,method-assign]
        exchange.pipe = self.pipe  # type: ignore[assignment,attr-defined]

    async def pipe(self, left: FrameStream, right: FrameStream, limit: int) -> None:
        """Pass frames on between `left`, who asked, and `right`, as the order says."""
        door, question = self._question.get()
        target = door._member.contacts.by_machine(MachineId(question.payload.machine))
        assert target is not None
        relayed = Relayed(door, question.sender, target, left, right)

        async def carry(source: FrameStream, on: FrameStream, handle: Callable[..., Awaitable[None]]) -> None:
            number = 0
            try:
                while True:
                    frame = await source.read_frame(limit)
                    self._note(frame)
                    await handle(relayed, number, frame, on.write_frame)
                    number += 1
            except StreamEnded:
                await on.close()
            except NetworkError:
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry, left, right, self._outward)
            nursery.start_soon(carry, right, left, self._inward)
        if nursery.cancel_scope.cancelled_caught:
            await left.reset()
            await right.reset()

    async def _outward(self, relayed: Relayed, number: int, frame: bytes, on: Pass) -> None:
        """From who asked to the target; frame 0 is the sealed question."""
        if number == 0:
            relayed.trick = self._trick(frame)
        match relayed.trick if number == 0 else "":
            case "flip question":
                await on(flipped(frame))
            case "truncate question":
                await on(frame[: len(frame) // 2])
            case "replay question":
                await on(frame)
                await self._again(relayed, frame)
            case "answer instead":
                (answer,) = relayed.door._sealed((relayed.asker, Ack()))
                await relayed.left.write_frame(answer.data)
            case _:
                await on(frame)

    async def _inward(self, relayed: Relayed, number: int, frame: bytes, on: Pass) -> None:
        """From the target to who asked; frame 0 is the sealed answer, the others are of a sealed stream."""
        match relayed.trick, number:
            case "flip answer", 0:
                await on(flipped(frame))
            case "truncate answer", 0:
                await on(frame[: len(frame) // 2])
            case "swap answers", 0:
                await on(await self._swapped(frame))
            case "flip stream", 1:
                await on(flipped(frame))
            case "replay stream", 1:
                await on(frame)
                await on(frame)
            case "reorder stream", 1:
                relayed.held = frame
            case "reorder stream", 2:
                await on(frame)
                assert relayed.held is not None
                await on(relayed.held)
            case "cut stream", 2:
                await relayed.left.close()
                await relayed.right.reset()
            case _:
                await on(frame)

    async def _again(self, relayed: Relayed, frame: bytes) -> None:
        """Deliver a question a second time, on a stream of its own."""
        async with relayed.door._host.open(relayed.target.peer, MESSAGE) as stream:
            await stream.write_frame(frame)
            try:
                self._note(await stream.read_frame(len(frame) + (1 << 20)))
            except NetworkError:
                return

    async def _swapped(self, frame: bytes) -> bytes:
        """Give each of two answers to the question of the other."""
        if self._waiting is None:
            other, mine = trio.Event(), [frame]
            self._waiting = (other, mine)
            await other.wait()
            return mine[0]
        (other, theirs), self._waiting = self._waiting, None
        first, theirs[0] = theirs[0], frame
        other.set()
        return first

    def _trick(self, question: bytes) -> str:
        """What to do, if the order is about this type of message: its number stands in the header, for all to see."""
        try:
            order = json.loads(self._order.read_text())
            return str(order["trick"]) if parse_header(question).payload_type == order["type"] else ""
        except (FileNotFoundError, MalformedError):
            return ""

    def _note(self, frame: bytes) -> None:
        with self._tape.open("ab") as tape:
            tape.write(len(frame).to_bytes(4, "big") + frame)


def flipped(frame: bytes) -> bytes:
    """The same but for one bit in its middle, which is ciphertext."""
    middle = len(frame) // 2
    return frame[:middle] + bytes([frame[middle] ^ 1]) + frame[middle + 1 :]


def main() -> None:
    Tamperer(Path(os.environ[DIRECTORY])).install()
    sys.exit(cli.main(prog_name="beemeshd"))


if __name__ == "__main__":
    main()
