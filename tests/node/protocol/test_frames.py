"""Session frames: in order, once, whole, and of their own direction."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.crypto import DecryptionError
from beemesh_node.protocol.errors import MalformedError, OversizeError, ProtocolError, ReplayedError
from beemesh_node.protocol.frames import FRAME_OVERHEAD, MAX_FRAME, FrameOpener, FrameSealer, frame_key

KEY = frame_key(b"s" * 32, b"test/ask", b"binding")


def test_frames_come_back_in_their_order() -> None:
    sealer, opener = FrameSealer(KEY), FrameOpener(KEY)
    for plaintext in (b"", b"beat", b"x" * (MAX_FRAME - FRAME_OVERHEAD)):
        frame = sealer.seal(plaintext)
        assert len(frame) == len(plaintext) + FRAME_OVERHEAD
        assert opener.open(frame) == plaintext


def test_a_replay_or_another_order() -> None:
    sealer, opener = FrameSealer(KEY), FrameOpener(KEY)
    first, second, third = (sealer.seal(b"%d" % i) for i in range(3))
    assert opener.open(first) == b"0"
    assert opener.open(third) == b"2"
    for old in (first, second, third):
        with pytest.raises(ReplayedError, match="where 3 was next"):
            opener.open(old)
    assert opener.open(sealer.seal(b"next")) == b"next"


def test_a_gap_where_none_may_be() -> None:
    sealer, opener = FrameSealer(KEY), FrameOpener(KEY, gapless=True)
    assert opener.open(sealer.seal(b"0")) == b"0"
    deleted, after = sealer.seal(b"1"), sealer.seal(b"2")
    with pytest.raises(ReplayedError, match="frame 2 came where 1 was next"):
        opener.open(after)
    assert opener.open(deleted) == b"1"
    assert opener.open(after) == b"2"


@pytest.mark.parametrize("place", [0, 7, 8, 12, 27])
def test_a_flipped_bit_changes_nothing(place: int) -> None:
    sealer, opener = FrameSealer(KEY), FrameOpener(KEY)
    frame = sealer.seal(b"beat")
    flipped = bytearray(frame)
    flipped[place] ^= 128
    with pytest.raises(DecryptionError):
        opener.open(bytes(flipped))
    assert opener.open(frame) == b"beat"


def test_the_other_direction_another_purpose_another_binding_another_secret() -> None:
    frame = FrameSealer(KEY).seal(b"beat")
    others = (
        frame_key(b"s" * 32, b"test/answer", b"binding"),
        frame_key(b"s" * 32, b"test/ask", b"bindinG"),
        frame_key(b"S" * 32, b"test/ask", b"binding"),
        frame_key(b"s" * 32, b"test", b"/askbinding"),
    )
    assert len({KEY, *others}) == 5
    for other in others:
        with pytest.raises(DecryptionError):
            FrameOpener(other).open(frame)


def test_too_long_or_too_short() -> None:
    with pytest.raises(OversizeError):
        FrameSealer(KEY).seal(bytes(MAX_FRAME - FRAME_OVERHEAD + 1))
    with pytest.raises(OversizeError):
        FrameOpener(KEY).open(bytes(MAX_FRAME + 1))
    for size in (0, FRAME_OVERHEAD - 1):
        with pytest.raises(MalformedError):
            FrameOpener(KEY).open(bytes(size))


def test_counters_end_before_they_repeat() -> None:
    sealer, opener = FrameSealer(KEY), FrameOpener(KEY)
    sealer._next = 2**64 - 1
    last = sealer.seal(b"last")
    assert opener.open(last) == b"last"
    with pytest.raises(OverflowError, match="connect anew"):
        sealer.seal(b"one more")
    with pytest.raises(ReplayedError):
        opener.open(last)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100))
def test_random_bytes(data: bytes) -> None:
    with pytest.raises((ProtocolError, DecryptionError)):
        FrameOpener(KEY).open(data)
