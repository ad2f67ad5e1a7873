from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.crypto import DecryptionError
from beemesh_node.protocol.beats import (
    ID_SIZE,
    MAX_BEAT_FRAME,
    NONCE_SIZE,
    REFUSALS,
    Beat,
    BeatSession,
    LastHeard,
    Watching,
    WhenHeard,
)
from beemesh_node.protocol.counters import Refusal, RefusalCounters
from beemesh_node.protocol.errors import MalformedError, ReplayedError
from beemesh_node.protocol.frames import FrameSealer, frame_key
from beemesh_node.protocol.hello import SessionKeys
from beemesh_node.protocol.ids import MachineId

ONE, TWO, BINDING = bytes(range(32)), bytes(range(32, 64)), bytes(32)
NONCES = b"o" * NONCE_SIZE, b"a" * NONCE_SIZE
OPENER, ANSWERER = SessionKeys(ONE, TWO, BINDING), SessionKeys(TWO, ONE, BINDING)


def pair(*, nonces: tuple[bytes, bytes] = NONCES) -> tuple[BeatSession, BeatSession, RefusalCounters]:
    counters = RefusalCounters()
    return (
        BeatSession(OPENER, *nonces, counters, opener=True),
        BeatSession(ANSWERER, *nonces, counters, opener=False),
        counters,
    )


machines = st.text(min_size=1, max_size=16).map(MachineId)
numbers = st.integers(0, 2**32 - 1)
said = st.one_of(
    st.just(Beat()),
    st.builds(Watching, st.integers(0, 2**16 - 1), st.booleans()),
    st.builds(WhenHeard, numbers, machines),
    st.builds(LastHeard, numbers, st.none() | st.integers(0, 2**32 - 2)),
)


@given(st.lists(said, max_size=6), st.lists(said, max_size=6))
def test_what_is_said_is_heard_in_both_directions(onward: list, back: list) -> None:
    opener, answerer, counters = pair()
    for each in onward:
        frame = opener.seal(each)
        assert len(frame) <= MAX_BEAT_FRAME
        assert answerer.open(frame) == each
    for each in back:
        assert opener.open(answerer.seal(each)) == each
    assert counters.snapshot() == {}


def test_beats_as_datagrams_count_once_and_may_get_lost() -> None:
    opener, answerer, counters = pair()
    first, _, third = (answerer.datagram() for _ in range(3))
    assert opener.id == answerer.id == first[:ID_SIZE]
    assert opener.is_beat(first)
    assert opener.is_beat(third)
    assert not opener.is_beat(first)
    fourth = answerer.datagram()
    assert not opener.is_beat(fourth[:-1] + bytes([fourth[-1] ^ 1]))
    assert opener.is_beat(fourth)
    assert counters.snapshot() == {"frame_replayed": 1, "frame_undecryptable": 1}


def test_a_beat_of_the_stream_is_none_as_a_datagram_nor_the_other_way_round() -> None:
    opener, answerer, _ = pair()
    assert not opener.is_beat(answerer.id + answerer.seal(Beat()))
    with pytest.raises(DecryptionError):
        opener.open(answerer.datagram()[ID_SIZE:])


def test_a_frame_counts_once_and_in_its_direction_alone() -> None:
    opener, answerer, counters = pair()
    frame = opener.seal(WhenHeard(1, MachineId("m")))
    assert answerer.open(frame) == WhenHeard(1, MachineId("m"))
    with pytest.raises(ReplayedError):
        answerer.open(frame)
    with pytest.raises(DecryptionError):
        opener.open(frame)
    assert counters[Refusal.FRAME_REPLAYED] == counters[Refusal.FRAME_UNDECRYPTABLE] == 1


@pytest.mark.parametrize("nonces", [(b"x" * NONCE_SIZE, NONCES[1]), (NONCES[0], b"x" * NONCE_SIZE)])
def test_each_side_alone_makes_a_stream_unlike_all_others(nonces: tuple[bytes, bytes]) -> None:
    opener, _, _ = pair()
    _, other, _ = pair(nonces=nonces)
    assert opener.id != other.id
    with pytest.raises(DecryptionError):
        other.open(opener.seal(Beat()))


def test_a_random_number_of_another_size_is_refused() -> None:
    with pytest.raises(MalformedError):
        pair(nonces=(b"short", NONCES[1]))


@given(st.binary(max_size=2 * MAX_BEAT_FRAME))
def test_any_bytes_are_refused_and_counted(data: bytes) -> None:
    opener, answerer, counters = pair()
    with pytest.raises(REFUSALS):
        answerer.open(data)
    assert sum(counters.snapshot().values()) == 1
    assert answerer.open(opener.seal(Beat())) == Beat()


@pytest.mark.parametrize("plaintext", [b"", b"\xff", b"\x01"])
def test_what_is_sealed_but_nothing_known_is_malformed(plaintext: bytes) -> None:
    _, answerer, counters = pair()
    with pytest.raises(MalformedError):
        answerer.open(FrameSealer(frame_key(ONE, b"beats/ask", BINDING + NONCES[0] + NONCES[1])).seal(plaintext))
    assert counters.snapshot() == {Refusal.FRAME_MALFORMED: 1}


@given(st.binary(max_size=100))
def test_any_plaintext_is_understood_or_refused(plaintext: bytes) -> None:
    _, answerer, counters = pair()
    frame = FrameSealer(frame_key(ONE, b"beats/ask", BINDING + NONCES[0] + NONCES[1])).seal(plaintext)
    try:
        answerer.open(frame)
    except MalformedError:
        assert counters.snapshot() == {"frame_malformed": 1}
