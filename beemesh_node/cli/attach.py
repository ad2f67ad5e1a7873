"""The person's end of a sealed stream: what a container writes, and for `exec` what is typed to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from beemesh_node.cli import keyboard
from beemesh_node.cli.errors import CliError
from beemesh_node.cli.session import Duplex
from beemesh_node.cli.terminal import printable
from beemesh_node.protocol.sealed_stream import MAX_STREAM_DATA, FrameKind, StreamFrame

_OUTPUTS = {
    FrameKind.DATA: keyboard.STDOUT,
    FrameKind.STDOUT: keyboard.STDOUT,
    FrameKind.STDERR: keyboard.STDERR,
}


MAX_COLLECTED = 16 * 1024 * 1024
"""Bytes of output that are kept for a program."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a command wrote, and how it ended."""

    code: int
    stdout: str
    stderr: str


async def attach(stream: Duplex, subject: str, *, typing: bool = False, tty: bool = False) -> int:
    """Show what comes until the end of the stream; with `typing` send on what is typed, with `tty` the terminal's size.

    Returns the exit code that the far end told, 0 if it told none. Raises `CliError` when it told of a failure.
    """
    async with trio.open_nursery() as nursery:
        if typing:
            nursery.start_soon(_send_typed, stream)
        if tty:
            nursery.start_soon(_send_size, stream)
        code = await _show(stream, subject, keyboard.write)
        nursery.cancel_scope.cancel()
    return code


async def collect(stream: Duplex, subject: str, *, typing: bool = False) -> Collected:
    """Keep what comes until the end of the stream instead of showing it. Raises as `attach`, and for too much of it."""
    kept: dict[int, list[bytes]] = {keyboard.STDOUT: [], keyboard.STDERR: []}
    size = 0

    async def keep(output: int, data: bytes) -> None:
        nonlocal size
        size += len(data)
        if size > MAX_COLLECTED:
            raise CliError(
                f"{subject}: wrote more than {MAX_COLLECTED >> 20} MiB: write it to a file, or without -o json"
            )
        kept[output].append(data)

    async with trio.open_nursery() as nursery:
        if typing:
            nursery.start_soon(_send_typed, stream)
        code = await _show(stream, subject, keep)
        nursery.cancel_scope.cancel()
    out, error = (b"".join(kept[output]).decode(errors="replace") for output in (keyboard.STDOUT, keyboard.STDERR))
    return Collected(code, out, error)


async def _show(stream: Duplex, subject: str, write: Callable[[int, bytes], Awaitable[None]]) -> int:
    code = 0
    while True:
        kind, data = await stream.receive()
        if kind in _OUTPUTS:
            await write(_OUTPUTS[kind], data)
        elif kind is FrameKind.EXIT:
            code = StreamFrame(kind, data).exit_code()
        elif kind is FrameKind.ERROR:
            raise CliError(f"{subject}: {printable(data.decode(errors='replace'))}")
        elif kind is FrameKind.END:
            return code


async def _send_typed(stream: Duplex) -> None:
    async for data in keyboard.typed():
        for start in range(0, len(data), MAX_STREAM_DATA):
            await stream.send(FrameKind.STDIN, data[start : start + MAX_STREAM_DATA])
    await stream.send(FrameKind.STDIN, b"")


async def _send_size(stream: Duplex) -> None:
    async for rows, columns in keyboard.resized():
        frame = StreamFrame.resize(rows, columns)
        await stream.send(frame.kind, frame.data)
