"""Addresses as text: `/ip4/10.0.0.7/tcp/4001`, `/ip6/…`, `/dns/…`, `/dns4/…`, `/dns6/…`, then perhaps `/p2p/PEER`.

A bounded subset of the multiaddr notation (https://multiformats.io/multiaddr). Names are resolved here, through trio,
before anything is dialled: libp2p's own resolver brings a DNS client of its own and ignores the system's.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from beemesh_node.network.api import InvalidAddress
from beemesh_node.network.identity import public_key_of_peer_id
from beemesh_node.protocol.ids import PeerId

_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")
_FAMILIES = {"dns": socket.AF_UNSPEC, "dns4": socket.AF_INET, "dns6": socket.AF_INET6}
MAX_LENGTH = 400
"""Characters of an address at most."""
MAX_RESOLVED = 8
"""IP addresses at most that one name yields."""


@dataclass(frozen=True, slots=True)
class Address:
    """One TCP address, by IP or by name, of a peer that may be named."""

    kind: str
    """`ip4`, `ip6`, `dns`, `dns4` or `dns6`."""
    host: str
    port: int
    peer: PeerId | None = None

    def __str__(self) -> str:
        return f"/{self.kind}/{self.host}/tcp/{self.port}" + (f"/p2p/{self.peer}" if self.peer else "")


def parse(text: str) -> Address:
    """Read an address.

    Raises:
        InvalidAddress: anything but the forms named in the module's description.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidAddress(f"an address has at most {MAX_LENGTH} characters, this one {len(text)}")
    parts = text.split("/")
    if len(parts) not in (5, 7) or parts[0] or parts[3] != "tcp" or (len(parts) == 7 and parts[5] != "p2p"):
        raise InvalidAddress(
            f"{text!r} is not an address: write /ip4/ADDRESS/tcp/PORT or /dns/NAME/tcp/PORT, then /p2p/PEER"
        )
    kind, host = parts[1], parts[2]
    try:
        if kind in ("ip4", "ip6"):
            host = str(ipaddress.IPv4Address(host) if kind == "ip4" else ipaddress.IPv6Address(host))
        elif kind not in _FAMILIES or not _NAME.fullmatch(host):
            raise ValueError(f"/{kind}/{host} is neither an IP address nor a name")
        if not (parts[4].isascii() and parts[4].isdigit() and len(parts[4]) <= 5 and int(parts[4]) <= 65535):
            raise ValueError(f"{parts[4]!r} is not a port")
        peer = None
        if len(parts) == 7:
            public_key_of_peer_id(parts[6])
            peer = PeerId(parts[6])
    except ValueError as error:
        raise InvalidAddress(f"{text!r} is not an address: {error}") from None
    return Address(kind, host, int(parts[4]), peer)


def parse_with_peer(text: str) -> tuple[PeerId, Address]:
    """Read an address that must name its peer, as a bootstrap address does.

    Raises:
        InvalidAddress: not an address, or without `/p2p/PEER`.
    """
    address = parse(text)
    if address.peer is None:
        raise InvalidAddress(f"{text!r} does not say who answers there: append /p2p/PEER")
    return address.peer, address


async def resolve(address: Address) -> Sequence[Address]:
    """The IP addresses behind an address: itself, or what the system's resolver says of its name (possibly nothing)."""
    if address.kind not in _FAMILIES:
        return [address]
    try:
        found = await trio.socket.getaddrinfo(
            address.host, address.port, family=_FAMILIES[address.kind], type=socket.SOCK_STREAM
        )
    except OSError:
        return []
    resolved: dict[Address, None] = {}
    for family, _, _, _, sockaddr in found:
        kind = "ip6" if family == socket.AF_INET6 else "ip4"
        resolved[Address(kind, str(sockaddr[0]).split("%")[0], address.port, address.peer)] = None
    return list(resolved)[:MAX_RESOLVED]
