"""Ways to machines to which no connection is kept: where they say they are, then where others say they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import structlog
import trio

from beemesh_node.messaging.directory import Contact
from beemesh_node.messaging.errors import AuthenticationRefused
from beemesh_node.network.api import Host, NetworkError, Refused
from beemesh_node.protocol.ids import MachineId

log = structlog.get_logger()

_OWN_SHARE = 0.6
"""Of the time to reach a machine, what its own addresses may take before Kademlia is asked for others."""

AddressesOf: TypeAlias = Callable[[MachineId], Sequence[str]]
"""Gives the addresses that a machine tells in its presence; none if it is not heard."""


class Ways:
    """Makes connections when they are needed."""

    def __init__(self, host: Host, addresses_of: AddressesOf) -> None:
        self._host = host
        self._addresses_of = addresses_of

    async def reach(self, contact: Contact, within: float) -> bool:
        """Be connected to a machine within so many seconds; False if no address led to it.

        Where an address comes from does not matter: only who proves in the handshake and hello to be the machine is it.
        Raises `AuthenticationRefused` when one side refused the other.
        """
        if contact.peer in self._host.peers():
            return True
        own = self._addresses_of(contact.machine)
        began = trio.current_time()
        with trio.move_on_after(within * _OWN_SHARE):
            if await self._connected(contact, own):
                return True
        with trio.move_on_at(began + within):
            hints = [hint for hint in await self._host.find_addresses(contact.peer) if hint not in own]
            return bool(hints) and await self._connected(contact, hints)
        return False

    async def _connected(self, contact: Contact, addresses: Sequence[str]) -> bool:
        name = contact.certificate.name
        try:
            await self._host.connect(contact.peer, addresses)
        except Refused as error:
            raise AuthenticationRefused(f"{name}: {error.reason}") from error
        except NetworkError as error:
            log.debug("not reached", machine=name, error=str(error))
            return False
        return True
