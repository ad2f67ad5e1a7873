"""A member's own word on its session: the id of its present run and the KEM key to which others seal.

A session statement is a signed object of kind `session`, signed by the member itself, so it may be handed on by
anybody: with certificate and statement of a member one can seal to it without having met it. The KEM key lives a week
and is destroyed when replaced, because otherwise one stolen key would open everything ever recorded.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

from beemesh_node.crypto import KEM_PUBLIC_SIZE, KemKey, SigningKey
from beemesh_node.protocol.certificate import HASH_SIZE, Certificate, fingerprint_of
from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.errors import MalformedError
from beemesh_node.protocol.ids import Fingerprint, SessionId
from beemesh_node.protocol.objects import open_object, sign_object
from beemesh_node.protocol.trust import check_dates

SESSION_KIND: Final = "session"
MAX_STATEMENT: Final = 8 * 1024
"""Bytes of a statement object at most; it has about 4.7 KB."""
SESSION_ID_SIZE: Final = 16
KEM_LIFETIME_MS: Final = 7 * 24 * 3600 * 1000
CLOCK_ALLOWANCE_MS: Final = 3600 * 1000
"""By how much a statement begins before it is made, since clocks differ."""


@dataclass(frozen=True, slots=True)
class SessionStatement:
    """The content of a statement. Of two of one member the one that begins later counts.

    Raises ValueError for what no statement may say.
    """

    signer: Fingerprint
    """Of the certificate under which it is signed."""
    session_id: SessionId
    kem_public_key: bytes
    """MLKEM768-X25519."""
    not_before: int
    """Milliseconds of mesh time."""
    not_after: int
    """Milliseconds of mesh time, the first in which nothing may be sealed to the key any more."""

    def __post_init__(self) -> None:
        if len(self.signer) != HASH_SIZE or len(self.session_id) != SESSION_ID_SIZE:
            raise ValueError(f"a fingerprint has {HASH_SIZE} bytes, a session id {SESSION_ID_SIZE}")
        if len(self.kem_public_key) != KEM_PUBLIC_SIZE:
            raise ValueError(f"an MLKEM768-X25519 public key has {KEM_PUBLIC_SIZE} bytes")
        if not 0 <= self.not_before < self.not_after <= self.not_before + KEM_LIFETIME_MS + CLOCK_ALLOWANCE_MS:
            raise ValueError("it ends before it begins, or more than a week after")


@dataclass(frozen=True, slots=True)
class LocalSession:
    """The own process as a member: what it shows, and the keys with which it proves and reads."""

    signing_key: SigningKey
    kem_key: KemKey
    certificate: Certificate
    certificate_bytes: bytes = field(repr=False)
    statement: SessionStatement
    statement_bytes: bytes = field(repr=False)

    @property
    def fingerprint(self) -> Fingerprint:
        """Of its certificate."""
        return self.statement.signer


def new_session_id() -> SessionId:
    """Draw the id of a new run of a daemon or command."""
    return SessionId(secrets.token_bytes(SESSION_ID_SIZE))


def start_session(
    signing_key: SigningKey,
    kem_key: KemKey,
    certificate: Certificate,
    certificate_bytes: bytes,
    session_id: SessionId,
    now_ms: int,
) -> LocalSession:
    """State that `kem_key` is ours in the session `session_id` for a week from `now_ms` (mesh time).

    Called again, before the week is over, with the same id and a new KEM key.

    Raises:
        ValueError: the certificate is for another key, or the session id has the wrong size.
    """
    if certificate.public_key != signing_key.public_key:
        raise ValueError(f"certificate of {certificate.name}: it is for another key than the one given")
    statement = SessionStatement(
        fingerprint_of(certificate_bytes),
        session_id,
        kem_key.public_key,
        max(0, now_ms - CLOCK_ALLOWANCE_MS),
        now_ms + KEM_LIFETIME_MS,
    )
    statement_bytes = sign_object(SESSION_KIND, encode(statement), signing_key)
    return LocalSession(signing_key, kem_key, certificate, certificate_bytes, statement, statement_bytes)


def open_statement(data: bytes, certificate: Certificate, fingerprint: Fingerprint) -> SessionStatement:
    """Return what a statement says if the holder of `certificate` (verified, with its fingerprint) signed it.

    Dates are not looked at: for hello, where a challenge proves what they can only promise, and where a member without
    a clock must be let in to learn the time.

    Raises:
        OversizeError, MalformedError: it is no statement, or one under another certificate.
        BadSignatureError: altered, or not this member's.
    """
    opened = decode(SessionStatement, open_object(SESSION_KIND, data, certificate.public_key, MAX_STATEMENT))
    if opened.signer != fingerprint:
        raise MalformedError(f"session of {certificate.name}: stated under another certificate; ask the member anew")
    return opened


def verify_statement(
    data: bytes, certificate: Certificate, fingerprint: Fingerprint, now_ms: int, *, lower_bound: bool = False
) -> SessionStatement:
    """Return what a statement says as `open_statement`, if it is also valid at `now_ms`: for one that was handed on.

    Raises:
        ProtocolError: as `open_statement` and `trust.check_dates`, of which see `lower_bound`.
    """
    opened = open_statement(data, certificate, fingerprint)
    what = f"session of {certificate.name}"
    check_dates(what, opened.not_before, opened.not_after, now_ms, lower_bound=lower_bound)
    return opened
