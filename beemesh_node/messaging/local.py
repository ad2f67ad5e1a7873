"""The process itself as a member: keys, session, epochs, clock, and the door in and out that is built on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

from beemesh_node.crypto import KemKey
from beemesh_node.messaging.directory import ContactBook
from beemesh_node.protocol.counters import RefusalCounters
from beemesh_node.protocol.encryption import epoch_id
from beemesh_node.protocol.ids import Fingerprint
from beemesh_node.protocol.opener import Opener
from beemesh_node.protocol.sealer import Sealer
from beemesh_node.protocol.session import LocalSession

EPOCH_GRACE_MS: Final = 10 * 60 * 1000
"""For how long what is sent under an earlier epoch is still read: by members whom the next one has not reached yet."""


@final
class LocalMember:
    """Implements `protocol.opener.OwnKeys`. The session changes with a new KEM key or certificate, its id does not."""

    def __init__(self, session: LocalSession, contacts: ContactBook, mesh_time: Callable[[], int]) -> None:
        """`mesh_time` tells mesh time in ms."""
        self.mesh_time = mesh_time
        self.contacts = contacts
        self.counters = RefusalCounters()
        self._session = session
        self._earlier_kem_key: KemKey | None = None
        self._earlier_fingerprint: Fingerprint | None = None
        self._epochs: dict[bytes, tuple[bytes, int | None]] = {}
        """Id -> secret, and until when it is read (ms of mesh time); None for the present one."""
        self._present_epoch: bytes | None = None
        self.opener = Opener(
            contacts.trust.mesh_id, session.statement.session_id, mesh_time(), self, contacts, self.counters
        )
        self.sealer = self._new_sealer()
        self._earlier_sealer: Sealer | None = None

    @property
    def session(self) -> LocalSession:
        """What is shown in hello and presence."""
        return self._session

    @property
    def present_epoch(self) -> bytes | None:
        """The secret under which this member broadcasts; operators hold none."""
        return self._present_epoch

    def renew(self, session: LocalSession) -> None:
        """Go on with another KEM key or certificate. What is under way to the last one can still be opened."""
        if session.statement.session_id != self._session.statement.session_id:
            raise ValueError("a session keeps its id for the life of the process")
        self._earlier_kem_key, self._earlier_fingerprint = self._session.kem_key, self._session.fingerprint
        self._earlier_sealer = self.sealer
        self._session = session
        self.sealer = self._new_sealer()

    def sealer_as(self, fingerprint: Fingerprint) -> Sealer:
        """Return what seals in the name of a certificate of ours: who asked us by the last one knows no other yet."""
        earlier = self._earlier_sealer
        return earlier if earlier is not None and fingerprint == self._earlier_fingerprint else self.sealer

    def add_epoch(self, secret: bytes) -> None:
        """Broadcast under this epoch from now on; what others send under the last one is read for a while longer."""
        if secret == self._present_epoch:
            return
        if self._present_epoch is not None:
            until = self.mesh_time() + EPOCH_GRACE_MS
            self._epochs[epoch_id(self._present_epoch)] = self._present_epoch, until
        self._epochs[epoch_id(secret)] = secret, None
        self._present_epoch = secret

    def is_own(self, fingerprint: Fingerprint) -> bool:
        """See `protocol.opener.OwnKeys`."""
        return fingerprint in (self._session.fingerprint, self._earlier_fingerprint)

    def kem_keys(self) -> Sequence[KemKey]:
        """See `protocol.opener.OwnKeys`."""
        earlier = () if self._earlier_kem_key is None else (self._earlier_kem_key,)
        return (self._session.kem_key, *earlier)

    def epoch_secret(self, epoch: bytes) -> bytes | None:
        """See `protocol.opener.OwnKeys`."""
        secret, until = self._epochs.get(epoch, (None, None))
        if until is not None and self.mesh_time() > until:
            del self._epochs[epoch]
            return None
        return secret

    def _new_sealer(self) -> Sealer:
        return Sealer(self.contacts.trust.mesh_id, self._session.fingerprint, self._session.signing_key)
