"""Datagrams beside the connections: for what is small, frequent and worthless when late. No promise of delivery.

They leave from and arrive at the ports that the host listens on (UDP there, TCP for everything else). What arrives is
handed on unread: whose it is and whether it is genuine, its reader finds out.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

import trio

from beemesh_node.network.addresses import parse
from beemesh_node.network.counting import Counters

MAX_DATAGRAM = 512
"""Bytes at most: fits every path. Longer ones are dropped and counted."""
_BATCH = 64
"""Datagrams read in one go at most, before others have their turn."""


class Datagrams:
    """The UDP sockets of one host."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._sockets: list[socket.socket] = []
        self.handler: Callable[[bytes], None] = lambda data: None
        """Takes in each datagram. Must not raise or wait."""

    def bind(self, listen: Sequence[str]) -> None:
        """Bind beside each address that is listened on; one that cannot be bound is left out and counted."""
        for text in listen:
            address = parse(text)
            if address.port and address.kind in ("ip4", "ip6"):
                self._bind_one(address.host, address.port)

    @property
    def port(self) -> int:
        """Where datagrams arrive; 0 if nowhere."""
        return int(self._sockets[0].getsockname()[1]) if self._sockets else 0

    def send(self, host: str, port: int, data: bytes) -> None:
        """Send to an IP address, if it can be done at once."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        for bound in self._sockets:
            if bound.family == family:
                with suppress(OSError):  # whatever the reason: it is lost, as any datagram may be
                    bound.sendto(data, (host, port))
                return

    async def run(self) -> None:
        """Receive, for ever."""
        async with trio.open_nursery() as nursery:
            for bound in self._sockets:
                nursery.start_soon(self._receive, bound)

    def close(self) -> None:
        """Give the ports back; who receives on them ends."""
        for bound in self._sockets:
            trio.lowlevel.notify_closing(bound)
            bound.close()
        self._sockets.clear()

    def _bind_one(self, host: str, port: int) -> None:
        bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            bound.setblocking(False)
            if bound.family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind((host, port))
        except OSError:
            bound.close()
            self._counters.add("datagrams.unbound")
        else:
            self._sockets.append(bound)

    async def _receive(self, bound: socket.socket) -> None:
        while bound.fileno() >= 0:  # until it is closed
            try:
                await trio.lowlevel.wait_readable(bound)
            except trio.ClosedResourceError:
                return
            for _ in range(_BATCH):
                try:
                    data = bound.recv(MAX_DATAGRAM + 1)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # what an earlier datagram met on its way
                if len(data) > MAX_DATAGRAM:
                    self._counters.add("refused.datagram")
                else:
                    self.handler(data)
