"""Is anybody there? A TCP connection is tried and given up at once: a refusal by the kernel says that nobody is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import trio

from beemesh_node.network.addresses import parse
from beemesh_node.network.api import InvalidAddress

_MAX_PORTS = 4


async def refused(place: str, addresses: Sequence[str], within: float) -> bool:
    """Whether a machine refuses connections at each of those addresses that name it by this IP address.

    False if none of them does, if anybody accepts, or without an answer within so many seconds.
    """
    ports = _ports(place, addresses)
    refusals: list[bool] = []
    with trio.move_on_after(within):
        async with trio.open_nursery() as nursery:
            for port in ports:
                nursery.start_soon(_knock, place, port, refusals)
    return bool(refusals) and all(refusals) and len(refusals) == len(ports)


def _ports(place: str, addresses: Sequence[str]) -> list[int]:
    found: dict[int, None] = {}
    for text in addresses:
        with suppress(InvalidAddress):
            address = parse(text)
            if address.host == place:
                found[address.port] = None
    return list(found)[:_MAX_PORTS]


async def _knock(place: str, port: int, refusals: list[bool]) -> None:
    family = trio.socket.AF_INET6 if ":" in place else trio.socket.AF_INET
    with trio.socket.socket(family, trio.socket.SOCK_STREAM) as knocking:
        try:
            await knocking.connect((place, port))
        except ConnectionRefusedError:
            refusals.append(True)
        except OSError:
            return
        else:
            refusals.append(False)
