"""The local socket: tells the status of this daemon as one JSON document, and takes nothing.

Whatever changes something enters as an operator's signed and sealed message, wherever it comes from; so there is no
right to be had by reaching this socket, and it needs no credential but the file's mode (0660, root).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog
import trio

log = structlog.get_logger()

_CLIENTS = 16
_TIMEOUT = 5.0


class LocalSocketError(Exception):
    """The socket cannot be opened; the message names it and says what to do."""


async def serve_local_socket(path: Path, listener: socket.socket, status: Callable[[], Mapping[str, Any]]) -> None:
    """Write `status()` to whoever connects to the `listener` bound at `path`, for ever; then remove the socket."""
    limiter = trio.CapacityLimiter(_CLIENTS)
    try:
        await trio.serve_listeners(
            partial(_answer, status, limiter), [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
        )
    finally:
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - one call on a local file system


async def _answer(
    status: Callable[[], Mapping[str, Any]], limiter: trio.CapacityLimiter, stream: trio.SocketStream
) -> None:
    async with stream, limiter:
        try:
            with trio.fail_after(_TIMEOUT):
                await stream.send_all(msgspec.json.encode(status()) + b"\n")
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            log.debug("local client went away", error=repr(error))


def bind_local_socket(path: Path) -> socket.socket:
    """Take the place at `path`, removing a socket that nobody serves any more. Raises `LocalSocketError`."""
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if path.exists():
            _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o117)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.listen(_CLIENTS)
    except OSError as error:
        raise LocalSocketError(f"{path}: {error.strerror or error}; choose another local_socket") from None
    return listener


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody serves any more; refuse to take one that somebody serves, or another kind of file."""
    if not path.is_socket():
        raise LocalSocketError(f"{path} exists and is no socket; choose another local_socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise LocalSocketError(f"{path} is served by another process; is beemeshd already running?")
