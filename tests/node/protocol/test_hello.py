"""Hello: two members that prove themselves to each other, and every way in which that must fail."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.crypto import generate_kem_key, kdf, seal
from beemesh_node.protocol.frames import FrameOpener, FrameSealer, frame_key
from beemesh_node.protocol.greeting import (
    MAX_HELLO_FRAME,
    Greeting,
    GreetingProof,
    GreetingRefusal,
    HelloRefusal,
    HelloRefused,
    pack,
    parse_greeting,
)
from beemesh_node.protocol.hello import Hello, Introduction
from beemesh_node.protocol.ids import PeerId
from beemesh_node.protocol.root import MeshRoot
from beemesh_node.protocol.session import LocalSession, open_statement
from beemesh_node.protocol.trust import TrustStore
from tests.node.crypto.support import flip
from tests.node.protocol.mesh import DAY, NOW, OPERATOR, Member, Mesh

MESH = Mesh()
ANNA, BERT = MESH.member(), MESH.member(OPERATOR)
Alter = Callable[[bytes], bytes]


def unaltered(frame: bytes) -> bytes:
    return frame


@dataclass
class Side:
    """One side of a hello: who it is and what time it takes it to be."""

    member: Member
    session: LocalSession
    trust: TrustStore
    now: int = NOW
    time_known: bool = True

    @classmethod
    def of(cls, member: Member) -> Side:
        return cls(member, member.session(), MESH.trust())

    def hello(self, remote: PeerId, *, initiator: bool) -> Hello:
        return Hello(
            self.session,
            self.trust,
            local=self.member.peer_id,
            remote=remote,
            initiator=initiator,
            time_known=self.time_known,
        )


Outcome = Introduction | HelloRefused


def attempt(step: Callable[[], bytes | Introduction]) -> bytes | Outcome:
    try:
        return step()
    except HelloRefused as refusal:
        return refusal


def meet(one: Side, other: Side, greeting: Alter = unaltered, proof: Alter = unaltered) -> tuple[Outcome, Outcome]:
    """Let `one` dial `other`; what `one` says goes through `greeting` and `proof` on its way. A refusal is told."""
    dialler = one.hello(other.member.peer_id, initiator=True)
    listener = other.hello(one.member.peer_id, initiator=False)
    said, heard = greeting(dialler.begin(one.now)), listener.begin(other.now)
    first = attempt(lambda: dialler.receive_greeting(heard, one.now + 40))
    second = attempt(lambda: listener.receive_greeting(said, other.now + 40))
    outcomes: list[Outcome] = []
    for hello, own, theirs, now in ((dialler, first, second, one.now), (listener, second, first, other.now)):
        if isinstance(own, (HelloRefused, Introduction)):
            outcomes.append(own)
            continue
        frame = theirs.frame if isinstance(theirs, HelloRefused) else theirs
        assert isinstance(frame, bytes)
        if hello is listener and not isinstance(theirs, HelloRefused):
            frame = proof(frame)
        outcome = attempt(lambda hello=hello, frame=frame, now=now: hello.receive_proof(frame, now + 100))
        assert not isinstance(outcome, bytes)
        outcomes.append(outcome)
    return outcomes[0], outcomes[1]


def introduced(outcome: Outcome) -> Introduction:
    assert isinstance(outcome, Introduction), outcome
    return outcome


def reason(outcome: Outcome) -> HelloRefusal:
    assert isinstance(outcome, HelloRefused), outcome
    return outcome.reason


def test_both_sides_learn_who_the_other_is() -> None:
    one, other = Side.of(ANNA), Side.of(BERT)
    by_one, by_other = map(introduced, meet(one, other))
    for introduction, side in ((by_one, other), (by_other, one)):
        assert introduction.certificate == side.member.certificate
        assert introduction.certificate_bytes == side.member.certificate_bytes
        assert introduction.fingerprint == side.member.fingerprint
        assert introduction.statement == side.session.statement
        assert introduction.statement_bytes == side.session.statement_bytes
        assert introduction.trust_sequence == 1


def test_both_sides_have_the_keys_of_two_directions_and_no_two_hellos_have_the_same() -> None:
    one, other = Side.of(ANNA), Side.of(BERT)
    by_one, by_other = map(introduced, meet(one, other))
    assert by_one.session_keys.send == by_other.session_keys.receive
    assert by_one.session_keys.receive == by_other.session_keys.send
    assert by_one.session_keys.binding == by_other.session_keys.binding
    again, _ = map(introduced, meet(one, other))
    keys = [by_one.session_keys, again.session_keys]
    assert len({secret for key in keys for secret in (key.send, key.receive, key.binding)}) == 6
    sealer = FrameSealer(frame_key(by_one.session_keys.send, b"beats", by_one.session_keys.binding))
    opener = FrameOpener(frame_key(by_other.session_keys.receive, b"beats", by_other.session_keys.binding))
    assert opener.open(sealer.seal(b"beat")) == b"beat"


class ByHand:
    """The dialling side written from the text of the specification alone, with every part open to change."""

    def __init__(self, member: Member, remote: PeerId) -> None:
        session = member.session()
        self.role, self.local, self.remote = b"\0", member.peer_id, remote
        self.context, self.info = b"beemesh/1/hello", b"beemesh/1/hello/seal"
        self.signing_key, self.kem_key = member.identity.signing, member.kem_key
        self.secret = bytes(range(32))
        self.greeting = pack(Greeting(session.certificate_bytes, session.statement_bytes, bytes(32), 1, ()))

    def proof(self, heard: bytes, kem_public_key: bytes) -> bytes:
        sides = ((self.local, self.greeting), (self.remote, heard))
        said = b"".join(sha256(peer.encode()) + sha256(greeting) for peer, greeting in sides)
        self.transcript = sha256(self.context + said)
        self.sealed = seal(kem_public_key, self.secret, self.info + self.transcript)
        time = NOW.to_bytes(8, "big")
        signature = self.signing_key.sign(self.role + self.transcript + time + self.sealed, self.context)
        return b"\2" + self.sealed + time + signature

    def keys(self, frame: bytes) -> bytes:
        sealed = frame[1:1169]
        secret = self.kem_key.open(sealed, self.info + self.transcript)
        binding = sha256(self.transcript + self.sealed + sealed)
        return kdf.derive(self.secret + secret, binding, b"beemesh/1/hello/keys", 64)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def answer_by_hand(peer: ByHand) -> tuple[bytes, Introduction]:
    """Let Bert answer `peer`; returns its proof and whom it admits."""
    hello = Side.of(BERT).hello(ANNA.peer_id, initiator=False)
    heard = hello.begin(NOW)
    answer = hello.receive_greeting(peer.greeting, NOW)
    statement = parse_greeting(heard).statement
    kem_public_key = open_statement(statement, BERT.certificate, BERT.fingerprint).kem_public_key
    return answer, hello.receive_proof(peer.proof(heard, kem_public_key), NOW)


def test_a_peer_written_from_the_specification_is_understood() -> None:
    peer = ByHand(ANNA, BERT.peer_id)
    answer, introduction = answer_by_hand(peer)
    keys = introduction.session_keys
    assert peer.keys(answer) == keys.receive + keys.send
    assert introduction.time_offset_ms == 0


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("role", b"\1"),
        ("role", b""),
        pytest.param("local", BERT.peer_id, id="local-of the other"),
        pytest.param("remote", ANNA.peer_id, id="remote-of the sender"),
        ("context", b"beemesh/1/obj/session"),
        pytest.param("signing_key", BERT.identity.signing, id="signing_key-of the other"),
        ("secret", b"short"),
    ],
)
def test_whatever_part_of_a_proof_is_another_it_is_refused(part: str, value: object) -> None:
    peer = ByHand(ANNA, BERT.peer_id)
    setattr(peer, part, value)
    refusal = refused(lambda: answer_by_hand(peer))
    assert refusal.reason is (HelloRefusal.MALFORMED if part == "secret" else HelloRefusal.BAD_PROOF)


def test_a_secret_sealed_for_another_purpose_is_refused() -> None:
    peer = ByHand(ANNA, BERT.peer_id)
    peer.info = b"beemesh/1/hpke"
    assert refused(lambda: answer_by_hand(peer)).reason is HelloRefusal.BAD_SECRET


def test_the_time_that_is_told_is_signed() -> None:
    def later(frame: bytes) -> bytes:
        return frame[:1169] + (NOW + DAY).to_bytes(8, "big") + frame[1177:]

    assert reason(meet(Side.of(ANNA), Side.of(BERT), proof=later)[1]) is HelloRefusal.BAD_PROOF


def test_the_time_of_the_other_is_measured_not_believed() -> None:
    one, other = Side.of(ANNA), replace(Side.of(BERT), now=NOW + 5000)
    by_one, by_other = map(introduced, meet(one, other))
    # Said 40 ms after our challenge, heard 100 ms after it: 10 ms off the middle, at most 50.
    assert (by_one.time_offset_ms, by_one.time_error_ms) == (4990, 50)
    assert (by_other.time_offset_ms, by_other.time_error_ms) == (-5010, 50)


def test_a_machine_without_a_clock_is_let_in_and_learns_the_time() -> None:
    newcomer = replace(Side.of(ANNA), session=ANNA.session(now_ms=0), now=0, time_known=False)
    by_newcomer, by_member = map(introduced, meet(newcomer, Side.of(BERT)))
    assert by_newcomer.time_offset_ms == NOW - 10
    assert by_member.time_offset_ms is None


def test_own_time_alone_decides_validity() -> None:
    late = replace(Side.of(BERT), now=ANNA.certificate.not_after)
    by_anna, by_late = meet(Side.of(ANNA), late)
    # One year after its own certificate ended, Bert's clock says the same of Anna's; each judges by its own clock.
    assert reason(by_late) is HelloRefusal.EXPIRED
    assert reason(by_anna) is HelloRefusal.BY_PEER
    early = replace(Side.of(BERT), now=NOW - 3 * DAY)
    assert reason(meet(Side.of(ANNA), early)[1]) is HelloRefusal.NOT_YET_VALID


def test_an_expired_member_cannot_help_itself_with_a_clock_that_is_behind() -> None:
    expired = replace(Side.of(BERT), now=NOW)
    judge = replace(Side.of(ANNA), now=BERT.certificate.not_after)
    assert reason(meet(judge, expired)[0]) is HelloRefusal.EXPIRED


def test_of_another_mesh_or_root() -> None:
    other = Mesh()
    stranger = other.member()
    foreign = Side(stranger, stranger.session(), other.trust())
    assert [reason(outcome) for outcome in meet(Side.of(ANNA), foreign)] == [HelloRefusal.FOREIGN_MESH] * 2
    impostor = MeshRoot(other.root.key, MESH.root.mesh_id)
    forged = impostor.renew(BERT.certificate, NOW)
    pretender = replace(BERT, certificate_bytes=forged, certificate=replace(BERT.certificate, issuer=impostor.root_id))
    by_anna, by_pretender = meet(Side.of(ANNA), Side(pretender, pretender.session(), MESH.trust()))
    assert reason(by_anna) is HelloRefusal.UNKNOWN_ROOT
    assert reason(by_pretender) is HelloRefusal.BY_PEER


def test_a_member_that_was_away_while_the_root_was_replaced_is_shown_the_way() -> None:
    second = MeshRoot(Mesh().root.key, MESH.root.mesh_id)
    both = MESH.root.sign_bundle(2, NOW, [second.key.public_key, MESH.root.key.public_key])
    renewed_bytes = second.renew(BERT.certificate, NOW)
    trust = MESH.trust(both)
    renewed = replace(BERT, certificate_bytes=renewed_bytes, certificate=trust.verify_chain(renewed_bytes))
    returning, present = Side.of(ANNA), Side(renewed, renewed.session(), trust)
    by_returning, by_present = map(introduced, meet(returning, present))
    assert (by_returning.trust_sequence, by_present.trust_sequence) == (2, 1)
    assert returning.trust.sequence == 2
    # When its own root is retired, it is known to the others no more.
    assert trust.adopt(second.sign_bundle(3, NOW))
    away = Side.of(ANNA)
    assert reason(meet(away, present)[1]) is HelloRefusal.UNKNOWN_ROOT
    assert away.trust.sequence == 3


def test_a_forged_trust_bundle_is_refused() -> None:
    side = Side.of(ANNA)
    both = MESH.root.sign_bundle(2, NOW, [Mesh().root.key.public_key, MESH.root.key.public_key])

    def show(frame: bytes) -> bytes:
        return pack(replace(parse_greeting(frame), trust=(flip(both, -1),)))

    assert reason(meet(side, Side.of(BERT), greeting=show)[1]) is HelloRefusal.BAD_TRUST


def test_a_relay_between_two_members_cannot_pass_for_either() -> None:
    relay = MESH.member()
    # Noise proves the relay's own peer id to each side, so their greetings do not fit.
    anna = Side.of(ANNA).hello(relay.peer_id, initiator=True)
    bert = Side.of(BERT).hello(relay.peer_id, initiator=False)
    from_anna, from_bert = anna.begin(NOW), bert.begin(NOW)
    assert reason(refused(lambda: anna.receive_greeting(from_bert, NOW))) is HelloRefusal.OTHER_PEER
    assert reason(refused(lambda: bert.receive_greeting(from_anna, NOW))) is HelloRefusal.OTHER_PEER


def refused(step: Callable[[], object]) -> HelloRefused:
    with pytest.raises(HelloRefused) as refusal:
        step()
    return refusal.value


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
