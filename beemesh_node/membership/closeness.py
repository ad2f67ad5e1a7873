"""Who is responsible for a key: being close is being responsible, so that nobody is elected.

Distance is the XOR of SHA-256(machine id) with SHA-256(key), as in Kademlia (Maymounkov and Mazières, 2002). Machine
ids are chosen by the signer of certificates, so that nobody can make up one that is close to what he wants to hold.
The key of a workload is its name: all declarations of one name meet at the same machines, and whoever knows the name
knows whom to ask.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from heapq import nsmallest

from beemesh_node.membership.member import Member
from beemesh_node.protocol.ids import MachineId

GUARDIANS = 5
"""k: how many machines keep a declaration and answer for it. Daemons and commands must agree on it."""


@lru_cache(maxsize=65_536)
def position(name: str) -> int:
    """Where a machine id or a key lies: SHA-256 of its text as a number."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest(), "big")


def key_of_name(namespace: str, kind: str, name: str) -> str:
    """Return the key of a workload: its name as netstrings (D. J. Bernstein, 1997), so that no two names share one.

    No machine id is such a text.
    """
    return "".join(f"{len(part.encode())}:{part}," for part in (namespace, kind, name))


def guardians_of(key: str, members: Iterable[Member], count: int) -> tuple[MachineId, ...]:
    """Return the `count` members closest to `key`, the closest first: a guardian's place in it is its rank.

    Only members that may be guardians are looked at, or all if none may. Fewer members give fewer guardians.
    """
    everyone = list(members)
    allowed = [m.machine for m in everyone if m.guardian] or [m.machine for m in everyone]
    target = position(key)
    return tuple(nsmallest(count, allowed, key=lambda machine: position(machine) ^ target))
