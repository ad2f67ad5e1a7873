"""The way in: bytes become a message that passed every check, or a counted refusal.

    message = header (149 bytes, see `header`) ‖ ciphertext (see `encryption`) ‖ signature (see `batch`)

Nothing here does I/O or looks at a clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol, final

from beemesh_node.crypto import DecryptionError, KemKey
from beemesh_node.protocol.batch import is_signature_size, verify_message
from beemesh_node.protocol.certificate import Certificate
from beemesh_node.protocol.codec import decode
from beemesh_node.protocol.counters import Refusal, RefusalCounters, Refused, UnknownSender
from beemesh_node.protocol.encryption import open_from_epoch, open_from_member
from beemesh_node.protocol.errors import MalformedError
from beemesh_node.protocol.header import HEADER_SIZE, AudienceKind, Header, parse_header
from beemesh_node.protocol.ids import Fingerprint, MeshId, SessionId
from beemesh_node.protocol.messages import PAYLOADS, Sender
from beemesh_node.protocol.policy import BROADCAST_PAYLOADS, MAX_MESSAGE
from beemesh_node.protocol.replay import BroadcastWindow, DirectWindow


class Directory(Protocol):
    """The members that are known. Only certificates that chain to a trusted root are in it."""

    def certificate(self, fingerprint: Fingerprint) -> Certificate | None:
        """Return the certificate, or None if it is not known."""
        ...

    def is_revoked(self, fingerprint: Fingerprint) -> bool:
        """Tell whether a known certificate has been revoked."""
        ...


class OwnKeys(Protocol):
    """What this member can open at the moment: certificates, KEM keys and epochs change while a daemon runs."""

    def is_own(self, fingerprint: Fingerprint) -> bool:
        """Tell whether a certificate is this member's own."""
        ...

    def kem_keys(self) -> Sequence[KemKey]:
        """Return the KEM keys to try, the newest first."""
        ...

    def epoch_secret(self, epoch: bytes) -> bytes | None:
        """Return the secret of the epoch with this id, if it may still be read."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A message that passed every check."""

    header: Header
    certificate: Certificate
    payload: object


@final
class Opener:
    """Opens the messages to one member in one session. One thread at a time.

    The order of the checks is fixed: length, audience, known certificate, validity, session or freshness, replay
    look-up, signature, replay insert, decryption, whether the role may send this type, payload. Until the signature has
    been verified a message changes nothing but a counter, so that no stranger can spend what members need.
    """

    def __init__(
        self,
        mesh_id: MeshId,
        session: SessionId,
        started_at: int,
        keys: OwnKeys,
        directory: Directory,
        counters: RefusalCounters,
    ) -> None:
        """`session` and `started_at` (mesh time in ms) are those of this start of the daemon."""
        self._mesh_id, self._session = mesh_id, session
        self._keys, self._directory = keys, directory
        self._direct, self._broadcasts = DirectWindow(), BroadcastWindow(started_at)
        self._counters = counters

    def restart_broadcasts(self, started_at: int) -> None:
        """Begin anew with broadcasts, at mesh time `started_at`: the time before was wrong."""
        self._broadcasts = BroadcastWindow(started_at)

    def open(self, data: bytes, now: int) -> Opened:
        """Return the message in `data`. `now` is mesh time in ms.

        Raises:
            UnknownSender: nothing is known of the sender; once its certificate is, the same bytes may be tried again.
            Refused: with the reason, which has been counted. Every message that is not returned is refused so.
        """
        try:
            return self._open(data, now)
        except Refused as refused:
            self._counters.count(refused.reason)
            raise

    def _open(self, data: bytes, now: int) -> Opened:
        header = self._check_length(data)
        signature_at = HEADER_SIZE + header.ciphertext_size
        content, signature = data[:signature_at], data[signature_at:]
        epoch_secret = self._check_audience(header)
        certificate = self._directory.certificate(header.sender)
        if certificate is None:
            raise UnknownSender(header.sender)
        self._check_validity(header, certificate, now)
        self._check_new(header, now)
        if not verify_message(header.payload_type, content, signature, certificate.public_key):
            _refuse(Refusal.BAD_SIGNATURE, "altered, or signed by somebody else")
        self._remember(header)
        plaintext = self._decrypt(content, epoch_secret)
        return Opened(header, certificate, _read_payload(header, certificate, plaintext))

    def _check_length(self, data: bytes) -> Header:
        if len(data) > max(MAX_MESSAGE.values()):
            _refuse(Refusal.TOO_LARGE, f"{len(data)} bytes")
        try:
            header = parse_header(data)
        except MalformedError as error:
            _refuse(Refusal.NOT_A_MESSAGE, str(error))
        if len(data) > MAX_MESSAGE[header.audience]:
            _refuse(Refusal.TOO_LARGE, f"{len(data)} bytes")
        if not is_signature_size(len(data) - HEADER_SIZE - header.ciphertext_size):
            _refuse(Refusal.WRONG_LENGTH, f"{len(data)} bytes with a ciphertext of {header.ciphertext_size}")
        return header

    def _check_audience(self, header: Header) -> bytes | None:
        """Return the secret of the epoch if it is to one."""
        if header.mesh_id != self._mesh_id:
            _refuse(Refusal.FOREIGN_MESH, header.mesh_id.hex()[:16])
        if header.audience is AudienceKind.MEMBER:
            if not self._keys.is_own(Fingerprint(header.audience_id)):
                _refuse(Refusal.NOT_FOR_US, header.audience_id.hex()[:16])
            return None
        secret = self._keys.epoch_secret(header.audience_id)
        if secret is None:
            _refuse(Refusal.UNKNOWN_EPOCH, header.audience_id.hex()[:16])
        return secret

    def _check_validity(self, header: Header, certificate: Certificate, now: int) -> None:
        sender = header.sender.hex()[:16]
        if certificate.mesh_id != self._mesh_id:
            _refuse(Refusal.FOREIGN_CERTIFICATE, sender)
        if self._directory.is_revoked(header.sender):
            _refuse(Refusal.REVOKED, sender)
        if now < certificate.not_before:
            _refuse(Refusal.NOT_YET_VALID, sender)
        if now >= certificate.not_after:
            _refuse(Refusal.EXPIRED, f"{sender}; renew it")

    def _check_new(self, header: Header, now: int) -> None:
        if header.audience is AudienceKind.MEMBER:
            if header.session != self._session:
                _refuse(Refusal.OTHER_SESSION, "sent to an earlier start of this daemon; ask for its session again")
            reason = self._direct.look_up(header.sender, header.message_id, header.time)
        else:
            self._broadcasts.advance(now)
            reason = self._broadcasts.freshness(header.time)
            reason = reason or self._broadcasts.look_up(header.sender, header.message_id)
        if reason is not None:
            _refuse(reason, f"sent at {header.time}, now is {now}")

    def _remember(self, header: Header) -> None:
        if header.audience is AudienceKind.MEMBER:
            self._direct.insert(header.sender, header.message_id, header.time)
        else:
            self._broadcasts.insert(header.sender, header.message_id)

    def _decrypt(self, content: bytes, epoch_secret: bytes | None) -> bytes:
        header, ciphertext = content[:HEADER_SIZE], content[HEADER_SIZE:]
        try:
            if epoch_secret is not None:
                return open_from_epoch(epoch_secret, ciphertext, header)
            return open_from_member(self._keys.kem_keys(), ciphertext, header)
        except DecryptionError as error:
            _refuse(Refusal.UNDECRYPTABLE, str(error))


def _read_payload(header: Header, certificate: Certificate, plaintext: bytes) -> object:
    cls, allowed = PAYLOADS.get(header.payload_type, (None, None))
    if cls is None or allowed is None:
        _refuse(Refusal.UNKNOWN_TYPE, str(header.payload_type))
    if allowed not in (Sender.ANY, certificate.role):
        _refuse(Refusal.ROLE_NOT_ALLOWED, f"{cls.__name__} from a {certificate.role.name.lower()}")
    if header.audience is AudienceKind.EPOCH and cls not in BROADCAST_PAYLOADS:
        _refuse(Refusal.AUDIENCE_NOT_ALLOWED, f"{cls.__name__} to all members")
    try:
        return decode(cls, plaintext)
    except MalformedError as error:
        _refuse(Refusal.MALFORMED_PAYLOAD, str(error))


def _refuse(reason: Refusal, detail: str) -> NoReturn:
    raise Refused(reason, detail)
