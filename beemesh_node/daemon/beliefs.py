"""What this machine believes of others, on disk and in memory alike: roots, revocations, the epoch's secret."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, final

import msgspec
import structlog
import trio

from beemesh_node.crypto import CryptoError
from beemesh_node.daemon.enrolment import Membership, save_trust
from beemesh_node.daemon.store import FACTS, Store
from beemesh_node.protocol.encryption import epoch_id
from beemesh_node.protocol.messages import TrustNews
from beemesh_node.protocol.revocation import RevocationError, Revocations, SignedList, sift
from beemesh_node.protocol.trust import TrustStore

log = structlog.get_logger()

_FACT: Final = "trust"


class _Stored(msgspec.Struct, frozen=True):
    """List and secret of the present epoch, written in one step, with the lists that count beside it."""

    lists: tuple[bytes, ...]
    secrets: tuple[bytes, ...]


@final
class Beliefs:
    """Takes news that prove themselves: first they are written, then they are believed."""

    def __init__(self, state: Path, membership: Membership, store: Store, limiter: trio.CapacityLimiter) -> None:
        """Take up what was believed before. Blocks. Raises `StoreError`."""
        self.trust: TrustStore = membership.trust
        self._state, self._store, self._limiter = state, store, limiter
        self._taking = trio.Lock()
        self._saved = self.trust.sequence
        self._secrets: dict[bytes, bytes] = {}
        stored = store.get(FACTS, _FACT)
        known = _Stored((), ()) if stored is None else msgspec.json.decode(stored, type=_Stored)
        lists = (*known.lists, *membership.revocations)
        found, errors = sift(lists, self.trust)
        for error in errors:
            log.warning("a stored revocation list is not believed any more", error=str(error))
        self.trust.heed(Revocations(found))
        self._learn((*known.secrets, membership.epoch_secret))
        self._first_secret = membership.epoch_secret

    @property
    def secret(self) -> bytes:
        """Of the present epoch."""
        top = self.trust.revocations.top
        return self._first_secret if top is None else self._secrets.get(top.content.epoch, self._first_secret)

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """Of every epoch that a list in force names, as far as they are known."""
        epochs = (each.content.epoch for each in self.trust.revocations.lists)
        return tuple(self._secrets[epoch] for epoch in epochs if epoch in self._secrets)

    def news(self) -> TrustNews:
        """What another machine may lack."""
        lists = tuple(each.raw for each in self.trust.revocations.lists)
        return TrustNews(self.trust.digest, self.trust.chain[1:], lists, self.secrets)

    async def take(self, bundles: Iterable[bytes], lists: Iterable[bytes], secrets: Iterable[bytes]) -> bool:
        """Believe what is newer and genuine. True if anything is different now.

        Raises `ProtocolError` for what is not genuine, once what is has been taken, and `StoreError` when lists cannot
        be written: these have changed nothing then.
        """
        async with self._taking:
            before = self.trust.digest
            self.trust.catch_up(bundles)
            await self.keep()
            genuine, errors = sift(lists, self.trust, self.trust.revocations)
            await self._merge(genuine, secrets)
            if errors:
                raise errors[0]
            return self.trust.digest != before

    async def keep(self) -> None:
        """Write the trusted roots if a hello has brought newer ones."""
        if self.trust.sequence == self._saved:
            return
        saved = self.trust.sequence
        try:
            await trio.to_thread.run_sync(save_trust, self._state, self.trust)
        except CryptoError as error:
            log.warning("trust bundle not written", error=str(error))
        else:
            self._saved = saved

    async def _merge(self, lists: list[SignedList], secrets: Iterable[bytes]) -> None:
        union = self.trust.revocations.merged(lists)
        top = union.top
        if top is None or union == self.trust.revocations:
            return
        offered = {epoch_id(secret): secret for secret in secrets} | self._secrets
        if top.content.epoch not in offered:
            raise RevocationError(f"the secret of epoch {top.content.number} is missing: list and secret are one thing")
        known = {
            each.content.epoch: offered[each.content.epoch] for each in union.lists if each.content.epoch in offered
        }
        value = msgspec.json.encode(_Stored(tuple(each.raw for each in union.lists), tuple(known.values())))
        await trio.to_thread.run_sync(self._store.write, {(FACTS, _FACT): value}, limiter=self._limiter)
        self._secrets = known
        self.trust.heed(union)
        log.warning("another epoch", number=union.number, revoked=[entry.name for entry in union.entries])

    def _learn(self, secrets: Iterable[bytes]) -> None:
        self._secrets |= {epoch_id(secret): secret for secret in secrets}
