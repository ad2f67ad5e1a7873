"""Commands run in a container: with both hands (`beectl exec`), or only for their exit code (probes).

Podman keeps a small process for five minutes after each command, and has no request to end it sooner. A machine with
many exec probes wants `exit_command_delay=10` under `[engine]` in containers.conf.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from beemesh_node.runtime.errors import PodmanRefusedError, RuntimeUnavailableError
from beemesh_node.runtime.frames import read_frames
from beemesh_node.runtime.http_response import HttpResponse
from beemesh_node.runtime.podman_api import PodmanApi
from beemesh_node.runtime.podman_stream import open_duplex
from beemesh_node.runtime.privileges import SIGNALS, held

MAX_TERMINAL = 4096
"""Columns or rows of a terminal."""


class ExecSession:
    """A command that runs. Iterate over it for its output: pairs of stream (1 stdout, 2 stderr) and bytes."""

    def __init__(
        self, api: PodmanApi, exec_id: str, tty: bool, stream: trio.SocketStream, response: HttpResponse
    ) -> None:
        self._api = api
        self._id = exec_id
        self._tty = tty
        self._stream = stream
        self._response = response
        self._ended = False

    async def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        """Output until the command ends.

        Raises RuntimeUnavailableError.
        """
        if self._tty:
            while piece := await self._response.raw():
                yield 1, piece
            return
        async for number, piece in read_frames(self._response.raw):
            yield number, piece

    async def send(self, data: bytes) -> None:
        """Write to the command's stdin. A command that has ended takes nothing, which is no error."""
        with suppress(trio.BrokenResourceError):
            await self._stream.send_all(data)

    async def send_eof(self) -> None:
        """Close the command's stdin."""
        with suppress(trio.BrokenResourceError):
            await self._stream.send_eof()

    async def resize(self, columns: int, rows: int) -> None:
        """Tell the command's terminal its size.

        Raises ValueError for a size out of bounds, RuntimeUnavailableError.
        """
        if not (0 < columns <= MAX_TERMINAL and 0 < rows <= MAX_TERMINAL):
            raise ValueError(f"a terminal of {columns} x {rows}: use 1 to {MAX_TERMINAL}")
        with suppress(PodmanRefusedError):  # It has ended.
            await self._api.post(f"/exec/{self._id}/resize", params={"w": columns, "h": rows})

    async def exit_code(self) -> int:
        """How the command ended; call it when its output has ended.

        Raises RuntimeUnavailableError.
        """
        look = 0.005
        while True:
            found = await _inspect(self._api, self._id)
            if not found.get("Running"):
                self._ended = True
                return int(found.get("ExitCode") or 0)
            await trio.sleep(look)
            look = min(look * 2, 0.25)

    async def kill(self) -> None:
        """End the command if it still runs. Podman has no request for that, but its process is one of this machine."""
        if self._ended:
            return
        with suppress(PodmanRefusedError, RuntimeUnavailableError, OSError):
            found = await _inspect(self._api, self._id)
            if found.get("Running") and (pid := int(found.get("Pid") or 0)) > 1:
                with held(*SIGNALS):
                    os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def open_exec(
    api: PodmanApi, container_id: str, command: Sequence[str], *, tty: bool = False, stdin: bool = False
) -> AsyncIterator[ExecSession]:
    """Run a command in a container; leaving the block ends the command.

    Raises PodmanRefusedError (no such container, not running, no such program), RuntimeUnavailableError.
    """
    created = await api.post(
        f"/containers/{container_id}/exec",
        {"Cmd": list(command), "AttachStdin": stdin, "AttachStdout": True, "AttachStderr": True, "Tty": tty},
    )
    try:
        exec_id = str(created["Id"])
    except (KeyError, TypeError) as error:
        raise RuntimeUnavailableError.at(api.socket, "what runs commands there is not Podman") from error
    start = {"Detach": False, "Tty": tty}
    async with open_duplex(api.socket, f"/exec/{exec_id}/start", start) as (stream, response):
        session = ExecSession(api, exec_id, tty, stream, response)
        try:
            yield session
        finally:
            with trio.CancelScope(shield=True):
                await session.kill()


async def run_command(api: PodmanApi, container_id: str, command: Sequence[str]) -> int:
    """Run a command for its exit code; its output is dropped. A cancellation ends it.

    Raises PodmanRefusedError, RuntimeUnavailableError.
    """
    async with open_exec(api, container_id, command) as session:
        async for _ in session:
            pass
        return await session.exit_code()


async def _inspect(api: PodmanApi, exec_id: str) -> dict[str, Any]:
    found = await api.get(f"/exec/{exec_id}/json")
    if not isinstance(found, dict):
        raise RuntimeUnavailableError.at(api.socket, "what runs commands there is not Podman")
    return found
