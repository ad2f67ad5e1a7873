"""Podman's REST API: one request, one answer, with a bound on time and size.

podman-py does the talking. Its high-level managers fetch an object again after every step, which would double the cost
of a start, so requests go through its `APIClient`. podman-py blocks, so each request runs in a thread; a request that
changes something is never abandoned half way, because what it made would have no owner: its timeout bounds the wait.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import trio
import urllib3.exceptions
from podman.api.client import APIClient

from beemesh_node.runtime.errors import PodmanRefusedError, RuntimeUnavailableError

QUERY_TIMEOUT = 10.0
"""Seconds for a request that only reads, or a small change."""
CHANGE_TIMEOUT = 60.0
"""Seconds for creating, starting or removing; a slow SD card needs several."""

MAX_BODY = 32 * 1024 * 1024
_THREADS = 24
_PING_THREADS = 4
"""Apart from the others, so that a question after Podman's health never waits behind much work."""
_CLIENT_ERRORS = 400
_NOT_FOUND = 404

Parameters = Mapping[str, object]
"""Query parameters; lists and dictionaries become JSON, as Podman's filters want it."""
_NONE: Parameters = {}


class PodmanApi:
    """Requests to the Podman behind one socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._threads = trio.CapacityLimiter(_THREADS)
        self._ping_threads = trio.CapacityLimiter(_PING_THREADS)
        self._client = APIClient(base_url=f"unix://{socket}", timeout=QUERY_TIMEOUT, max_pool_size=_THREADS)

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    async def ping(self) -> None:
        """Ask for nothing but an answer. May be cancelled at once.

        Raises PodmanRefusedError, RuntimeUnavailableError.
        """
        await self._in_thread("GET", "/_ping", _NONE, None, self._ping_threads)

    async def get(self, path: str, params: Parameters = _NONE) -> Any:
        """Read something. May be cancelled at once.

        Raises PodmanRefusedError, RuntimeUnavailableError.
        """
        return await self._in_thread("GET", path, params, None)

    async def post(self, path: str, body: object = None, params: Parameters = _NONE) -> Any:
        """Change something. A cancellation waits for the answer.

        Raises PodmanRefusedError, RuntimeUnavailableError.
        """
        return await self._in_thread("POST", path, params, body)

    async def delete(self, path: str, params: Parameters = _NONE) -> bool:
        """Remove something; False if it was not there. A cancellation waits for the answer.

        Raises PodmanRefusedError, RuntimeUnavailableError.
        """
        try:
            await self._in_thread("DELETE", path, params, None)
        except PodmanRefusedError as error:
            if error.status == _NOT_FOUND:
                return False
            raise
        return True

    async def _in_thread(
        self, method: str, path: str, params: Parameters, body: object, threads: trio.CapacityLimiter | None = None
    ) -> Any:
        exchange = partial(self._exchange, method, path, params, body)
        # An older stub package of trio knows this argument only by its former name.
        return await trio.to_thread.run_sync(  # type: ignore[call-arg, unused-ignore]
            exchange, abandon_on_cancel=method == "GET", limiter=threads or self._threads
        )

    def _exchange(self, method: str, path: str, params: Parameters, body: object) -> Any:
        limit = QUERY_TIMEOUT if method == "GET" else CHANGE_TIMEOUT
        deadline = time.monotonic() + limit
        ask = {"GET": self._client.get, "POST": self._client.post, "DELETE": self._client.delete}[method]
        extra = {} if body is None else {"data": json.dumps(body)}
        try:
            response = ask(
                path,
                params={name: _parameter(value) for name, value in params.items()},
                headers={"Content-Type": "application/json"},
                timeout=limit,
                stream=True,
                **extra,
            )
            try:
                text = self._read(response, deadline)
            finally:
                response.close()
        # podman-py wraps most failures of requests and urllib3 as OSError; rubbish from the server escapes as others.
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            raise self._unavailable(method, path, error) from error
        return self._answer(response.status_code, text)

    def _read(self, response: Any, deadline: float) -> bytes:
        """Read the body; its sender may neither drip it for ever nor send without end."""
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_content(65536):
            size += len(chunk)
            if size > MAX_BODY:
                raise RuntimeUnavailableError.at(self.socket, f"an answer of more than {MAX_BODY} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError("the answer did not end in time")
            chunks.append(chunk)
        return b"".join(chunks)

    def _answer(self, status: int, text: bytes) -> Any:
        try:
            value = json.loads(text) if text.strip() else None
        except (ValueError, RecursionError) as error:
            if status < _CLIENT_ERRORS and text.strip() == b"OK":
                return "OK"
            raise RuntimeUnavailableError.at(self.socket, "what answers there is not Podman (no JSON)") from error
        if status < _CLIENT_ERRORS:
            return value
        if isinstance(value, dict) and "message" in value:
            raise PodmanRefusedError(status, str(value["message"]))
        if isinstance(value, dict) and isinstance(value.get("Errs"), list):  # of a pod's containers
            raise PodmanRefusedError(status, "; ".join(map(str, value["Errs"])))
        raise RuntimeUnavailableError.at(self.socket, f"what answers there is not Podman (HTTP status {status})")

    def _unavailable(self, method: str, path: str, error: Exception) -> RuntimeUnavailableError:
        cause: BaseException = error
        while (deeper := cause.__cause__ or cause.__context__) is not None:
            cause = deeper
        if isinstance(cause, TimeoutError):
            return RuntimeUnavailableError.at(self.socket, f"no answer to {method} {path} in time")
        if isinstance(cause, FileNotFoundError):
            return RuntimeUnavailableError.at(self.socket, "there is no such socket")
        if isinstance(cause, ConnectionRefusedError):
            return RuntimeUnavailableError.at(self.socket, "nobody listens there")
        if isinstance(cause, PermissionError):
            return RuntimeUnavailableError.at(self.socket, "this user may not open the socket")
        return RuntimeUnavailableError.at(self.socket, f"{method} {path} broke off ({type(cause).__name__}: {cause})")


def _parameter(value: object) -> str:
    """A query parameter as Podman reads it: filters are JSON."""
    if isinstance(value, bool | dict | list):
        return json.dumps(value)
    return str(value)
