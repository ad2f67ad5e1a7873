"""Answers GET /metrics over HTTP/1.1 (RFC 9112), one request a connection, and everything else with what is wrong.

So little of HTTP that a library would be more to trust than this: one line is read and the rest of a bounded head is
ignored. Whoever is slow, loud or many is cut off or waits; whatever goes wrong stays with its connection.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

log = structlog.get_logger()

MAX_HEAD = 8192
"""Bytes of request line and header fields."""
WITHIN = 5.0
"""Seconds for a request to arrive, and again for the answer to be taken."""
_CLIENTS = 8
"""At a time; others wait in the kernel's queue, which is as long."""
_FRESH = 1.0
"""Seconds for which an answer is given again: asking more often costs the daemon next to nothing."""
_LINGER, _LINGER_BYTES = 1.0, 1 << 20
"""How long, and of how much, an unread rest is taken in: closing on it would destroy the answer on its way."""
_BIND_AGAIN = 15.0
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    505: "HTTP Version Not Supported",
}


class _Refused(Exception):
    """The request gets this status and sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Bounded(trio.abc.Listener[trio.SocketStream]):
    """Accepts a connection only while fewer than so many are open."""

    def __init__(self, listener: trio.SocketListener, clients: trio.Semaphore) -> None:
        self._listener, self._clients = listener, clients

    async def accept(self) -> trio.SocketStream:
        await self._clients.acquire()
        try:
            return await self._listener.accept()
        except BaseException:
            self._clients.release()
            raise

    async def aclose(self) -> None:
        await self._listener.aclose()


class MetricsServer:
    """Serves what `expose` gives."""

    def __init__(self, expose: Callable[[], bytes]) -> None:
        self._expose = expose
        self._clients = trio.Semaphore(_CLIENTS)
        self._page, self._page_at = b"", -_FRESH

    async def run(self, host: str, port: int) -> None:
        """Serve at an address of the loopback interface, for ever. While another program has it, try again.

        A machine is not kept from its work because its numbers cannot be read.
        """
        while True:
            try:
                listeners = await trio.open_tcp_listeners(port, host=host, backlog=_CLIENTS)
            except OSError as error:
                log.warning(
                    "metrics are not served: free the port or set another `metrics`",
                    address=f"{host} port {port}",
                    error=str(error),
                    retry_in=_BIND_AGAIN,
                )
                await trio.sleep(_BIND_AGAIN)
                continue
            log.info("metrics are served", address=f"{host} port {port}")
            await trio.serve_listeners(self._attend, [_Bounded(each, self._clients) for each in listeners])

    async def _attend(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await self._answer(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            log.debug("a reader of metrics went away", error=repr(error))
        except Exception:
            log.exception("a reader of metrics was not answered")
        finally:
            self._clients.release()

    async def _answer(self, stream: trio.SocketStream) -> None:
        try:
            with trio.fail_after(WITHIN):
                _check(await _head(stream))
            status, body = 200, self._current()
        except _Refused as error:
            status, body = error.status, f"{error}\n".encode()
        except trio.TooSlowError:
            status, body = 408, f"no whole request within {WITHIN:g} s\n".encode()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except Exception:
            log.exception("metrics cannot be put together")
            status, body = 500, b"see the log of beemeshd\n"
        with trio.move_on_after(WITHIN):
            await stream.send_all(_response(status, body))
            await stream.send_eof()
            await _drain(stream)

    def _current(self) -> bytes:
        now = trio.current_time()
        if now >= self._page_at + _FRESH:
            self._page, self._page_at = self._expose(), now
        return self._page


async def _head(stream: trio.SocketStream) -> bytes:
    """Read until the empty line; return what is before it. Raises `_Refused`."""
    head = b""
    while (end := head.find(b"\r\n\r\n", 0, MAX_HEAD)) < 0:
        if len(head) >= MAX_HEAD:
            raise _Refused(431, f"no end of the header within {MAX_HEAD} bytes")
        more = await stream.receive_some(4096)
        if not more:
            raise _Refused(400, "the request ends before its header does")
        head += more
    return head[:end]


def _check(head: bytes) -> None:
    """Raise `_Refused` unless this is a request for the metrics."""
    line = head.split(b"\r\n", 1)[0].decode("ascii", errors="replace")
    parts = line.split(" ")
    if len(parts) != 3 or not all(parts) or not parts[2].startswith("HTTP/"):
        raise _Refused(400, "this is no HTTP request")
    method, target, version = parts
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise _Refused(505, "HTTP/1.1 is spoken here")
    if target.split("?", 1)[0] != "/metrics":
        raise _Refused(404, "there is only /metrics here")
    if method != "GET":
        raise _Refused(405, "metrics can only be read: use GET")


def _response(status: int, body: bytes) -> bytes:
    fields = [f"HTTP/1.1 {status} {_REASONS[status]}", f"Content-Type: {_TYPE}", f"Content-Length: {len(body)}"]
    if status == 405:
        fields.append("Allow: GET")
    fields.append("Connection: close")
    return "\r\n".join(fields).encode() + b"\r\n\r\n" + body


async def _drain(stream: trio.SocketStream) -> None:
    left = _LINGER_BYTES
    with trio.move_on_after(_LINGER):
        while left > 0 and (more := await stream.receive_some(65536)):
            left -= len(more)
