"""This machine as a member: opened from its state directory, kept fresh while the daemon runs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import structlog
import trio

from beemesh_node.crypto import CryptoError, generate_kem_key
from beemesh_node.daemon.beliefs import Beliefs
from beemesh_node.daemon.enrolment import EnrolmentError, Membership, load_membership
from beemesh_node.daemon.store import FACTS, Store, StoreError
from beemesh_node.membership.clock import MeshClock
from beemesh_node.messaging.directory import ContactBook
from beemesh_node.messaging.local import LocalMember
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import SessionId
from beemesh_node.protocol.replay import FRESHNESS_MS
from beemesh_node.protocol.session import KEM_LIFETIME_MS, LocalSession, new_session_id, start_session

log = structlog.get_logger()

Introduce: TypeAlias = Callable[[LocalSession], Awaitable[None]]

_CLOCK = "clock"
_PERSIST_EVERY = 60.0
"""Seconds between two writes of mesh time: how far it may have to be made up after a power loss."""
_KEM_FRESH_SECONDS = 0.8 * KEM_LIFETIME_MS / 1000
"""A KEM key is replaced before its week is over."""


class LocalMachine:
    """Certificate, session and clock of this machine."""

    def __init__(self, state: Path, membership: Membership, store: Store, limiter: trio.CapacityLimiter) -> None:
        """`limiter` admits one thread to the `store` at a time. Raises `StoreError`."""
        persisted = store.get(FACTS, _CLOCK)
        floor = max(int(persisted or b"0"), membership.certificate.not_before)
        wall_ms = time.time_ns() // 1_000_000
        self.membership = membership
        self.state = state
        self.beliefs = Beliefs(state, membership, store, limiter)
        # A clock that is behind what was known before cannot be right: others have to tell the time.
        self.clock = MeshClock(floor, wall_ms - round(trio.current_time() * 1000), fallback_plausible=wall_ms >= floor)
        self._told_ms = 0
        self.introduce: Introduce = _nobody
        """Called with the session under a new certificate before anything is said in it."""
        self.member = LocalMember(
            start_session(
                membership.identity.signing,
                generate_kem_key(),
                membership.certificate,
                membership.certificate_bytes,
                new_session_id(),
                self.mesh_time(),
            ),
            ContactBook(membership.trust),
            self.mesh_time,
        )
        self.follow_epoch()
        self._store, self._limiter = store, limiter

    def mesh_time(self) -> int:
        """Mesh time in ms."""
        time_ms = self.clock.time_ms(trio.current_time())
        if time_ms < self._told_ms - FRESHNESS_MS:
            # The one fall that confirmation allows: what was broadcast since then must not look stale.
            self.member.opener.restart_broadcasts(time_ms)
        self._told_ms = time_ms
        return time_ms

    def time_known(self) -> bool:
        """Whether mesh time is more than a lower bound."""
        return self.clock.known

    def follow_epoch(self) -> None:
        """Broadcast under the present epoch."""
        self.member.add_epoch(self.beliefs.secret)

    async def keep(self) -> None:
        """Persist mesh time and replace the KEM key when its time is over, for ever."""
        fresh_until = trio.current_time() + _KEM_FRESH_SECONDS
        while True:
            await trio.sleep(_PERSIST_EVERY)
            if self.clock.confirmed:
                await self._keep_time()
            await self.beliefs.keep()
            if trio.current_time() >= fresh_until:
                self.member.renew(self._next_session())
                fresh_until = trio.current_time() + _KEM_FRESH_SECONDS

    async def _keep_time(self) -> None:
        value = {(FACTS, _CLOCK): str(self.mesh_time()).encode()}
        try:
            await trio.to_thread.run_sync(self._store.write, value, limiter=self._limiter)
        except StoreError as error:
            log.warning("mesh time not written", error=str(error))

    async def reload(self) -> None:
        """Take up a certificate and trust bundle that were replaced on disk; what cannot be used is logged."""
        try:
            fresh = await trio.to_thread.run_sync(load_membership, self.state)
            await self.beliefs.take(fresh.trust.chain, fresh.revocations, (fresh.epoch_secret,))
        except (CryptoError, EnrolmentError, ProtocolError, StoreError, OSError, ValueError) as error:
            log.warning("certificates not reloaded", error=str(error))
            return
        if fresh.certificate.machine_id != self.membership.certificate.machine_id:
            log.warning("certificates not reloaded", error="another machine's certificate: restart beemeshd")
            return
        if fresh.identity.peer.peer_id != self.membership.identity.peer.peer_id:
            log.warning("certificates not reloaded", error="they are for new keys: restart beemeshd")
            return
        self.follow_epoch()
        known = self.membership.certificate_bytes
        self.membership = replace(fresh, trust=self.beliefs.trust)
        session = self._next_session()
        if fresh.certificate_bytes != known:
            await self.introduce(session)
        self.member.renew(session)
        log.info("certificates reloaded", not_after=fresh.certificate.not_after)

    def _next_session(self) -> LocalSession:
        """The same session with another KEM key, under the present certificate."""
        membership = self.membership
        session_id: SessionId = self.member.session.statement.session_id
        return start_session(
            membership.identity.signing,
            generate_kem_key(),
            membership.certificate,
            membership.certificate_bytes,
            session_id,
            self.mesh_time(),
        )


async def _nobody(_: LocalSession) -> None:
    """Stand in until there is a door."""
