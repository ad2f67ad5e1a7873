"""Asking machines by their id: directly, connecting first where need be, and through another machine otherwise."""

from __future__ import annotations

from typing import TypeVar

import structlog
import trio

from beemesh_node.daemon.ways import Ways
from beemesh_node.messaging.directory import Contact, ContactBook
from beemesh_node.messaging.errors import MeshUnreachable
from beemesh_node.messaging.exchange import Exchange
from beemesh_node.network.api import Host
from beemesh_node.protocol.certificate import Role
from beemesh_node.protocol.ids import MachineId

log = structlog.get_logger()

T = TypeVar("T")

_DIRECT_SHARE = 0.5
"""Of the time for a question, what connecting may take before the way through another machine is tried."""


class Peers:
    """The other machines, for the daemon's own questions."""

    def __init__(self, exchange: Exchange, contacts: ContactBook, host: Host, ways: Ways) -> None:
        self._exchange = exchange
        self._contacts = contacts
        self._host = host
        self._ways = ways

    async def ask(self, machine: MachineId, payload: object, reply: type[T], *, timeout: float) -> T:
        """Ask a machine; if it cannot be reached directly, once more through a machine that is connected.

        `timeout` in seconds, for all of it. Raises `MeshError`.
        """
        contact = self._contacts.by_machine(machine)
        if contact is None:
            raise MeshUnreachable(f"machine {machine} has not been met yet")
        deadline = trio.current_time() + timeout
        if await self._ways.reach(contact, timeout * _DIRECT_SHARE):
            try:
                left = max(deadline - trio.current_time(), 0.0)
                return await self._exchange.ask(contact, payload, reply, timeout=left)
            except MeshUnreachable as error:  # the connection was lost meanwhile
                log.debug("connection lost", machine=contact.machine, error=str(error))
        between = self._between(contact)
        if between is None:
            raise MeshUnreachable(
                f"{contact.certificate.name}: none of its addresses answers, and no other machine is connected to ask "
                "through; see that it runs and can be dialled"
            )
        left = max(deadline - trio.current_time(), 0.0)
        return await self._exchange.ask(contact, payload, reply, timeout=left, through=between)

    def _between(self, target: Contact) -> Contact | None:
        """Return a connected machine other than the target; always the same one while it stays connected."""
        admitted = (a for a in self._host.peers().values() if isinstance(a, Contact))
        machines = (a for a in admitted if a.certificate.role is Role.MACHINE and a.machine != target.machine)
        return min(machines, key=lambda contact: contact.machine, default=None)
