"""What stands behind the wildcards `0.0.0.0` and `::`: the addresses under which others can dial this machine."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TypeAlias

import ifaddr

from beemesh_node.network.addresses import Address

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_TOLD = 8
"""Addresses told to others at most."""
_OF_CONTAINERS = re.compile(
    r"(?:beemesh|br-[0-9a-f]{12}$|cali|cbr|cilium|cni|docker|dummy|flannel|kube-ipvs|lxcbr|lxdbr|podman|tunl|veth|virbr)"
)
"""How interfaces for containers are named: their addresses mean something else on every machine. Calico's default
`IP_AUTODETECTION_METHOD` passes over most of the same (https://docs.tigera.io/calico/latest/reference/configure-calico-node).
"""


def expand(listening: Iterable[Address]) -> Sequence[Address]:
    """The addresses as others can use them: each wildcard replaced by those of the interfaces, of its own family.

    Reads the interfaces anew each time, which takes less than a millisecond: they come and go. At most `MAX_TOLD`, the
    families by turns; none, where there is no interface but loopback.
    """
    told: dict[Address, None] = {}
    for address in listening:
        if address.host not in ("0.0.0.0", "::"):  # noqa: S104 - it is compared with, not bound
            told[address] = None
            continue
        version = 4 if address.kind == "ip4" else 6
        told.update((replace(address, host=str(own)), None) for own in own_addresses() if own.version == version)
    families = [[address for address in told if (address.kind == "ip6") is six] for six in (False, True)]
    by_turns = [address for pair in zip_longest(*families) for address in pair if address is not None]
    return by_turns[:MAX_TOLD]


def own_addresses() -> Sequence[IPAddress]:
    """The addresses of this machine's interfaces, but those that only it itself or its containers can use."""
    found = [
        # An IPv6 address comes with its flow and scope.
        ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0].partition("%")[0])
        for adapter in ifaddr.get_adapters()
        if not _OF_CONTAINERS.match(adapter.name)
        for ip in adapter.ips
    ]
    return [address for address in found if not (address.is_loopback or address.is_link_local)]
