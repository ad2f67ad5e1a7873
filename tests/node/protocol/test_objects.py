"""Signed objects: believed for their signature alone, as they are, or not at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.crypto import SIGNATURE_SIZE, generate_signing_key, verify
from beemesh_node.protocol.errors import BadSignatureError, MalformedError, OversizeError, ProtocolError
from beemesh_node.protocol.objects import OVERHEAD, open_object, peek_unverified, sign_object

KEY, OTHER = generate_signing_key(), generate_signing_key()
BODY = b"what was said" * 9
OBJECT = sign_object("record", BODY, KEY)
LIMIT = len(OBJECT)


def test_the_layout() -> None:
    """4 bytes of length, the body, 3309 bytes of signature under a context of its kind."""
    assert OBJECT[:4] == len(BODY).to_bytes(4, "big")
    assert OBJECT[4 : 4 + len(BODY)] == BODY
    assert OVERHEAD == 4 + SIGNATURE_SIZE == len(OBJECT) - len(BODY)
    assert verify(KEY.public_key, OBJECT[-SIGNATURE_SIZE:], BODY, b"beemesh/1/obj/record")


def test_an_object_comes_back() -> None:
    assert open_object("record", OBJECT, KEY.public_key, LIMIT) == BODY
    assert open_object("record", sign_object("record", b"", KEY), KEY.public_key, LIMIT) == b""


@pytest.mark.parametrize(
    ("place", "error"),
    [(0, MalformedError), (3, MalformedError), (4, BadSignatureError), (60, BadSignatureError)]
    + [(4 + len(BODY) + at, BadSignatureError) for at in (0, 1000, 3308)],
)
def test_a_flipped_bit(place: int, error: type[ProtocolError]) -> None:
    flipped = bytearray(OBJECT)
    flipped[place] ^= 1
    with pytest.raises(error):
        open_object("record", bytes(flipped), KEY.public_key, LIMIT)


def test_another_signer() -> None:
    with pytest.raises(BadSignatureError, match="record: the signature does not verify"):
        open_object("record", OBJECT, OTHER.public_key, LIMIT)


@pytest.mark.parametrize("key", [b"", b"\0" * 1952, KEY.public_key[:-1]])
def test_a_key_that_is_none(key: bytes) -> None:
    with pytest.raises(BadSignatureError):
        open_object("record", OBJECT, key, LIMIT)


def test_an_object_of_another_kind() -> None:
    with pytest.raises(BadSignatureError):
        open_object("certificate", OBJECT, KEY.public_key, LIMIT)
    with pytest.raises(BadSignatureError):
        open_object("recor", OBJECT, KEY.public_key, LIMIT)


def test_cut_short_or_with_bytes_left_over() -> None:
    for data in (b"", OBJECT[:3], OBJECT[:OVERHEAD], OBJECT[:-1], OBJECT + b"\0", OBJECT * 2):
        with pytest.raises(MalformedError):
            open_object("record", data, KEY.public_key, 10 * LIMIT)


def test_too_large_is_not_even_looked_at() -> None:
    with pytest.raises(OversizeError, match=f"{LIMIT} bytes, at most {LIMIT - 1}"):
        open_object("record", OBJECT, KEY.public_key, LIMIT - 1)


def test_a_length_that_says_four_gigabytes() -> None:
    with pytest.raises(MalformedError, match="says"):
        open_object("record", b"\xff" * 4 + OBJECT[4:], KEY.public_key, LIMIT)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=OVERHEAD + 64))
def test_random_bytes(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        open_object("record", data, KEY.public_key, LIMIT)


def test_peeking_checks_the_length_alone() -> None:
    forged = OBJECT[:-SIGNATURE_SIZE] + bytes(SIGNATURE_SIZE)
    assert peek_unverified("record", forged, LIMIT) == BODY
    with pytest.raises(MalformedError):
        peek_unverified("record", forged + b"\0", 10 * LIMIT)
    with pytest.raises(OversizeError):
        peek_unverified("record", forged, LIMIT - 1)
