"""The members this process knows: what a root and they themselves have signed of them, and nothing else."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from beemesh_node.protocol.certificate import Certificate, Role, fingerprint_of
from beemesh_node.protocol.hello import SessionKeys
from beemesh_node.protocol.ids import Fingerprint, MachineId, PeerId
from beemesh_node.protocol.sealer import Recipient
from beemesh_node.protocol.session import SessionStatement, verify_statement
from beemesh_node.protocol.trust import TrustStore

MAX_CONTACTS = 100_000
"""Members that are kept at most; beyond, who was least recently heard of is forgotten."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A member to whom a message can be sealed. Both objects are as received, so that they can be handed on."""

    certificate: Certificate
    certificate_bytes: bytes = field(repr=False)
    fingerprint: Fingerprint
    statement: SessionStatement
    statement_bytes: bytes = field(repr=False)
    session_keys: SessionKeys | None = field(default=None, repr=False, compare=False)
    """Only in the admission of a connection: what its hello agreed on, for session frames on its streams."""
    trust_digest: bytes = field(default=b"", repr=False, compare=False)
    """Only in the admission of a connection: `TrustStore.digest` of the member when it began."""

    @property
    def machine(self) -> MachineId:
        """The member's id, for operators too."""
        return self.certificate.machine_id

    @property
    def peer(self) -> PeerId:
        """Its libp2p peer id."""
        return self.certificate.peer_id

    @property
    def recipient(self) -> Recipient:
        """What sealing to it needs."""
        return Recipient(self.fingerprint, self.statement.session_id, self.statement.kem_public_key)


class ContactBook:
    """Finds contacts by certificate and by member. Implements `protocol.opener.Directory`."""

    def __init__(self, trust: TrustStore) -> None:
        self.trust = trust
        self._contacts: OrderedDict[Fingerprint, Contact] = OrderedDict()
        self._newest: dict[MachineId, Fingerprint] = {}

    def learn(self, certificate: bytes, statement: bytes, now_ms: int, *, lower_bound: bool = False) -> Contact:
        """Verify what was shown or handed on, and keep it if it is news. Times are ms of mesh time.

        Of two statements of one member the one that begins later is kept. Raises `ProtocolError`.
        """
        return self.admit(self.verify(certificate, statement, now_ms, lower_bound=lower_bound))

    def verify(self, certificate: bytes, statement: bytes, now_ms: int, *, lower_bound: bool = False) -> Contact:
        """Return the contact that was shown or handed on, if it is one, and keep nothing. Raises `ProtocolError`."""
        fingerprint = fingerprint_of(certificate)
        known = self._contacts.get(fingerprint)
        if known is not None and known.statement_bytes == statement and self.trust.believes(known.certificate):
            return known
        opened = self.trust.verify_certificate(certificate, now_ms, lower_bound=lower_bound)
        stated = verify_statement(statement, opened, fingerprint, now_ms, lower_bound=lower_bound)
        return Contact(opened, certificate, fingerprint, stated, statement)

    def admit(self, contact: Contact) -> Contact:
        """Keep a contact that has just been verified, unless a later statement of it is known; return what is kept."""
        known = self._contacts.get(contact.fingerprint)
        if known is not None and known.statement.not_before > contact.statement.not_before:
            return known
        self._contacts[contact.fingerprint] = contact
        self._contacts.move_to_end(contact.fingerprint)
        newest = self._newest_of(contact.machine)
        if (
            newest is None
            or not self.trust.believes(newest.certificate)
            or newest.certificate.not_before <= contact.certificate.not_before
        ):
            self._newest[contact.machine] = contact.fingerprint
        while len(self._contacts) > MAX_CONTACTS:
            fingerprint, forgotten = self._contacts.popitem(last=False)
            if self._newest.get(forgotten.machine) == fingerprint:
                del self._newest[forgotten.machine]
        return contact

    def by_fingerprint(self, fingerprint: Fingerprint) -> Contact | None:
        """Who has this certificate, if known."""
        return self._contacts.get(fingerprint)

    def by_machine(self, machine: MachineId) -> Contact | None:
        """The member with this id, under its newest certificate, if known. None too if that is believed no more."""
        newest = self._newest_of(machine)
        return newest if newest is not None and self.trust.believes(newest.certificate) else None

    def by_peer(self, peer: PeerId) -> Contact | None:
        """The member with this peer id, if known."""
        return next((contact for contact in self._contacts.values() if contact.peer == peer), None)

    def machines(self) -> tuple[Contact, ...]:
        """Every machine known that is believed, operators left out."""
        contacts = (self._contacts[fingerprint] for fingerprint in self._newest.values())
        return tuple(
            contact
            for contact in contacts
            if contact.certificate.role is Role.MACHINE and self.trust.believes(contact.certificate)
        )

    def disbelieved(self) -> tuple[Contact, ...]:
        """The newest contact of every member that is believed no more."""
        contacts = (self._contacts[fingerprint] for fingerprint in self._newest.values())
        return tuple(contact for contact in contacts if not self.trust.believes(contact.certificate))

    def certificate(self, fingerprint: Fingerprint) -> Certificate | None:
        """See `protocol.opener.Directory`."""
        contact = self._contacts.get(fingerprint)
        return None if contact is None else contact.certificate

    def is_revoked(self, fingerprint: Fingerprint) -> bool:
        """See `protocol.opener.Directory`. Roots that are no longer trusted take their certificates with them."""
        contact = self._contacts.get(fingerprint)
        return contact is not None and not self.trust.believes(contact.certificate)

    def _newest_of(self, machine: MachineId) -> Contact | None:
        fingerprint = self._newest.get(machine)
        return None if fingerprint is None else self._contacts.get(fingerprint)
