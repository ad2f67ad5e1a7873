"""Podman's endless answers (events, logs, pulls) and its two-way ones (exec), each on a connection of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import trio

from beemesh_node.runtime.errors import PodmanRefusedError, RuntimeUnavailableError
from beemesh_node.runtime.http_response import HttpError, HttpResponse

CONNECT_TIMEOUT = 10.0
"""Seconds until the head of an answer must have come."""
API_PREFIX = "/v4.0.0/libpod"
"""The oldest version of the API with what is used here, so that Podman 4 and 5 both serve it."""

_MAX_ERROR = 64 * 1024


@asynccontextmanager
async def open_stream(socket: Path, method: str, path: str, params: Mapping[str, str]) -> AsyncIterator[HttpResponse]:
    """Ask, and give the answer while it is being sent.

    Raises PodmanRefusedError, RuntimeUnavailableError; the latter also from within the block, when the answer breaks.
    """
    try:
        stream = await _connect(socket)
        async with stream:
            yield await _ask(stream, socket, method, f"{path}?{urlencode(params)}", b"", {})
    except HttpError as error:
        raise RuntimeUnavailableError.at(socket, str(error)) from error


@asynccontextmanager
async def open_duplex(socket: Path, path: str, body: object) -> AsyncIterator[tuple[trio.SocketStream, HttpResponse]]:
    """Ask for a connection that both sides write to (`Upgrade: tcp`): send on the stream, receive by `raw`.

    Raises PodmanRefusedError, RuntimeUnavailableError.
    """
    try:
        stream = await _connect(socket)
        async with stream:
            upgrade = {"Connection": "Upgrade", "Upgrade": "tcp"}
            data = json.dumps(body).encode()
            yield stream, await _ask(stream, socket, "POST", path, data, upgrade)
    except HttpError as error:
        raise RuntimeUnavailableError.at(socket, str(error)) from error


async def _connect(socket: Path) -> trio.SocketStream:
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            return await trio.open_unix_socket(str(socket))
    except (OSError, RuntimeError) as error:
        raise RuntimeUnavailableError.at(socket, f"cannot connect ({error})") from error
    except trio.TooSlowError:
        raise RuntimeUnavailableError.at(socket, "no connection in time") from None


async def _ask(
    stream: trio.SocketStream,
    socket: Path,
    method: str,
    target: str,
    body: bytes,
    headers: Mapping[str, str],
) -> HttpResponse:
    own = {"Host": "podman", "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in own.items())
    response = HttpResponse(stream)
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            await stream.send_all(f"{method} {API_PREFIX}{target} HTTP/1.1\r\n{head}\r\n".encode() + body)
            await response.receive()
            if response.status >= 400:
                raise PodmanRefusedError(response.status, _message(await response.read(_MAX_ERROR)))
    except trio.BrokenResourceError as error:
        raise HttpError("the connection broke") from error
    except trio.TooSlowError:
        raise HttpError(f"no answer to {method} {target.partition('?')[0]} in time") from None
    return response


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return body[:200].decode(errors="replace")
