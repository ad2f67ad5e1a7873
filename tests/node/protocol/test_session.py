"""Session statements: the member's own word, for a week, under one certificate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.crypto import generate_kem_key
from beemesh_node.protocol.certificate import fingerprint_of
from beemesh_node.protocol.codec import encode
from beemesh_node.protocol.errors import BadSignatureError, MalformedError, OversizeError
from beemesh_node.protocol.ids import Fingerprint, SessionId
from beemesh_node.protocol.objects import sign_object
from beemesh_node.protocol.session import (
    MAX_STATEMENT,
    SESSION_KIND,
    SessionStatement,
    new_session_id,
    open_statement,
    start_session,
    verify_statement,
)
from beemesh_node.protocol.trust import ExpiredError, NotYetValidError
from tests.node.crypto.support import flip
from tests.node.protocol.mesh import DAY, HOUR, NOW, Mesh

MESH = Mesh()
MEMBER = MESH.member()
SESSION = MEMBER.session()
VALID = SESSION.statement_bytes


def verified(data: bytes, now_ms: int = NOW) -> SessionStatement:
    return verify_statement(data, MEMBER.certificate, MEMBER.fingerprint, now_ms)


def test_a_statement_tells_session_and_kem_key() -> None:
    statement = verified(VALID)
    assert statement == SESSION.statement
    assert (statement.signer, statement.kem_public_key) == (SESSION.fingerprint, MEMBER.kem_key.public_key)
    assert SESSION.fingerprint == fingerprint_of(MEMBER.certificate_bytes)
    assert len(VALID) < 4800
    assert MEMBER.session().statement.session_id != statement.session_id


def test_it_lives_a_week_and_dates_are_checked_for_what_was_handed_on() -> None:
    statement = SESSION.statement
    assert (statement.not_before, statement.not_after) == (NOW - HOUR, NOW + 7 * DAY)
    assert verified(VALID, statement.not_before) == verified(VALID, statement.not_after - 1) == statement
    with pytest.raises(ExpiredError, match="session of pi-kitchen: expired"):
        verified(VALID, statement.not_after)
    with pytest.raises(NotYetValidError):
        verified(VALID, statement.not_before - 1)
    assert open_statement(VALID, MEMBER.certificate, MEMBER.fingerprint) == statement
    assert verify_statement(VALID, MEMBER.certificate, MEMBER.fingerprint, 0, lower_bound=True) == statement


def test_a_machine_in_1970_can_state_its_session() -> None:
    session = MEMBER.session(now_ms=0)
    assert session.statement.not_before == 0


def test_nobody_can_state_a_session_for_another() -> None:
    other = MESH.member()
    with pytest.raises(BadSignatureError):
        verify_statement(VALID, other.certificate, other.fingerprint, NOW)
    forged = sign_object(SESSION_KIND, encode(SESSION.statement), other.identity.signing)
    with pytest.raises(BadSignatureError):
        verified(forged)
    with pytest.raises(ValueError, match="another key"):
        start_session(
            other.identity.signing,
            other.kem_key,
            MEMBER.certificate,
            MEMBER.certificate_bytes,
            new_session_id(),
            NOW,
        )


def test_a_statement_under_an_earlier_certificate_is_not_one_under_the_renewed() -> None:
    renewed_bytes = MESH.root.renew(MEMBER.certificate, NOW)
    renewed = MESH.trust().verify_chain(renewed_bytes)
    with pytest.raises(MalformedError, match="another certificate"):
        verify_statement(VALID, renewed, fingerprint_of(renewed_bytes), NOW)


@settings(max_examples=200, deadline=None)
@given(bit=st.integers(0, 8 * len(VALID) - 1))
def test_one_flipped_bit_anywhere_is_refused(bit: int) -> None:
    with pytest.raises((BadSignatureError, MalformedError)):
        verified(flip(VALID, bit))


@settings(max_examples=50, deadline=None)
@given(keep=st.integers(0, len(VALID) - 1), more=st.binary(min_size=1, max_size=20))
def test_cut_short_or_continued_is_malformed(keep: int, more: bytes) -> None:
    for spoiled in (VALID[:keep], VALID + more):
        with pytest.raises(MalformedError):
            verified(spoiled)


def test_too_long_is_refused() -> None:
    with pytest.raises(OversizeError):
        verified(bytes(MAX_STATEMENT + 1))


@pytest.mark.parametrize(
    "change",
    [
        {"signer": Fingerprint(b"")},
        {"session_id": SessionId(bytes(15))},
        {"kem_public_key": bytes(1217)},
        {"not_before": NOW, "not_after": NOW},
        {"not_after": NOW + 8 * DAY},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_what_no_statement_may_say(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(SESSION.statement, **change)
    spoiled = object.__new__(SessionStatement)
    for name in SessionStatement.__slots__:
        object.__setattr__(spoiled, name, change.get(name, getattr(SESSION.statement, name)))
    with pytest.raises(MalformedError, match="SessionStatement"):
        verified(sign_object(SESSION_KIND, encode(spoiled), MEMBER.identity.signing))


def test_the_key_of_the_week_is_replaced_in_the_same_session() -> None:
    key = generate_kem_key()
    later = start_session(
        MEMBER.identity.signing,
        key,
        MEMBER.certificate,
        MEMBER.certificate_bytes,
        SESSION.statement.session_id,
        NOW + 6 * DAY,
    )
    assert later.statement.session_id == SESSION.statement.session_id
    assert later.statement.kem_public_key == key.public_key != MEMBER.kem_key.public_key
    assert later.statement.not_before > SESSION.statement.not_before


def test_nothing_shows_its_secrets() -> None:
    shown = repr(SESSION) + str(SESSION)
    for seed in (MEMBER.kem_key.export_seed(), MEMBER.identity.signing.export_seed()):
        assert seed.hex() not in shown
        assert repr(seed)[2:-1] not in shown
