"""Into the mesh: whichever known machine admits a member first is its entry."""

from __future__ import annotations

import random
from collections.abc import Sequence

import trio

from beemesh_node.messaging.directory import Contact
from beemesh_node.messaging.errors import AuthenticationRefused, MeshUnreachable, RequestTimeout
from beemesh_node.network.api import Host, Refused, Unreachable
from beemesh_node.protocol.certificate import Role
from beemesh_node.protocol.ids import PeerId

_HEAD_START = 0.25
"""Seconds that the first machine has to answer before the next one is dialled beside it (as in RFC 8305)."""
_LATER_HEAD_START = 0.05
"""Seconds that each later one has: many that are known may be gone."""


async def first_to_admit(host: Host, addresses: Sequence[str], timeout: float) -> Contact:
    """Dial one machine after the other, in any order, and take the first that admits us, within so many seconds.

    The next one is dialled too once there was time to answer: that is cheaper for all than to dial everyone at once.

    Raises:
        AuthenticationRefused: machines answer, but one side does not believe the other.
        MeshUnreachable: no machine answers, or none is known.
        RequestTimeout: nothing was heard in time.
    """
    if not addresses:
        raise MeshUnreachable("no address of a machine is known: add one with `beectl context add-address`")
    ways: dict[PeerId, list[str]] = {}
    for address in addresses:
        ways.setdefault(PeerId(address.rpartition("/p2p/")[2]), []).append(address)
    reasons: dict[str, str] = {}
    refused = False
    found: list[Contact] = []

    async def dial(peer: PeerId, failed: trio.Event) -> None:
        nonlocal refused
        known = ", ".join(ways[peer])
        try:
            admission = await host.connect(peer, ways[peer])
        except Refused as error:
            refused = True
            reasons[known] = error.reason
        except Unreachable as error:
            reasons[known] = str(error)
        else:
            if isinstance(admission, Contact) and admission.certificate.role is Role.MACHINE:
                found.append(admission)
                nursery.cancel_scope.cancel()
            else:
                reasons[known] = "answers as an operator, not as a machine"
        failed.set()

    with trio.move_on_after(timeout):
        async with trio.open_nursery() as nursery:
            head_start = _HEAD_START
            for peer in random.sample(list(ways), len(ways)):  # the work of entries is shared
                failed = trio.Event()
                nursery.start_soon(dial, peer, failed)
                with trio.move_on_after(head_start):
                    await failed.wait()
                head_start = _LATER_HEAD_START
    if found:
        return found[0]
    told = "; ".join(f"{address}: {reason}" for address, reason in reasons.items())
    if refused:
        raise AuthenticationRefused(f"no machine admits this operator: {told}")
    if not reasons:
        raise RequestTimeout(f"no machine answered within {timeout:g} s: {', '.join(addresses)}")
    raise MeshUnreachable(f"no machine can be reached: {told}")
