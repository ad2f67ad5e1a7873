"""Anyone who can reach the port may open connections as fast as the network allows, each of which costs handshakes.

The library bounds only how many exist. Guarded, before the first byte is read, by bounds for each IP address on how
many and how fast, and by one on how many connections may be undecided at once.
"""

import ipaddress
from collections import Counter
from typing import Any

import trio

from beemesh_node.network.api import Limits
from beemesh_node.network.backoff import TokenBucket
from beemesh_node.network.guards import Guard


class BoundedAccepts:
    """Overrides `MeshSwarm`."""

    limits: Limits
    links: Any
    contained: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open: Counter[str] = Counter()
        self._rates: dict[str, TokenBucket] = {}

    async def _handle_inbound_connection(self, read_write_closer: Any, maddr: Any) -> None:
        remote = read_write_closer.get_remote_address()
        source = _network_of(remote[0]) if remote else ""
        if not self._may_accept(source):
            self.links.counters.refuse("accepts", source)
            await read_write_closer.close()
            return
        self._open[source] += 1
        try:
            await super()._handle_inbound_connection(read_write_closer, maddr)  # type: ignore[misc]
        finally:
            self._open[source] -= 1
            if not self._open[source]:
                del self._open[source]

    def _may_accept(self, source: str) -> bool:
        limits = self.limits
        now = trio.current_time()
        bucket = self._rates.get(source)
        if bucket is None:
            for known in [known for known, other in self._rates.items() if other.full(now)]:
                del self._rates[known]
            bucket = self._rates[source] = TokenBucket(limits.accepts_per_second, limits.accepts_per_second * 4)
        undecided = self._open.total() - self.links.admitted_inbound()
        return (
            undecided < limits.handshakes and self._open[source] < limits.connections_per_address and bucket.take(now)
        )


def _network_of(host: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 address: one machine owns all of it."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)


GUARD = Guard("accept-limits", BoundedAccepts, ("libp2p.network.swarm.Swarm._handle_inbound_connection",))
