"""Every attack on messages: refused for the right reason, counted once, and the next message is served."""

import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from beemesh_node.crypto import SIGNATURE_SIZE, generate_kem_key
from beemesh_node.protocol.batch import Unsigned, sign
from beemesh_node.protocol.certificate import Role
from beemesh_node.protocol.codec import encode
from beemesh_node.protocol.counters import Refusal, UnknownSender
from beemesh_node.protocol.encryption import epoch_id
from beemesh_node.protocol.errors import OversizeError
from beemesh_node.protocol.header import HEADER_SIZE, NO_SESSION, AudienceKind, parse_header
from beemesh_node.protocol.ids import SessionId
from beemesh_node.protocol.messages import (
    Ack,
    BlockReply,
    BlockRequest,
    Commit,
    Leaving,
    ListRequest,
    RecordQuery,
    Resource,
)
from tests.node.protocol.support import (
    EPOCH,
    NOW,
    SESSION,
    STARTED,
    Receiver,
    broadcast,
    direct,
    handmade,
    peer,
    presence,
    resigned,
)

MEMBER, TO_EPOCH = AudienceKind.MEMBER, AudienceKind.EPOCH
LIST = ListRequest(Resource.WORKLOADS)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def friend_says(receiver: Receiver) -> bytes:
    return direct(peer("friend"), receiver, RecordQuery("uid"))


@pytest.fixture
def friend_tells_all() -> bytes:
    return broadcast(peer("friend"), Leaving(False))


# ---- what is right --------------------------------------------------------------------------------------------------


def test_a_direct_message(receiver: Receiver, friend_says: bytes) -> None:
    opened = receiver.open(friend_says)
    assert opened.payload == RecordQuery("uid")
    assert opened.certificate == peer("friend").certificate
    assert (opened.header.sender, opened.header.session) == (peer("friend").fingerprint, SESSION)
    assert receiver.counters.snapshot() == {}


def test_a_broadcast(receiver: Receiver, friend_tells_all: bytes) -> None:
    opened = receiver.open(friend_tells_all)
    assert opened.payload == Leaving(False)
    assert (opened.header.audience_id, opened.header.session) == (epoch_id(EPOCH), NO_SESSION)


def test_an_operator_may_send_what_operators_send(receiver: Receiver) -> None:
    operator = peer("operator", Role.OPERATOR)
    receiver.knows(operator)
    assert receiver.open(direct(operator, receiver, LIST)).payload == LIST
    assert receiver.open(direct(operator, receiver, Commit(b"record", ()))).payload == Commit(b"record", ())


def test_a_message_to_the_kem_key_before_the_present_one(receiver: Receiver, friend_says: bytes) -> None:
    receiver.keys.insert(0, generate_kem_key())
    assert receiver.open(friend_says).payload == RecordQuery("uid")
    receiver.serves()


def test_nothing_readable_travels(receiver: Receiver) -> None:
    for data in (
        direct(peer("friend"), receiver, RecordQuery("a-name-that-is-nobody's-business")),
        broadcast(peer("friend"), presence("a-name-that-is-known-to-members-alone")),
    ):
        assert b"a-name" not in data


def test_the_same_payload_never_looks_the_same(receiver: Receiver) -> None:
    """Not even before the tag: a key and nonce that occur twice would give everything away."""
    first, second = (broadcast(peer("friend"), Leaving(True)) for _ in range(2))
    assert first[HEADER_SIZE : HEADER_SIZE + 12] != second[HEADER_SIZE : HEADER_SIZE + 12]


# ---- length ---------------------------------------------------------------------------------------------------------


def test_truncated(receiver: Receiver, friend_says: bytes) -> None:
    for size in (0, 1, HEADER_SIZE - 1):
        receiver.refuses(friend_says[:size], Refusal.NOT_A_MESSAGE)
    for size in (HEADER_SIZE, HEADER_SIZE + 1, len(friend_says) - SIGNATURE_SIZE, len(friend_says) - 1):
        receiver.refuses(friend_says[:size], Refusal.WRONG_LENGTH)


def test_trailing_bytes(receiver: Receiver, friend_says: bytes) -> None:
    receiver.refuses(friend_says + b"\0", Refusal.WRONG_LENGTH)
    receiver.refuses(friend_says + friend_says, Refusal.WRONG_LENGTH)


def test_oversize(receiver: Receiver) -> None:
    receiver.refuses(bytes(3 * 1024 * 1024 + 1), Refusal.TOO_LARGE)
    receiver.refuses(handmade(peer("friend"), receiver, bytes(3 * 1024 * 1024), MEMBER, 35), Refusal.TOO_LARGE)


def test_oversize_broadcast(receiver: Receiver) -> None:
    fits = handmade(peer("friend"), receiver, bytes(1024), TO_EPOCH, 1)
    receiver.refuses(fits + bytes(64 * 1024), Refusal.TOO_LARGE)
    receiver.refuses(handmade(peer("friend"), receiver, bytes(64 * 1024), TO_EPOCH, 1), Refusal.TOO_LARGE)


def test_the_largest_messages_go_through_and_larger_ones_are_not_made(receiver: Receiver) -> None:
    payload = BlockReply(bytes(3 * 1024 * 1024 - 6000))
    assert receiver.open(direct(peer("friend"), receiver, payload)).payload == payload
    with pytest.raises(OversizeError):
        direct(peer("friend"), receiver, BlockReply(bytes(3 * 1024 * 1024 - 4000)))
    with pytest.raises(OversizeError):
        broadcast(peer("friend"), presence("x" * 64_000))


@pytest.mark.parametrize("noise", [b"", b"\n", b"GET / HTTP/1.1\r\n\r\n" * 300, b"\xff" * 4000, b"BEEM" + bytes(4000)])
def test_something_else_entirely(receiver: Receiver, noise: bytes) -> None:
    receiver.refuses(noise, Refusal.NOT_A_MESSAGE)


def test_random_bytes_behind_a_good_header(receiver: Receiver, friend_says: bytes) -> None:
    noise = secrets.token_bytes(len(friend_says) - HEADER_SIZE)
    receiver.refuses(friend_says[:HEADER_SIZE] + noise, Refusal.BAD_SIGNATURE)


# ---- a flipped bit, everywhere --------------------------------------------------------------------------------------

REGIONS = [
    ("magic", range(4), Refusal.NOT_A_MESSAGE),
    ("version", range(4, 5), Refusal.NOT_A_MESSAGE),
    ("suite", range(5, 6), Refusal.NOT_A_MESSAGE),
    ("payload type", range(6, 8), Refusal.BAD_SIGNATURE),
    ("mesh id", range(8, 40), Refusal.FOREIGN_MESH),
    ("sender", range(40, 72), Refusal.UNKNOWN_SENDER),
    ("audience kind", range(72, 73), Refusal.NOT_A_MESSAGE),
    ("audience id", range(73, 105), Refusal.NOT_FOR_US),
    ("session", range(105, 121), Refusal.OTHER_SESSION),
    ("time", range(121, 129), Refusal.BAD_SIGNATURE),
    ("message id", range(129, 145), Refusal.BAD_SIGNATURE),
    ("length", range(145, 149), Refusal.WRONG_LENGTH),
    ("ciphertext", range(149, 1312, 97), Refusal.BAD_SIGNATURE),
    ("signature", range(1320, 4600, 211), Refusal.BAD_SIGNATURE),
]


@pytest.mark.parametrize(
    ("places", "reason"), [region[1:] for region in REGIONS], ids=[region[0] for region in REGIONS]
)
def test_a_flipped_bit(receiver: Receiver, friend_says: bytes, places: range, reason: Refusal) -> None:
    assert len(friend_says) > 4600
    for place in places:
        flipped = bytearray(friend_says)
        flipped[place] ^= 1 << (place % 8)
        with pytest.raises(Exception, match="message refused") as refused:
            receiver.open(bytes(flipped))
        assert refused.value.reason is reason  # type: ignore[attr-defined]
    assert receiver.counters.snapshot() == {reason.value: len(places)}
    assert receiver.open(friend_says).payload == RecordQuery("uid"), "a forgery used up the real message"


@pytest.mark.parametrize("place", [72, 75, 110, 125, 135, 150, 400])
def test_a_flipped_bit_in_a_broadcast(receiver: Receiver, friend_tells_all: bytes, place: int) -> None:
    flipped = bytearray(friend_tells_all)
    flipped[place] ^= 1
    reasons = {
        72: Refusal.NOT_A_MESSAGE,
        75: Refusal.UNKNOWN_EPOCH,
        110: Refusal.NOT_A_MESSAGE,
        125: Refusal.FROM_FUTURE,
    }
    receiver.refuses(bytes(flipped), reasons.get(place, Refusal.BAD_SIGNATURE))
    assert receiver.open(friend_tells_all).payload == Leaving(False)


# ---- audience -------------------------------------------------------------------------------------------------------


def test_a_message_of_another_mesh(receiver: Receiver) -> None:
    receiver.refuses(direct(peer("stranger", mesh="other"), receiver, Ack()), Refusal.FOREIGN_MESH)


def test_a_message_to_somebody_else(receiver: Receiver) -> None:
    other = Receiver(me=peer("other receiver"))
    receiver.refuses(direct(peer("friend"), other, Ack()), Refusal.NOT_FOR_US)


def test_a_message_under_an_epoch_that_is_over(receiver: Receiver, friend_tells_all: bytes) -> None:
    other = peer("friend").sealer.broadcast(Leaving(True), b"f" * 32, NOW)
    receiver.refuses(peer("friend").sealer.sign(other), Refusal.UNKNOWN_EPOCH)


# ---- certificates ---------------------------------------------------------------------------------------------------


def test_an_unknown_certificate_until_it_has_been_fetched(receiver: Receiver) -> None:
    newcomer = peer("newcomer")
    message = direct(newcomer, receiver, RecordQuery("uid"))
    refused = receiver.refuses(message, Refusal.UNKNOWN_SENDER)
    assert isinstance(refused, UnknownSender)
    assert refused.fingerprint == newcomer.fingerprint
    receiver.knows(newcomer)
    assert receiver.open(message).payload == RecordQuery("uid")


def test_a_certificate_of_another_mesh(receiver: Receiver) -> None:
    """A member of another mesh names ours in its header, and somehow its certificate is known."""
    stranger = peer("stranger", mesh="other")
    receiver.knows(stranger)
    header = parse_header(direct(peer("friend"), receiver, Ack()))
    receiver.refuses(resigned(stranger, header, bytes(1200)), Refusal.FOREIGN_CERTIFICATE)


def test_an_expired_certificate(receiver: Receiver) -> None:
    member = peer("expiring", issued_at=NOW - 86_400_000 + 2)
    receiver.knows(member)
    assert receiver.open(direct(member, receiver, Ack()), NOW + 1).payload == Ack()
    receiver.refuses(direct(member, receiver, Ack()), Refusal.EXPIRED, NOW + 2)


def test_a_certificate_of_the_future(receiver: Receiver) -> None:
    member = peer("early", issued_at=NOW + 86_400_000)
    receiver.knows(member)
    receiver.refuses(direct(member, receiver, Ack()), Refusal.NOT_YET_VALID)


def test_a_revoked_certificate(receiver: Receiver) -> None:
    member = peer("stolen")
    receiver.knows(member)
    assert receiver.open(direct(member, receiver, Ack())).payload == Ack()
    receiver.revoked.add(member.fingerprint)
    receiver.refuses(direct(member, receiver, Ack()), Refusal.REVOKED)
    receiver.refuses(broadcast(member, Leaving(True)), Refusal.REVOKED)


def test_signed_with_another_key_than_the_certificates(receiver: Receiver) -> None:
    mallory = peer("mallory")
    posing = replace(mallory, certificate_bytes=peer("friend").certificate_bytes)
    receiver.refuses(direct(posing, receiver, Ack()), Refusal.BAD_SIGNATURE)


# ---- session, freshness, replay -------------------------------------------------------------------------------------


def test_a_replay(receiver: Receiver, friend_says: bytes, friend_tells_all: bytes) -> None:
    for message in (friend_says, friend_tells_all):
        receiver.open(message)
        for _ in range(3):
            receiver.refuses(message, Refusal.REPLAYED)


def test_a_replay_of_a_day_ago(receiver: Receiver, friend_says: bytes) -> None:
    """Direct messages have no clock: they are remembered for as long as the session."""
    receiver.open(friend_says)
    receiver.refuses(friend_says, Refusal.REPLAYED, NOW + 80_000_000)


def test_a_replay_with_a_new_signature(receiver: Receiver, friend_says: bytes) -> None:
    """Signing is hedged: the same sender's second signature over a message is not a second message."""
    receiver.open(friend_says)
    content = friend_says[:-SIGNATURE_SIZE]
    again = sign(Unsigned(parse_header(content), content), peer("friend").identity.signing)
    assert again != friend_says
    receiver.refuses(again, Refusal.REPLAYED)


def test_a_message_of_an_earlier_life(receiver: Receiver) -> None:
    earlier = replace(receiver.recipient, session=SessionId(b"session before.."))
    message = peer("friend").sealer.direct(Ack(), earlier, NOW)
    receiver.refuses(peer("friend").sealer.sign(message), Refusal.OTHER_SESSION)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(NOW - 30_001, Refusal.STALE), (NOW + 30_001, Refusal.FROM_FUTURE), (STARTED - 1, Refusal.BEFORE_START)],
)
def test_a_stale_broadcast(receiver: Receiver, sent: int, reason: Refusal) -> None:
    receiver.refuses(broadcast(peer("friend"), Leaving(True), sent), reason)


@pytest.mark.parametrize("sent", [NOW - 30_000, NOW + 30_000])
def test_a_broadcast_that_is_just_fresh(receiver: Receiver, sent: int) -> None:
    assert receiver.open(broadcast(peer("friend"), Leaving(True), sent)).payload == Leaving(True)


def test_a_broadcast_of_before_the_start_that_is_still_fresh() -> None:
    receiver = Receiver()
    message = broadcast(peer("friend"), Leaving(True), STARTED - 1000)
    receiver.refuses(message, Refusal.BEFORE_START, STARTED + 500)


def test_a_broadcast_again_and_again_until_it_is_stale(receiver: Receiver) -> None:
    """It is remembered as long as it is fresh for anybody, so that there is no gap between the two checks."""
    message = broadcast(peer("friend"), Leaving(True), NOW + 30_000)
    receiver.open(message)
    for later in range(0, 60_001, 5_000):
        with pytest.raises(Exception, match="replayed"):
            receiver.open(message, NOW + later)
    with pytest.raises(Exception, match="stale"):
        receiver.open(message, NOW + 60_001)


def test_a_forgery_does_not_use_up_the_real_message(receiver: Receiver, friend_says: bytes) -> None:
    forged = friend_says[:-SIGNATURE_SIZE] + bytes(SIGNATURE_SIZE)
    receiver.refuses(forged, Refusal.BAD_SIGNATURE)
    assert receiver.open(friend_says).payload == RecordQuery("uid")


# ---- stolen ciphertext ----------------------------------------------------------------------------------------------


def _parts(message: bytes) -> tuple[bytes, bytes]:
    return message[:HEADER_SIZE], message[HEADER_SIZE:-SIGNATURE_SIZE]


def test_a_stolen_ciphertext_signed_by_the_thief(
    receiver: Receiver, friend_says: bytes, friend_tells_all: bytes
) -> None:
    thief = peer("thief")
    receiver.knows(thief)
    for message in (friend_says, friend_tells_all):
        header, ciphertext = _parts(message)
        receiver.refuses(resigned(thief, parse_header(header), ciphertext), Refusal.UNDECRYPTABLE)


def test_a_direct_ciphertext_under_an_epoch_header_and_the_other_way(
    receiver: Receiver, friend_says: bytes, friend_tells_all: bytes
) -> None:
    thief = peer("thief")
    receiver.knows(thief)
    (direct_header, direct_ciphertext), (epoch_header, epoch_ciphertext) = _parts(friend_says), _parts(friend_tells_all)
    receiver.refuses(resigned(thief, parse_header(epoch_header), direct_ciphertext), Refusal.UNDECRYPTABLE)
    receiver.refuses(resigned(thief, parse_header(direct_header), epoch_ciphertext), Refusal.UNDECRYPTABLE)


def test_a_ciphertext_under_another_type_or_time_of_the_same_sender(receiver: Receiver, friend_says: bytes) -> None:
    """Even the sender cannot move a ciphertext to another header."""
    packed, ciphertext = _parts(friend_says)
    header = parse_header(packed)
    for other in (
        replace(header, payload_type=34, message_id=b"1" * 16),
        replace(header, time=NOW - 1, message_id=b"2" * 16),
        replace(header, message_id=b"3" * 16),
    ):
        receiver.refuses(resigned(peer("friend"), other, ciphertext), Refusal.UNDECRYPTABLE)


def test_sealed_to_a_key_that_is_gone(receiver: Receiver, friend_says: bytes) -> None:
    receiver.keys[:] = [generate_kem_key(), generate_kem_key()]
    receiver.refuses(friend_says, Refusal.UNDECRYPTABLE)


# ---- role, audience of the type, payload ----------------------------------------------------------------------------


def test_a_machine_posing_as_an_operator(receiver: Receiver) -> None:
    message = direct(peer("friend"), receiver, LIST)
    refused = receiver.refuses(message, Refusal.ROLE_NOT_ALLOWED)
    assert "ListRequest from a machine" in str(refused)
    receiver.refuses(message, Refusal.REPLAYED)


def test_an_operator_posing_as_a_machine(receiver: Receiver) -> None:
    operator = peer("operator", Role.OPERATOR)
    receiver.knows(operator)
    receiver.refuses(direct(operator, receiver, Ack()), Refusal.ROLE_NOT_ALLOWED)
    receiver.refuses(broadcast(operator, Leaving(False)), Refusal.ROLE_NOT_ALLOWED)


def test_what_is_for_one_sent_to_all(receiver: Receiver) -> None:
    with pytest.raises(TypeError, match="Commit is for one member"):
        broadcast(peer("friend"), Commit(b"", ()))
    message = handmade(peer("friend"), receiver, encode(Commit(b"", ())), TO_EPOCH, 10)
    receiver.refuses(message, Refusal.AUDIENCE_NOT_ALLOWED)


def test_a_type_that_nobody_knows(receiver: Receiver) -> None:
    for payload_type in (0, 999, 65535):
        receiver.refuses(handmade(peer("friend"), receiver, b"", MEMBER, payload_type), Refusal.UNKNOWN_TYPE)
    with pytest.raises(TypeError, match="Receiver is not a dataclass with a table"):
        direct(peer("friend"), receiver, receiver)


@pytest.mark.parametrize("plaintext", [b"", b"\0" * 12, encode(BlockRequest("x"))[:-5], secrets.token_bytes(300)])
def test_a_payload_that_is_none(receiver: Receiver, plaintext: bytes) -> None:
    receiver.refuses(handmade(peer("friend"), receiver, plaintext, MEMBER, 34), Refusal.MALFORMED_PAYLOAD)


def test_every_refusal_has_been_seen() -> None:
    """Each reason occurs in a test: of messages and their windows here and in test_replay, of the rest elsewhere."""
    here, daemon = Path(__file__).parent, Path(__file__).parents[1] / "daemon"
    files = ("test_replay.py", "test_beats.py")
    sources = (Path(__file__), *(here / name for name in files), daemon / "test_beats.py", daemon / "test_trusting.py")
    text = "".join(source.read_text(encoding="utf-8") for source in sources)
    assert {reason.name for reason in Refusal if f"Refusal.{reason.name}" not in text} == set()
