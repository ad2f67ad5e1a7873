"""Certificates are fetched rarely enough that strangers cannot make members work."""

from beemesh_node.protocol.fetchlimit import BURST, MAX_ASKED, RETRY_SECONDS, FetchLimiter
from beemesh_node.protocol.ids import Fingerprint, PeerId

ALICE, BOB = PeerId("alice"), PeerId("bob")


def _fingerprint(number: int) -> Fingerprint:
    return Fingerprint(number.to_bytes(32, "big"))


def test_one_question_once() -> None:
    limiter = FetchLimiter()
    assert limiter.may_fetch(ALICE, _fingerprint(1), 0.0)
    assert not limiter.may_fetch(ALICE, _fingerprint(1), RETRY_SECONDS - 0.1)
    assert limiter.may_fetch(ALICE, _fingerprint(1), RETRY_SECONDS)


def test_a_peer_that_does_not_answer_keeps_nobody_from_asking_another() -> None:
    limiter = FetchLimiter()
    assert limiter.may_fetch(ALICE, _fingerprint(1), 0.0)
    assert limiter.may_fetch(BOB, _fingerprint(1), 0.0)


def test_a_peer_that_delivers_strangers_without_end() -> None:
    limiter = FetchLimiter()
    asked = sum(limiter.may_fetch(ALICE, _fingerprint(n), 0.0) for n in range(1000))
    assert asked == BURST
    assert limiter.may_fetch(BOB, _fingerprint(1), 0.0)
    later = sum(limiter.may_fetch(ALICE, _fingerprint(1000 + n), 100 + n / 100) for n in range(1000))
    assert later == BURST + 19


def test_peers_without_end() -> None:
    limiter = FetchLimiter()
    asked = sum(limiter.may_fetch(PeerId(f"peer {n}"), _fingerprint(n), 0.0) for n in range(2 * MAX_ASKED))
    assert asked == MAX_ASKED
    for round_ in range(1, 4):
        now = round_ * RETRY_SECONDS
        assert limiter.may_fetch(ALICE, _fingerprint(0), now)
        for n in range(MAX_ASKED):
            limiter.may_fetch(PeerId(f"peer {round_} {n}"), _fingerprint(n), now)
        assert len(limiter._allowances) <= MAX_ASKED + 1
        assert len(limiter._asked) <= MAX_ASKED
