"""Why messages are refused, and how often each was."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import final

from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import Fingerprint


class Refusal(StrEnum):
    """Every reason for which a message is refused, in the order of the checks. The values are names for metrics."""

    TOO_LARGE = "too_large"
    """More bytes than its audience may be sent."""
    NOT_A_MESSAGE = "not_a_message"
    """Too short, no magic, another version or suite, or an unknown kind of audience."""
    WRONG_LENGTH = "wrong_length"
    """Not exactly as long as its header and signature say: cut short, or with bytes left over."""
    FOREIGN_MESH = "foreign_mesh"
    NOT_FOR_US = "not_for_us"
    """Sealed to another member."""
    UNKNOWN_EPOCH = "unknown_epoch"
    """Under an epoch whose secret is not (or no longer) held."""
    UNKNOWN_SENDER = "unknown_sender"
    FOREIGN_CERTIFICATE = "foreign_certificate"
    """The sender's certificate is of another mesh."""
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    REVOKED = "revoked"
    OTHER_SESSION = "other_session"
    """For an earlier life of this daemon."""
    BEFORE_START = "before_start"
    """Broadcast before this daemon started, when it could not have remembered it."""
    STALE = "stale"
    FROM_FUTURE = "from_future"
    REPLAYED = "replayed"
    BEYOND_WINDOW = "beyond_window"
    """So old among its sender's messages that nobody remembers any more whether it was received."""
    WINDOW_FULL = "window_full"
    """More broadcasts within a minute than can be remembered."""
    BAD_SIGNATURE = "bad_signature"
    UNDECRYPTABLE = "undecryptable"
    UNKNOWN_TYPE = "unknown_type"
    ROLE_NOT_ALLOWED = "role_not_allowed"
    """The sender's role may not send this type."""
    AUDIENCE_NOT_ALLOWED = "audience_not_allowed"
    """A type that is for one member was sent to all."""
    MALFORMED_PAYLOAD = "malformed_payload"
    FRAME_MALFORMED = "frame_malformed"
    """On a stream of beats: too long, too short, or nothing that is known there."""
    FRAME_REPLAYED = "frame_replayed"
    FRAME_UNDECRYPTABLE = "frame_undecryptable"
    FRAME_NOT_EXPECTED = "frame_not_expected"
    """What only the other side of the stream may say, or more often than it may."""
    DATAGRAM_UNKNOWN = "datagram_unknown"
    """Of no stream of beats that is open."""
    BAD_TRUST = "bad_trust"
    """News of roots or revocations that are forged, of another mesh, too large, or of one who may not say them."""
    STREAM_NOT_ALLOWED = "stream_not_allowed"
    """A stream of beats of an operator, or more of them than one machine may have."""


class Refused(ProtocolError):
    """A message was refused, and nothing but a counter (and, after its signature held, the replay window) changed."""

    def __init__(self, reason: Refusal, detail: str) -> None:
        super().__init__(f"message refused ({reason}): {detail}")
        self.reason = reason


class UnknownSender(Refused):
    """Refused for want of the sender's certificate. Whoever can fetch it may offer the same message again."""

    def __init__(self, fingerprint: Fingerprint) -> None:
        super().__init__(
            Refusal.UNKNOWN_SENDER, f"no certificate {fingerprint.hex()[:16]} is known; ask who delivered it"
        )
        self.fingerprint = fingerprint


@final
class RefusalCounters:
    """How often each reason occurred since the start. One is shared by all that refuse messages."""

    def __init__(self) -> None:
        self._counts: Counter[Refusal] = Counter()

    def count(self, reason: Refusal) -> None:
        """Add one."""
        self._counts[reason] += 1

    def __getitem__(self, reason: Refusal) -> int:
        return self._counts[reason]

    def snapshot(self) -> Mapping[str, int]:
        """Return a copy of the reasons that occurred and how often."""
        return {reason.value: count for reason, count in self._counts.items()}
