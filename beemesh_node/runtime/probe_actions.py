"""Asking a container how it is: by a command in it, an HTTP request or a connection."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

import trio

from beemesh_node.runtime.errors import ContainerRuntimeError
from beemesh_node.runtime.exec import run_command
from beemesh_node.runtime.http_response import HttpError, HttpResponse
from beemesh_node.runtime.podman_api import PodmanApi
from beemesh_node.workloads.pod import ExecAction, HttpGetAction, Probe, TcpSocketAction


@dataclass(frozen=True, slots=True)
class Prober:
    """Asks containers of one Podman. Every failure to ask is an unhealthy answer, as in Kubernetes."""

    api: PodmanApi
    available: Callable[[], bool]
    """Whether Podman answers: one that hangs must not make its containers look dead."""

    async def ask(self, container_id: str, address: str, probe: Probe) -> bool | None:
        """Whether the container, reachable at `address`, is healthy; None if there was nobody to ask.

        The caller bounds the time.
        """
        action = probe.action
        if isinstance(action, ExecAction) and not self.available():
            return None
        try:
            if isinstance(action, ExecAction):
                return await run_command(self.api, container_id, action.command) == 0
            if isinstance(action, HttpGetAction):
                return await _http_get(action, action.host or address)
            return await _connects(action, action.host or address)
        except (OSError, HttpError, ContainerRuntimeError, trio.BrokenResourceError):
            return False


async def _connects(action: TcpSocketAction, host: str) -> bool:
    async with await trio.open_tcp_stream(host, action.port):
        return True


async def _http_get(action: HttpGetAction, host: str) -> bool:
    stream: trio.abc.Stream = await trio.open_tcp_stream(host, action.port)
    if action.scheme.upper() == "HTTPS":
        stream = trio.SSLStream(stream, _unverified(), server_hostname=host, https_compatible=True)
    async with stream:
        headers = {"Host": f"{host}:{action.port}", "User-Agent": "beemesh-probe/1", "Accept": "*/*"}
        headers |= dict(action.headers)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        path = action.path if action.path.startswith("/") else f"/{action.path}"
        await stream.send_all(f"GET {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
        response = HttpResponse(stream)
        await response.receive()
        return 200 <= response.status < 400


def _unverified() -> ssl.SSLContext:
    """A probe asks whether the pod answers, not who it is; Kubernetes does not verify either."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
