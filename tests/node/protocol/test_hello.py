"""Hello: two members that prove themselves to each other, and what they learn."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from beemesh_node.crypto import kdf, seal
from beemesh_node.protocol.frames import FrameOpener, FrameSealer, frame_key
from beemesh_node.protocol.greeting import (
    Greeting,
    HelloRefusal,
    pack,
    parse_greeting,
)
from beemesh_node.protocol.hello import Introduction
from beemesh_node.protocol.ids import PeerId
from beemesh_node.protocol.root import MeshRoot
from beemesh_node.protocol.session import open_statement
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
from tests.node.protocol.mesh import DAY, NOW, Member, Mesh


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
