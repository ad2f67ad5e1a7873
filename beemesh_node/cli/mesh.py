"""The mesh as a command has it while it runs: a session, who is asking, and which namespace is meant."""

from __future__ import annotations

import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import trio

from beemesh_node.cli.context import Context, ContextSettings, default_namespace, resolve
from beemesh_node.cli.errors import CliError, InvalidInputError
from beemesh_node.cli.operator import Operator, load_operator, save_trust
from beemesh_node.cli.options import settings
from beemesh_node.cli.progress import progress
from beemesh_node.cli.session import Session
from beemesh_node.cli.terminal import note
from beemesh_node.cli.times import now_ms
from beemesh_node.crypto.errors import KeyStoreError
from beemesh_node.messaging.errors import ConnectionLost, RequestTimeout
from beemesh_node.protocol.certificate import Certificate
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId

T = TypeVar("T")

_ADDRESSES_ENOUGH = 16
"""Addresses in a context beyond which no more are noted."""
_ADDRESSES_OF_ONE = 2
_ABSENT_NAMED = 3
_CONNECT_WITHIN = 15.0
"""Seconds for one of the first addresses to answer."""
_RECONNECT_PAUSE = 0.5
"""Seconds before a lost connection is made anew."""
_TRIES = 3
"""How often in a row a connection may be lost as soon as it is made."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """What a command works with."""

    session: Session
    operator: Operator
    namespace: str

    def chain(self, certificate: bytes) -> Certificate:
        """Verify a certificate against all roots that ever were, without its dates. Raises `ProtocolError`."""
        return self.operator.trust.verify_past(certificate)

    async def refresh(self) -> None:
        """Learn anew which machines there are. Raises `ConnectionLost`."""
        try:
            await self.session.refresh()
        except RequestTimeout as error:
            raise ConnectionLost(str(error)) from error

    def absences(self, silent: Mapping[MachineId, str]) -> str:
        """Which machines did not answer and why, for people; empty when all did."""
        if not silent:
            return ""
        told = [f"{self.machine_name(machine)} ({why})" for machine, why in sorted(silent.items())[:_ABSENT_NAMED]]
        more = f" and {len(silent) - _ABSENT_NAMED} others" if len(silent) > _ABSENT_NAMED else ""
        return f"no answer from {', '.join(told)}{more}, so something may be missing"

    def machine_name(self, machine: str) -> str:
        """What people call a machine; its id when its certificate is not known."""
        entry = self.session.machines.get(MachineId(machine))
        if entry is None:
            return machine
        try:
            return self.chain(entry.certificate).name
        except ProtocolError:
            return machine


Work = Callable[[Mesh], Awaitable[T]]


def in_mesh(work: Work[T], *, steadily: bool = False, avoid: Container[str] = ()) -> T:
    """Connect as the options of the running command say, do `work`, and return what it returns.

    With `steadily` a lost connection is made anew, if need be through another machine, and `work` done from its start:
    for what only looks, and for what knows by itself what it has done already. The mesh is not entered by the machines
    of the peer ids to `avoid`, as long as others are known.
    """
    chosen = settings()
    context = resolve(chosen)
    loaded = ContextSettings.load(context)
    if not loaded.bootstrap:
        raise InvalidInputError(
            f"{context.path}: no machine of the mesh is known: let one join, or add its address with "
            "`beectl context add-address /ip4/ADDRESS/tcp/7400/p2p/PEER`"
        )
    operator = load_operator(context, loaded)
    others = tuple(each for each in operator.bootstrap if each.rpartition("/p2p/")[2] not in avoid)
    operator = replace(operator, bootstrap=others or operator.bootstrap)
    if warning := operator.expires_soon:
        note(warning)
    namespace = default_namespace(chosen)
    known = operator.trust.digest

    fruitless = 0

    async def attempt() -> T:
        nonlocal fruitless
        fruitless += 1
        async with connect(operator) as session:
            fruitless = 0
            _remember_addresses(context, loaded, session)
            _remember_trust(context, operator, known)
            return await work(Mesh(session, operator, namespace))

    async def run() -> T:
        while True:
            try:
                return await attempt()
            except (ConnectionLost, ExceptionGroup) as error:
                if not steadily or fruitless == _TRIES or not _is_lost_connection(error):
                    raise
            note("The connection was lost; connecting anew.")
            await trio.sleep(_RECONNECT_PAUSE)

    try:
        return trio.run(run)
    except BaseExceptionGroup as group:
        # Whoever pressed Ctrl-C, or closed the pipe that is written to, means all of it.
        if group.subgroup(KeyboardInterrupt) is not None:
            raise KeyboardInterrupt from None
        if group.subgroup(BrokenPipeError) is not None:
            raise BrokenPipeError(errno.EPIPE, "nobody reads the output any more") from None
        raise


async def once(change: Awaitable[T]) -> T:
    """Make a change that is not made again by itself when the connection is lost: nobody knows how far it came."""
    try:
        return await change
    except* ConnectionLost:
        raise CliError(
            "the connection was lost while changing something, and how far that came is not known: see what is in "
            "force with `beectl get`, and run it again if that is not what you want"
        ) from None


@asynccontextmanager
async def connect(operator: Operator) -> AsyncIterator[Session]:
    """Open a session with whichever known machine answers first. Raises `MeshError`."""
    from beemesh_node.crypto import generate_kem_key
    from beemesh_node.messaging.client import open_session
    from beemesh_node.network.api import HostConfig
    from beemesh_node.protocol.session import new_session_id, start_session

    # What the libraries contain by themselves is no news for whoever typed a command.
    logging.getLogger().addHandler(logging.NullHandler())
    local = start_session(
        operator.identity.signing,
        generate_kem_key(),
        operator.certificate,
        operator.certificate_bytes,
        new_session_id(),
        now_ms(),
    )
    network = HostConfig(
        identity_seed=operator.identity.peer.export_seed(),
        private_network_key=operator.network_key,
        bootstrap=operator.bootstrap,
        light=True,
    )
    with progress("Connecting to the mesh") as line:
        async with open_session(local, operator.trust, network, now_ms, timeout=_CONNECT_WITHIN) as session:
            line.end()
            yield session


def _is_lost_connection(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_lost_connection(each) for each in error.exceptions)
    return isinstance(error, ConnectionLost)


def _remember_trust(context: Context, operator: Operator, known: bytes) -> None:
    """Keep newer roots and revocations that the entry has shown."""
    if operator.trust.digest == known:
        return
    try:
        save_trust(context, operator.trust)
    except KeyStoreError as error:
        note(f"what is new about who belongs to the mesh could not be noted: {error}")


def _remember_addresses(context: Context, loaded: ContextSettings, session: Session) -> None:
    """Note where machines are that no known address leads to: the first ones may be gone one day."""
    known = {address.rpartition("/p2p/")[2] for address in loaded.bootstrap}
    found = [
        address
        for entry in session.machines.values()
        if entry.presence is not None
        for address in entry.presence.addresses[:_ADDRESSES_OF_ONE]
        if "/p2p/" in address and address.rpartition("/p2p/")[2] not in known
    ]
    if not found or len(loaded.bootstrap) >= _ADDRESSES_ENOUGH:
        return
    try:
        loaded.with_bootstrap(tuple(found[: _ADDRESSES_ENOUGH - len(loaded.bootstrap)])).save(context)
    except KeyStoreError as error:
        note(f"addresses of {len(found)} machines could not be noted: {error}")
