"""The mutual hello, without I/O: who is at the other end, proved, before anything else is served to it.

What belongs here: the order of the frames and when they are believed. What never does: streams, timeouts, clocks (the
caller says what time it is), retries, what follows from an introduction.

Both sides do the same at the same time; the initiator is the one that dialled:

    greeting  certificate, session statement, challenge (32 random bytes), sequence of the trust bundle, recent bundles
    proof     32 random bytes sealed to the other's KEM key, mesh time, signature

The signature, with context `beemesh/1/hello`, is over the signer's role, the transcript (both peer ids as Noise saw
them and the hashes of both greetings, hence of both certificates, session ids and challenges), the mesh time and the
sealed bytes. As the time is signed together with the other's challenge, it is known to have been said in between. Both
random secrets, mixed with the hash of it all, give the keys for session frames: whoever has them holds its KEM key.

    hello = Hello(...)
    await stream.write_frame(hello.begin(now()))
    await stream.write_frame(hello.receive_greeting(await stream.read_frame(MAX_HELLO_FRAME), now()))
    introduction = hello.receive_proof(await stream.read_frame(MAX_HELLO_FRAME), now())

After a `HelloRefused` its `frame`, if any, may be sent to tell the other side why. The trust store may have grown even
then: keep what its `dump` gives when its sequence is another than before.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar, final

from beemesh_node.crypto import DecryptionError, InvalidKeyError, kdf, seal, verify
from beemesh_node.protocol.certificate import Certificate, fingerprint_of
from beemesh_node.protocol.errors import BadSignatureError, OversizeError, ProtocolError
from beemesh_node.protocol.greeting import (
    CHALLENGE_SIZE,
    SECRET_SIZE,
    Greeting,
    GreetingProof,
    HelloRefusal,
    HelloRefused,
    pack,
    parse_greeting,
    parse_proof,
)
from beemesh_node.protocol.ids import Fingerprint, PeerId
from beemesh_node.protocol.session import LocalSession, SessionStatement, open_statement
from beemesh_node.protocol.trust import (
    ExpiredError,
    ForeignMeshError,
    NotYetValidError,
    RevokedError,
    TrustStore,
    UnknownRootError,
)

_CONTEXT: Final = b"beemesh/1/hello"
_SEAL_INFO: Final = b"beemesh/1/hello/seal"
_KEYS_INFO: Final = b"beemesh/1/hello/keys"
_TIME: Final = struct.Struct(">Q")
_INITIATOR, _RESPONDER = b"\0", b"\1"

_CERTIFICATE_REFUSALS: Final[dict[type[ProtocolError], HelloRefusal]] = {
    ForeignMeshError: HelloRefusal.FOREIGN_MESH,
    UnknownRootError: HelloRefusal.UNKNOWN_ROOT,
    BadSignatureError: HelloRefusal.BAD_CERTIFICATE,
    ExpiredError: HelloRefusal.EXPIRED,
    NotYetValidError: HelloRefusal.NOT_YET_VALID,
    OversizeError: HelloRefusal.OVERSIZE,
    RevokedError: HelloRefusal.REVOKED,
}


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Two secrets of 32 bytes, one for each direction, that the two members alone share."""

    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)
    binding: bytes
    """Hash of all that both said, the same on both sides: what `frames.frame_key` is to be bound to."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """Who is at the other end, proved at this moment."""

    certificate: Certificate
    certificate_bytes: bytes = field(repr=False)
    fingerprint: Fingerprint
    statement: SessionStatement
    statement_bytes: bytes = field(repr=False)
    """Its dates have not been looked at: the answer to our challenge says more than they do."""
    session_keys: SessionKeys
    trust_sequence: int
    """Sequence of the peer's trust bundle."""
    trust_digest: bytes
    """`TrustStore.digest` of the peer; empty if it tells none."""
    time_offset_ms: int | None
    """The peer's mesh time less ours; None if it does not know the time."""
    time_error_ms: int
    """By so much the offset may be wrong: half of the time between our challenge and its answer."""


class _Claim(NamedTuple):
    """What the peer's greeting says, its certificate and statement believed, the rest not yet proved."""

    greeting: Greeting
    certificate: Certificate
    fingerprint: Fingerprint
    statement: SessionStatement
    transcript: bytes


class _Fresh(NamedTuple):
    """`begin` is due."""


class _Challenged(NamedTuple):
    """`receive_greeting` is due."""

    at_ms: int
    greeting: bytes


class _Answered(NamedTuple):
    """`receive_proof` is due."""

    challenged_at_ms: int
    claim: _Claim
    sealed: bytes


class _Over(NamedTuple):
    """Nothing is due: it succeeded or was refused."""


State = TypeVar("State", _Fresh, _Challenged, _Answered)


@final
class Hello:
    """One side of one hello: `begin`, `receive_greeting` and `receive_proof`, once each and in this order.

    Times are milliseconds of our own mesh time. `time_known` is false while that is but a lower bound (no clock, and
    nobody met yet): then a certificate that begins later is not refused, and our time is not told. What the peer says
    of the time decides nothing here.
    """

    def __init__(
        self,
        session: LocalSession,
        trust: TrustStore,
        *,
        local: PeerId,
        remote: PeerId,
        initiator: bool,
        time_known: bool = True,
    ) -> None:
        """`local` and `remote` are the peer ids that Noise proved.

        Raises:
            ValueError: our own certificate is for another peer id than `local`.
            HelloRefused: `remote` is ourselves.
        """
        if session.certificate.peer_id != local:
            raise ValueError(f"our certificate is for peer {session.certificate.peer_id}, but libp2p runs as {local}")
        if local == remote:
            raise HelloRefused(HelloRefusal.OURSELVES, f"peer {remote} is this very node; drop its address")
        self._session, self._trust = session, trust
        self._local, self._remote = local, remote
        self._initiator, self._time_known = initiator, time_known
        self._secret = secrets.token_bytes(SECRET_SIZE)
        self._state: _Fresh | _Challenged | _Answered | _Over = _Fresh()

    def begin(self, now_ms: int) -> bytes:
        """Return our greeting."""
        self._take(_Fresh)
        challenge = secrets.token_bytes(CHALLENGE_SIZE)
        certificate, statement = self._session.certificate_bytes, self._session.statement_bytes
        trust = self._trust
        greeting = pack(Greeting(certificate, statement, challenge, trust.sequence, trust.recent, trust.digest))
        self._state = _Challenged(now_ms, greeting)
        return greeting

    def receive_greeting(self, frame: bytes, now_ms: int) -> bytes:
        """Judge the peer's greeting and return our proof.

        Raises:
            HelloRefused: the peer is not to be admitted.
        """
        challenged = self._take(_Challenged)
        claim = self._judge(parse_greeting(frame), self._transcript(challenged.greeting, frame), now_ms)
        try:
            sealed = seal(claim.statement.kem_public_key, self._secret, _SEAL_INFO + claim.transcript)
        except InvalidKeyError as error:
            raise HelloRefused(HelloRefusal.BAD_SESSION, f"{claim.certificate.name}: {error}") from None
        told_time = now_ms if self._time_known else 0
        signed = _signed(self._initiator, claim.transcript, told_time, sealed)
        self._state = _Answered(challenged.at_ms, claim, sealed)
        return pack(GreetingProof(sealed, told_time, self._session.signing_key.sign(signed, _CONTEXT)))

    def receive_proof(self, frame: bytes, now_ms: int) -> Introduction:
        """Judge the peer's proof and return who it is.

        Raises:
            HelloRefused: the peer is not to be admitted.
        """
        challenged_at_ms, claim, sealed = self._take(_Answered)
        proof = parse_proof(frame)
        signed = _signed(not self._initiator, claim.transcript, proof.mesh_time, proof.sealed)
        if not verify(claim.certificate.public_key, proof.signature, signed, _CONTEXT):
            raise HelloRefused(HelloRefusal.BAD_PROOF, f"{claim.certificate.name} did not sign this very hello")
        try:
            secret = self._session.kem_key.open(proof.sealed, _SEAL_INFO + claim.transcript)
        except DecryptionError as error:
            raise HelloRefused(HelloRefusal.BAD_SECRET, f"{claim.certificate.name}: {error}") from None
        return Introduction(
            certificate=claim.certificate,
            certificate_bytes=claim.greeting.certificate,
            fingerprint=claim.fingerprint,
            statement=claim.statement,
            statement_bytes=claim.greeting.statement,
            session_keys=self._agree(claim.transcript, (self._secret, sealed), (secret, proof.sealed)),
            trust_sequence=claim.greeting.trust_sequence,
            trust_digest=claim.greeting.trust_digest,
            time_offset_ms=proof.mesh_time - (challenged_at_ms + now_ms) // 2 if proof.mesh_time else None,
            time_error_ms=max(0, now_ms - challenged_at_ms) // 2,
        )

    def _take(self, due: type[State]) -> State:
        """Return the state in which a step is due; unless the step succeeds, none is due any more."""
        state, self._state = self._state, _Over()
        if isinstance(state, due):
            return state
        raise RuntimeError(f"hello: called in state {type(state).__name__}; see the order in the class")

    def _judge(self, greeting: Greeting, transcript: bytes, now_ms: int) -> _Claim:
        try:
            self._trust.catch_up(greeting.trust)
        except ProtocolError as error:
            raise HelloRefused(HelloRefusal.BAD_TRUST, str(error)) from None
        try:
            certificate = self._trust.verify_certificate(greeting.certificate, now_ms, lower_bound=not self._time_known)
        except ProtocolError as error:
            reason = _CERTIFICATE_REFUSALS.get(type(error), HelloRefusal.MALFORMED)
            raise HelloRefused(reason, str(error)) from None
        if certificate.peer_id != self._remote:
            raise HelloRefused(
                HelloRefusal.OTHER_PEER, f"{certificate.name} is {certificate.peer_id}, not {self._remote}"
            )
        fingerprint = fingerprint_of(greeting.certificate)
        try:
            statement = open_statement(greeting.statement, certificate, fingerprint)
        except ProtocolError as error:
            raise HelloRefused(HelloRefusal.BAD_SESSION, str(error)) from None
        return _Claim(greeting, certificate, fingerprint, statement, transcript)

    def _transcript(self, ours: bytes, theirs: bytes) -> bytes:
        sides = [(self._local, ours), (self._remote, theirs)]
        digest = hashlib.sha256(_CONTEXT)
        for peer, greeting in sides if self._initiator else reversed(sides):
            digest.update(hashlib.sha256(peer.encode()).digest() + hashlib.sha256(greeting).digest())
        return digest.digest()

    def _agree(self, transcript: bytes, ours: tuple[bytes, bytes], theirs: tuple[bytes, bytes]) -> SessionKeys:
        """Mix both secrets, each given with its sealed form."""
        sides = [ours, theirs]
        (first, first_sealed), (second, second_sealed) = sides if self._initiator else reversed(sides)
        binding = hashlib.sha256(transcript + first_sealed + second_sealed).digest()
        keys = kdf.derive(first + second, binding, _KEYS_INFO, 2 * SECRET_SIZE)
        onward, back = keys[:SECRET_SIZE], keys[SECRET_SIZE:]
        return SessionKeys(onward, back, binding) if self._initiator else SessionKeys(back, onward, binding)


def _signed(initiator: bool, transcript: bytes, mesh_time: int, sealed: bytes) -> bytes:
    return (_INITIATOR if initiator else _RESPONDER) + transcript + _TIME.pack(mesh_time) + sealed
