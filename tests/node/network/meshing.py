"""What the tests of the network share: a gatekeeper, hosts on loopback, and waiting with a deadline."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from beemesh_node.network.api import (
    FrameStream,
    HostConfig,
    Limits,
    NetworkError,
    Refused,
    StreamEnded,
    Verdict,
)
from beemesh_node.network.host import MeshHost, open_host
from beemesh_node.protocol.ids import PeerId

NETWORK_KEY = hashlib.sha256(b"the mesh of these tests").digest()
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
ECHO = "/beemesh/echo/1"
FRAME = 4 << 20
QUICK = Limits(
    hello_timeout=2.0,
    upgrade_timeout=2.0,
    dial_timeout=2.0,
    keepalive_interval=0.5,
    keepalive_timeout=0.5,
    redial_min=0.05,
    redial_max=0.5,
    refusal_backoff=0.5,
    restart_min=0.01,
    accepts_per_second=1000.0,
)


@dataclass
class Greeter:
    """Admits whoever says the same word; remembers whom it met."""

    word: bytes = b"beemesh"
    met: list[PeerId] = field(default_factory=list)

    async def greet(self, stream: FrameStream, *, local: PeerId, remote: PeerId, initiator: bool) -> object:
        await stream.write_frame(self.word)
        if await stream.read_frame(64) != self.word:
            raise Refused(f"{remote} said the wrong word")
        self.met.append(remote)
        return f"admission of {remote}"


def seed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def config(name: str, **changes: Any) -> HostConfig:
    settings: dict[str, Any] = {"listen": [LOOPBACK], "limits": QUICK, "private_network_key": NETWORK_KEY} | changes
    if settings.get("light"):
        settings["listen"] = []
    return HostConfig(seed(name), **settings)


async def echo(stream: FrameStream, admission: object) -> None:
    while True:
        try:
            await stream.write_frame(await stream.read_frame(FRAME))
        except StreamEnded:
            return


@asynccontextmanager
async def host(
    name: str, gatekeeper: Any = None, *, without_guards: tuple[str, ...] = (), **changes: Any
) -> AsyncIterator[MeshHost]:
    async with open_host(config(name, **changes), gatekeeper or Greeter(), without_guards=without_guards) as opened:
        opened.serve(ECHO, echo)
        yield opened


async def link(dialler: MeshHost, listener: MeshHost) -> None:
    """Connect, and wait until both sides have admitted the other."""
    await dialler.connect(listener.peer_id, listener.addresses())
    await until(lambda: dialler.peer_id in listener.peers())


async def ask(source: MeshHost, peer: PeerId, data: bytes = b"ping", protocol: str = ECHO) -> bytes:
    with trio.fail_after(5):
        async with source.open(peer, protocol) as stream:
            await stream.write_frame(data)
            return await stream.read_frame(FRAME)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until the condition holds; fail after so many seconds."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.005)


async def until_async(attempt: Callable[[], Awaitable[object]], seconds: float = 10.0) -> None:
    """Try again until the attempt returns something true without a network error; fail after so many seconds."""
    with trio.fail_after(seconds):
        while True:
            try:
                if await attempt():
                    return
            except (NetworkError, trio.TooSlowError):
                pass
            await trio.sleep(0.02)


async def accept_all(data: bytes, forwarder: PeerId) -> Verdict:
    return Verdict.ACCEPT


def refused(opened: MeshHost, what: str) -> int:
    return opened.counters.get(f"refused.{what}", 0)


def contained(opened: MeshHost, guard: str) -> int:
    return opened.counters.get(f"contained.{guard}", 0)
