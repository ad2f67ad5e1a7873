"""Messages signed together: each stands alone, none can be moved, repeated, added or altered."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.crypto import SIGNATURE_SIZE, verify
from beemesh_node.protocol.batch import (
    MAX_BATCH,
    MAX_SIGNATURE_SIZE,
    Unsigned,
    is_signature_size,
    sign_batch,
    verify_message,
)
from beemesh_node.protocol.counters import Refusal
from beemesh_node.protocol.header import HEADER_SIZE
from beemesh_node.protocol.messages import RecordQuery
from tests.node.protocol.support import NOW, Receiver, peer

FRIEND = peer("friend")


def _messages(count: int, receiver: Receiver) -> list[Unsigned]:
    return [FRIEND.sealer.direct(RecordQuery(f"uid {i}"), receiver.recipient, NOW) for i in range(count)]


def _split(signed: bytes, message: Unsigned) -> tuple[bytes, bytes]:
    return signed[: len(message.content)], signed[len(message.content) :]


def _verifies(message: Unsigned, content: bytes, signature: bytes) -> bool:
    assert is_signature_size(len(signature)), "the opener would refuse its length"
    return verify_message(message.header.payload_type, content, signature, FRIEND.certificate.public_key)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33, 256])
def test_every_message_of_a_batch_stands_alone(count: int) -> None:
    receiver = Receiver()
    batch = FRIEND.sealer.sign_batch(_messages(count, receiver))
    for i in reversed(range(count)):
        assert receiver.open(batch[i]).payload == RecordQuery(f"uid {i}")
    assert receiver.counters.snapshot() == {}
    receiver.refuses(batch[1], Refusal.REPLAYED)


def test_the_tree_is_the_one_described() -> None:
    """Computed here once more, for three messages: the third has no sibling and moves up as it is."""

    def sha(data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    messages = _messages(3, Receiver())
    a, b, c = (sha(b"\x00" + m.content[:149] + sha(m.content[149:])) for m in messages)
    root = sha(b"\x01" + sha(b"\x01" + a + b) + c)
    paths = {0: b + c, 1: a + c, 2: sha(b"\x01" + a + b)}
    for i, signed in enumerate(FRIEND.sealer.sign_batch(messages)):
        _, signature = _split(signed, messages[i])
        assert signature[:-SIGNATURE_SIZE] == bytes([0, i, 0, 3]) + paths[i]
        signed_root = b"\x00\x03" + root
        public_key = FRIEND.certificate.public_key
        assert verify(public_key, signature[-SIGNATURE_SIZE:], signed_root, b"beemesh/1/batch")


def test_a_batch_of_one_is_signed_alone_and_of_none_not_at_all() -> None:
    receiver = Receiver()
    (message,) = _messages(1, receiver)
    (signed,) = FRIEND.sealer.sign_batch([message])
    assert len(signed) == len(message.content) + SIGNATURE_SIZE
    assert receiver.open(signed).payload == RecordQuery("uid 0")
    assert FRIEND.sealer.sign_batch([]) == []


def test_a_batch_has_an_end() -> None:
    message = _messages(1, Receiver())[0]
    with pytest.raises(ValueError, match="at most 256"):
        sign_batch([message] * (MAX_BATCH + 1), FRIEND.identity.signing)
    assert max(len(m) for m in sign_batch([message] * MAX_BATCH, FRIEND.identity.signing)) == (
        len(message.content) + MAX_SIGNATURE_SIZE
    )


def test_a_flipped_bit_anywhere() -> None:
    receiver = Receiver()
    messages = _messages(5, receiver)
    signed = FRIEND.sealer.sign_batch(messages)[2]
    size = len(messages[2].content)
    for place in (HEADER_SIZE, size - 1, size, size + 1, size + 3, size + 4, size + 40, size + 100, len(signed) - 1):
        flipped = bytearray(signed)
        flipped[place] ^= 1
        receiver.refuses(bytes(flipped), Refusal.BAD_SIGNATURE)
    assert receiver.open(signed).payload == RecordQuery("uid 2")


def test_the_place_of_another_message() -> None:
    receiver = Receiver()
    messages = _messages(4, receiver)
    parts = [
        _split(signed, message) for signed, message in zip(FRIEND.sealer.sign_batch(messages), messages, strict=True)
    ]
    for i, (content, _) in enumerate(parts):
        for j, (_, signature) in enumerate(parts):
            assert _verifies(messages[i], content, signature) == (i == j)


def test_a_message_that_was_not_in_the_batch() -> None:
    receiver = Receiver()
    *messages, outsider = _messages(5, receiver)
    for signed, message in zip(FRIEND.sealer.sign_batch(messages), messages, strict=True):
        _, signature = _split(signed, message)
        receiver.refuses(outsider.content + signature, Refusal.BAD_SIGNATURE)


@pytest.mark.parametrize(("index", "count"), [(3, 3), (4, 3), (65535, 3), (2, 4), (2, 257), (2, 65535), (0, 0), (2, 1)])
def test_another_index_or_count(index: int, count: int) -> None:
    """The last of three has a path of one node: with four it would be another tree."""
    receiver = Receiver()
    messages = _messages(3, receiver)
    content, signature = _split(FRIEND.sealer.sign_batch(messages)[2], messages[2])
    assert signature[:4] == bytes([0, 2, 0, 3])
    moved = index.to_bytes(2, "big") + count.to_bytes(2, "big") + signature[4:]
    receiver.refuses(content + moved, Refusal.BAD_SIGNATURE)


def test_the_last_of_three_is_not_also_the_fourth() -> None:
    """Trees that pair an odd leaf with itself give three and four messages one root; this one does not."""
    receiver = Receiver()
    messages = _messages(3, receiver)
    content, signature = _split(FRIEND.sealer.sign_batch(messages)[2], messages[2])
    four = sign_batch([*messages, messages[2]], FRIEND.identity.signing)
    _, of_four = _split(four[3], messages[2])
    for count, tail in ((3, of_four[4:]), (4, signature[4:])):
        forged = bytes([0, 3 if count == 4 else 2, 0, count]) + tail
        assert not verify_message(messages[2].header.payload_type, content, forged, FRIEND.certificate.public_key)


@pytest.mark.parametrize("change", [-64, -32, 32, 64])
def test_a_path_of_another_length(change: int) -> None:
    receiver = Receiver()
    messages = _messages(16, receiver)
    content, signature = _split(FRIEND.sealer.sign_batch(messages)[5], messages[5])
    place, path, tail = signature[:4], signature[4:-SIGNATURE_SIZE], signature[-SIGNATURE_SIZE:]
    assert len(path) == 4 * 32
    changed = (path + bytes(64))[: len(path) + change]
    receiver.refuses(content + place + changed + tail, Refusal.BAD_SIGNATURE)


def test_a_path_with_odd_bytes_or_none_is_not_even_verified() -> None:
    receiver = Receiver()
    messages = _messages(4, receiver)
    content, signature = _split(FRIEND.sealer.sign_batch(messages)[1], messages[1])
    place, path, tail = signature[:4], signature[4:-SIGNATURE_SIZE], signature[-SIGNATURE_SIZE:]
    for changed in (b"", path[:-1], path + b"\0", path * 5):
        receiver.refuses(content + place + changed + tail, Refusal.WRONG_LENGTH)


def test_an_inner_node_passed_off_as_a_message() -> None:
    """Leaves and nodes are hashed apart, so that no message has the hash of a node."""
    receiver = Receiver()
    messages = _messages(4, receiver)
    _, signature = _split(FRIEND.sealer.sign_batch(messages)[0], messages[0])
    sibling_of_parent = signature[4 + 32 : 4 + 64]
    content = messages[0].content[:HEADER_SIZE] + sibling_of_parent
    shorter = bytes([0, 0, 0, 2]) + signature[4 + 32 :]
    assert not verify_message(messages[0].header.payload_type, content, shorter, FRIEND.certificate.public_key)


def test_a_signature_of_a_batch_is_none_of_a_message_and_the_other_way() -> None:
    receiver = Receiver()
    messages = _messages(2, receiver)
    content, signature = _split(FRIEND.sealer.sign_batch(messages)[0], messages[0])
    receiver.refuses(content + signature[-SIGNATURE_SIZE:], Refusal.BAD_SIGNATURE)
    _, alone = _split(FRIEND.sealer.sign(messages[0]), messages[0])
    receiver.refuses(content + signature[:-SIGNATURE_SIZE] + alone, Refusal.BAD_SIGNATURE)


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=4, max_size=4), st.integers(1, 8), st.binary(min_size=32, max_size=32))
def test_random_places_and_paths(place: bytes, length: int, node: bytes) -> None:
    message = _messages(1, Receiver())[0]
    signature = place + node * length + bytes(SIGNATURE_SIZE)
    assert not _verifies(message, message.content, signature)
