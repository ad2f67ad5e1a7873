"""Every way in which a hello must fail."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.crypto import generate_kem_key
from beemesh_node.protocol.greeting import (
    MAX_HELLO_FRAME,
    GreetingProof,
    GreetingRefusal,
    HelloRefusal,
    HelloRefused,
    pack,
)
from beemesh_node.protocol.hello import Hello
from tests.node.crypto.support import flip
from tests.node.protocol.meeting import (
    ANNA,
    BERT,
    MESH,
    Side,
    introduced,
    meet,
    reason,
    refused,
)
from tests.node.protocol.mesh import NOW


def test_a_relay_between_two_members_cannot_pass_for_either() -> None:
    relay = MESH.member()
    # Noise proves the relay's own peer id to each side, so their greetings do not fit.
    anna = Side.of(ANNA).hello(relay.peer_id, initiator=True)
    bert = Side.of(BERT).hello(relay.peer_id, initiator=False)
    from_anna, from_bert = anna.begin(NOW), bert.begin(NOW)
    assert reason(refused(lambda: anna.receive_greeting(from_bert, NOW))) is HelloRefusal.OTHER_PEER
    assert reason(refused(lambda: bert.receive_greeting(from_anna, NOW))) is HelloRefusal.OTHER_PEER


def test_what_is_reflected_or_repeated_is_refused() -> None:
    anna, bert = Side.of(ANNA), Side.of(BERT)
    hello = anna.hello(BERT.peer_id, initiator=True)
    own = hello.begin(NOW)
    assert reason(refused(lambda: hello.receive_greeting(own, NOW))) is HelloRefusal.OTHER_PEER

    hello, listener = anna.hello(BERT.peer_id, initiator=True), bert.hello(ANNA.peer_id, initiator=False)
    heard = listener.begin(NOW)
    hello.begin(NOW)
    own_proof = hello.receive_greeting(heard, NOW)
    assert reason(refused(lambda: hello.receive_proof(own_proof, NOW))) is HelloRefusal.BAD_PROOF

    hello, listener = anna.hello(BERT.peer_id, initiator=True), bert.hello(ANNA.peer_id, initiator=False)
    said, heard = hello.begin(NOW), listener.begin(NOW)
    hello.receive_greeting(heard, NOW)
    recorded = listener.receive_greeting(said, NOW)
    assert hello.receive_proof(recorded, NOW)
    repeated = anna.hello(BERT.peer_id, initiator=True)
    repeated.begin(NOW)
    repeated.receive_greeting(heard, NOW)
    assert reason(refused(lambda: repeated.receive_proof(recorded, NOW))) is HelloRefusal.BAD_PROOF


def test_both_sides_must_agree_who_dialled() -> None:
    one, other = Side.of(ANNA), Side.of(BERT)
    left, right = one.hello(BERT.peer_id, initiator=True), other.hello(ANNA.peer_id, initiator=True)
    said, heard = left.begin(NOW), right.begin(NOW)
    proof = right.receive_greeting(said, NOW)
    left.receive_greeting(heard, NOW)
    assert reason(refused(lambda: left.receive_proof(proof, NOW))) is HelloRefusal.BAD_PROOF


def test_papers_without_the_signing_key_prove_nothing() -> None:
    thief = replace(Side.of(BERT), session=replace(BERT.session(), signing_key=MESH.member().identity.signing))
    by_anna, _ = meet(Side.of(ANNA), thief)
    assert reason(by_anna) is HelloRefusal.BAD_PROOF


def test_without_the_kem_key_nothing_can_be_agreed() -> None:
    careless = replace(Side.of(BERT), session=replace(BERT.session(), kem_key=generate_kem_key()))
    assert reason(meet(Side.of(ANNA), careless)[1]) is HelloRefusal.BAD_SECRET


def test_a_statement_of_another_member_or_certificate_is_refused() -> None:
    stolen = Side.of(ANNA).session.statement_bytes
    mixed = replace(Side.of(BERT), session=replace(BERT.session(), statement_bytes=stolen))
    assert reason(meet(Side.of(ANNA), mixed)[0]) is HelloRefusal.BAD_SESSION


def test_a_statement_with_a_key_that_is_none_is_refused() -> None:
    spoiled = replace(BERT, kem_key=_NoKey())  # type: ignore[arg-type]
    assert reason(meet(Side.of(ANNA), replace(Side.of(BERT), session=spoiled.session()))[0]) is HelloRefusal.BAD_SESSION


class _NoKey:
    public_key = bytes(1216)


FRAMES = Side.of(ANNA).hello(BERT.peer_id, initiator=True).begin(NOW)


@settings(max_examples=100, deadline=None)
@given(bit=st.integers(0, 8 * len(FRAMES) - 1))
def test_one_flipped_bit_in_a_greeting_and_nobody_is_admitted(bit: int) -> None:
    outcomes = meet(Side.of(ANNA), Side.of(BERT), greeting=lambda frame: flip(frame, bit))
    assert all(isinstance(outcome, HelloRefused) for outcome in outcomes)


@settings(max_examples=60, deadline=None)
@given(bit=st.integers(0, 8 * 4486 - 1))
def test_one_flipped_bit_in_a_proof_and_its_sender_is_not_admitted(bit: int) -> None:
    _, by_bert = meet(Side.of(ANNA), Side.of(BERT), proof=lambda frame: flip(frame, bit))
    assert reason(by_bert) in (HelloRefusal.BAD_PROOF, HelloRefusal.MALFORMED)


@settings(max_examples=60, deadline=None)
@given(
    frame=st.binary(max_size=300)
    | st.builds(lambda kind, rest: bytes([kind]) + rest, st.integers(1, 3), st.binary(max_size=300))
)
def test_any_bytes_are_refused_and_nothing_else_is_raised(frame: bytes) -> None:
    hello = Side.of(ANNA).hello(BERT.peer_id, initiator=True)
    hello.begin(NOW)
    assert reason(refused(lambda: hello.receive_greeting(frame, NOW))) in (HelloRefusal.MALFORMED, HelloRefusal.BY_PEER)


@settings(max_examples=30, deadline=None)
@given(keep=st.integers(0, len(FRAMES) - 1))
def test_a_greeting_cut_short_and_nobody_is_admitted(keep: int) -> None:
    outcomes = meet(Side.of(ANNA), Side.of(BERT), greeting=lambda frame: frame[:keep])
    assert all(isinstance(outcome, HelloRefused) for outcome in outcomes)


@settings(max_examples=30, deadline=None)
@given(keep=st.integers(0, 4485), more=st.binary(min_size=1, max_size=20))
def test_a_proof_cut_short_or_continued_is_malformed(keep: int, more: bytes) -> None:
    for spoil in (lambda frame: frame[:keep], lambda frame: frame + more):
        _, by_bert = meet(Side.of(ANNA), Side.of(BERT), proof=spoil)
        assert reason(by_bert) is HelloRefusal.MALFORMED


def test_frames_are_bounded_and_of_the_kind_that_is_due() -> None:
    hello = Side.of(ANNA).hello(BERT.peer_id, initiator=True)
    hello.begin(NOW)
    too_long = bytes(MAX_HELLO_FRAME + 1)
    assert reason(refused(lambda: hello.receive_greeting(too_long, NOW))) is HelloRefusal.OVERSIZE
    hello = Side.of(ANNA).hello(BERT.peer_id, initiator=True)
    hello.begin(NOW)
    proof = pack(GreetingProof(bytes(1168), 0, bytes(3309)))
    assert reason(refused(lambda: hello.receive_greeting(proof, NOW))) is HelloRefusal.MALFORMED
    for spoil in ({"sealed": b""}, {"signature": b""}):
        with pytest.raises(ValueError, match="another size"):
            replace(GreetingProof(bytes(1168), 0, bytes(3309)), **spoil)


def test_a_refusal_tells_why_in_words_of_ours_only() -> None:
    for told, shown in ((HelloRefusal.EXPIRED.value, "expired"), ("\x1b[2J", "a reason unknown here")):
        hello = Side.of(ANNA).hello(BERT.peer_id, initiator=True)
        hello.begin(NOW)
        refusal = refused(lambda hello=hello, told=told: hello.receive_greeting(pack(GreetingRefusal(told)), NOW))
        assert (reason(refusal), refusal.frame) == (HelloRefusal.BY_PEER, None)
        assert shown in str(refusal)
        assert "\x1b" not in str(refusal)


def test_ourselves_and_another_peer_id_than_certified() -> None:
    with pytest.raises(HelloRefused) as refusal:
        Side.of(ANNA).hello(ANNA.peer_id, initiator=True)
    assert refusal.value.reason is HelloRefusal.OURSELVES
    with pytest.raises(ValueError, match=f"libp2p runs as {BERT.peer_id}"):
        Hello(ANNA.session(), MESH.trust(), local=BERT.peer_id, remote=ANNA.peer_id, initiator=True)


def test_steps_out_of_order_are_the_fault_of_the_caller() -> None:
    hello = Side.of(ANNA).hello(BERT.peer_id, initiator=True)
    with pytest.raises(RuntimeError, match="order"):
        hello.receive_greeting(b"", NOW)
    hello = Side.of(ANNA).hello(BERT.peer_id, initiator=True)
    hello.begin(NOW)
    with pytest.raises(RuntimeError):
        hello.begin(NOW)
    hello = Side.of(ANNA).hello(BERT.peer_id, initiator=True)
    hello.begin(NOW)
    refused(lambda: hello.receive_greeting(b"", NOW))
    with pytest.raises(RuntimeError):
        hello.receive_greeting(FRAMES, NOW)


def test_nothing_shows_its_secrets() -> None:
    one, other = Side.of(ANNA), Side.of(BERT)
    by_one, by_other = map(introduced, meet(one, other))
    shown = repr(by_one) + str(by_other) + repr(one.hello(BERT.peer_id, initiator=True))
    for secret in (by_one.session_keys.send, by_one.session_keys.receive, ANNA.kem_key.export_seed()):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
