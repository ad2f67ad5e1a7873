"""The replay windows: bounded, and honest about what they no longer know."""

import pytest

from beemesh_node.protocol.counters import Refusal
from beemesh_node.protocol.ids import Fingerprint
from beemesh_node.protocol.messages import Ack, Leaving
from beemesh_node.protocol.replay import MAX_BROADCASTS_OF_SENDER, BroadcastWindow, DirectWindow
from tests.node.protocol.support import EPOCH, NOW, Receiver, broadcast, direct, peer

ALICE, BOB, CAROL, EVE = (Fingerprint(name * 32) for name in (b"a", b"b", b"c", b"e"))


def _id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_looking_up_changes_nothing() -> None:
    window = DirectWindow()
    for _ in range(2):
        assert window.look_up(ALICE, _id(1), 100) is None
    window.insert(ALICE, _id(1), 100)
    assert window.look_up(ALICE, _id(1), 100) is Refusal.REPLAYED
    assert window.look_up(BOB, _id(1), 100) is None


def test_what_is_forgotten_is_refused_as_too_old() -> None:
    window = DirectWindow(capacity=3)
    for number in range(1, 6):
        window.insert(ALICE, _id(number), 100 + number)
    assert [window.look_up(ALICE, _id(n), 100 + n) for n in range(1, 6)] == [Refusal.BEYOND_WINDOW] * 2 + [
        Refusal.REPLAYED
    ] * 3
    assert window.look_up(ALICE, _id(9), 102) is Refusal.BEYOND_WINDOW
    assert window.look_up(ALICE, _id(9), 103) is None


def test_a_sender_that_stamps_wildly_harms_itself_alone() -> None:
    window = DirectWindow(capacity=4)
    window.insert(ALICE, _id(1), 100)
    for number in range(20):
        window.insert(EVE, _id(number), 2**64 - 1)
    assert window.look_up(EVE, _id(99), 2**64 - 2) is Refusal.BEYOND_WINDOW
    assert window.look_up(ALICE, _id(1), 100) is Refusal.BEYOND_WINDOW
    assert window.look_up(ALICE, _id(2), 101) is None
    assert window.look_up(BOB, _id(1), 0) is None


def test_late_messages_come_in_any_order() -> None:
    window = DirectWindow(capacity=3)
    for number, time in enumerate((105, 101, 103)):
        assert window.look_up(ALICE, _id(number), time) is None
        window.insert(ALICE, _id(number), time)
    for number in range(2):
        window.insert(BOB, _id(number), 1)
    assert window.look_up(ALICE, _id(8), 105) is Refusal.BEYOND_WINDOW, "the floor never sinks"
    assert window.look_up(ALICE, _id(8), 106) is None


def test_floors_are_bounded_too() -> None:
    """The lowest floor becomes everybody's: who was not heard of for longest decides, not who stamps highest."""
    window = DirectWindow(capacity=1, max_floors=2)
    for sender, time in ((ALICE, 10), (EVE, 2**64 - 1), (BOB, 20), (CAROL, 30)):
        window.insert(sender, _id(0), time)
    assert window.look_up(ALICE, _id(0), 10) is Refusal.BEYOND_WINDOW
    assert window.look_up(ALICE, _id(1), 11) is None
    assert window.look_up(Fingerprint(b"n" * 32), _id(1), 10) is Refusal.BEYOND_WINDOW
    assert window.look_up(Fingerprint(b"n" * 32), _id(1), 11) is None
    assert window.look_up(BOB, _id(1), 20) is Refusal.BEYOND_WINDOW


def test_no_replay_gets_through_whatever_is_forgotten() -> None:
    window = DirectWindow(capacity=8, max_floors=3)
    sent = [(Fingerprint(bytes([s]) * 32), _id(n), 1000 * s + n) for n in range(20) for s in range(10)]
    for message in sent:
        if window.look_up(*message) is None:
            window.insert(*message)
    assert all(window.look_up(*message) is not None for message in sent)


def test_broadcasts_are_forgotten_when_they_are_stale() -> None:
    window = BroadcastWindow(started_at=0, capacity=2)
    window.advance(NOW)
    window.insert(ALICE, _id(1))
    window.insert(ALICE, _id(2))
    assert window.look_up(BOB, _id(1)) is Refusal.WINDOW_FULL
    window.advance(NOW + 60_000)
    assert window.look_up(ALICE, _id(1)) is Refusal.REPLAYED
    window.advance(NOW + 60_001)
    assert window.look_up(BOB, _id(1)) is None
    assert window.look_up(ALICE, _id(1)) is None
    assert not window._of_sender, "senders are forgotten with their messages"


def test_a_clock_that_goes_back_makes_nothing_fresh_again() -> None:
    window = BroadcastWindow(started_at=0)
    window.advance(NOW)
    window.insert(ALICE, _id(1))
    window.advance(NOW + 100_000)
    window.advance(NOW)
    assert window.freshness(NOW) is Refusal.STALE


def test_one_sender_cannot_fill_the_window() -> None:
    window = BroadcastWindow(started_at=0, capacity=100, capacity_of_sender=10)
    window.advance(NOW)
    for number in range(10):
        assert window.look_up(EVE, _id(number)) is None
        window.insert(EVE, _id(number))
    assert window.look_up(EVE, _id(10)) is Refusal.WINDOW_FULL
    assert window.look_up(ALICE, _id(10)) is None
    window.advance(NOW + 60_001)
    assert window.look_up(EVE, _id(10)) is None


@pytest.fixture(scope="module")
def flood() -> list[bytes]:
    """One more broadcast of one member than is taken within a minute; signed in batches, as a flooder would."""
    eve = peer("flooder").sealer
    count = MAX_BROADCASTS_OF_SENDER + 1
    unsigned = [eve.broadcast(Leaving(True), EPOCH, NOW) for _ in range(count)]
    return [message for at in range(0, count, 256) for message in eve.sign_batch(unsigned[at : at + 256])]


def test_a_flood_is_refused_and_others_are_served(flood: list[bytes]) -> None:
    receiver = Receiver()
    receiver.knows(peer("flooder"))
    for message in flood[:-1]:
        receiver.open(message)
    receiver.refuses(flood[-1], Refusal.WINDOW_FULL)
    later = NOW + 60_001
    assert receiver.open(broadcast(peer("flooder"), Leaving(True), later), later).payload == Leaving(True)


def test_a_forgotten_direct_message_is_refused_by_the_opener() -> None:
    receiver = Receiver()
    receiver.opener._direct = DirectWindow(capacity=2)
    first = direct(peer("friend"), receiver, Ack(), NOW - 1)
    receiver.open(first)
    for _ in range(2):
        receiver.open(direct(peer("friend"), receiver, Ack()))
    receiver.refuses(first, Refusal.BEYOND_WINDOW, NOW)
