"""Questions and answers between real hosts: who is believed, in which session, and how each failure is told."""

from __future__ import annotations

import pytest
import trio

from beemesh_node.messaging.directory import Contact
from beemesh_node.messaging.errors import ConnectionLost, MeshUnreachable, PeerRefused, RemoteFailure, RequestTimeout
from beemesh_node.messaging.exchange import Question
from beemesh_node.messaging.wire import MESSAGE
from beemesh_node.network.api import FrameStream
from beemesh_node.protocol.counters import Refusal
from beemesh_node.protocol.fetchlimit import BURST
from beemesh_node.protocol.messages import (
    Ack,
    BlockReply,
    BlockRequest,
    IntroductionReply,
    IntroductionRequest,
    RecordQuery,
    RecordReply,
)
from tests.node.messaging.party import QUERY, another_session, now_ms, operator, party, until
from tests.node.protocol.mesh import Mesh


async def test_a_question_and_its_answer(mesh: Mesh) -> None:
    async with party(mesh) as alice, party(mesh) as bob:
        contact = await alice.meet(bob)
        assert await alice.ask(contact) == bob.contact.machine.encode()
        (question,) = bob.asked
        assert (question.payload, question.machine) == (QUERY, alice.contact.machine)


async def test_what_is_not_answered_is_told(mesh: Mesh) -> None:
    async def fail(question: Question) -> object:
        raise RemoteFailure("Conflict", "somebody was quicker")

    async with party(mesh) as alice, party(mesh, handlers={BlockRequest: fail}) as bob:
        contact = await alice.meet(bob)
        with pytest.raises(RemoteFailure, match="somebody was quicker") as conflict:
            await alice.ask(contact)
        assert conflict.value.code == "Conflict"
        with pytest.raises(RemoteFailure, match="RecordQuery is not answered here") as unknown:
            await alice.exchange.ask(contact, RecordQuery("x"), RecordReply, timeout=5)
        assert unknown.value.code == "NotFound"
        with pytest.raises(RemoteFailure):
            await alice.ask(contact)


async def test_an_answer_of_another_type_is_not_taken(mesh: Mesh) -> None:
    async with party(mesh) as alice, party(mesh) as bob:
        contact = await alice.meet(bob)
        with pytest.raises(PeerRefused, match="answered with BlockReply, expected Ack"):
            await alice.exchange.ask(contact, QUERY, Ack, timeout=5)


async def test_no_answer_in_time(mesh: Mesh) -> None:
    async def never(question: Question) -> object:
        await trio.sleep_forever()

    async with party(mesh) as alice, party(mesh, handlers={BlockRequest: never}) as bob:
        contact = await alice.meet(bob)
        began = trio.current_time()
        with pytest.raises(RequestTimeout, match=r"did not answer within 0\.2 s"):
            await alice.exchange.ask(contact, QUERY, BlockReply, timeout=0.2)
        assert trio.current_time() - began < 5


async def test_a_handler_that_fails_ends_its_stream_only(mesh: Mesh) -> None:
    async def faulty(question: Question) -> object:
        raise ZeroDivisionError

    async with party(mesh) as alice, party(mesh, handlers={RecordQuery: faulty}) as bob:
        contact = await alice.meet(bob)
        with pytest.raises(PeerRefused, match="closed the stream without an answer"):
            await alice.exchange.ask(contact, RecordQuery("x"), RecordReply, timeout=5)
        assert bob.host.counters["contained.handler"] == 1
        assert await alice.ask(contact)


async def test_a_connection_that_is_lost_before_the_answer_is_no_refusal(mesh: Mesh) -> None:
    asked = trio.Event()

    async def never(question: Question) -> object:
        asked.set()
        await trio.sleep_forever()

    async with party(mesh) as alice, party(mesh, handlers={RecordQuery: never}) as bob, trio.open_nursery() as nursery:
        contact = await alice.meet(bob)

        async def cut() -> None:
            await asked.wait()
            await bob.host.disconnect(alice.host.peer_id, "cut by the test")

        nursery.start_soon(cut)
        name = contact.certificate.name
        with pytest.raises(ConnectionLost, match=f"the connection to {name} was lost before {name} answered"):
            await alice.exchange.ask(contact, RecordQuery("x"), RecordReply, timeout=5)


async def test_nobody_at_the_address(mesh: Mesh) -> None:
    async with party(mesh) as alice:
        async with party(mesh) as bob:
            contact = await alice.meet(bob)
        await until(lambda: contact.peer not in alice.host.peers())
        with pytest.raises(MeshUnreachable, match=contact.certificate.name):
            await alice.ask(contact)


async def test_a_message_to_an_earlier_session_is_refused(mesh: Mesh) -> None:
    credentials = mesh.member(now_ms=now_ms())
    async with party(mesh) as alice:
        async with party(mesh, credentials) as bob:
            earlier = await alice.meet(bob)
        await until(lambda: earlier.peer not in alice.host.peers())
        async with party(mesh, credentials, session=another_session(credentials)) as bob:
            later = await alice.meet(bob)
            with pytest.raises(PeerRefused):
                await alice.ask(earlier)
            assert bob.refused(Refusal.OTHER_SESSION) == 1
            assert await alice.ask(later)


async def test_one_operator_in_two_windows(mesh: Mesh) -> None:
    """Both sessions are answered, whichever began first, directly and through a relay."""
    typist = operator(mesh)
    async with (
        party(mesh) as entry,
        party(mesh) as target,
        party(mesh, typist, listens=False) as first,
        party(mesh, typist, listens=False, session=another_session(typist)) as second,
    ):
        await entry.meet(target)
        entries = [(window, await window.meet(entry)) for window in (first, second)]
        for window, met in [*entries, *entries]:
            assert await window.ask(met) == entry.contact.machine.encode()
            assert await window.ask(target.contact, through=met) == target.contact.machine.encode()


async def test_an_unknown_sender_is_asked_for_at_who_delivered(mesh: Mesh) -> None:
    async with party(mesh) as carol, party(mesh) as messenger, party(mesh) as bob:
        contact = await messenger.meet(bob)
        messenger.member.contacts.admit(carol.contact)
        assert bob.member.contacts.by_machine(carol.contact.machine) is None
        answer = await messenger.deliver(contact, carol.seal(QUERY, contact))
        assert answer is not None
        opened = carol.member
        opened.contacts.admit(bob.contact)
        assert opened.opener.open(answer, opened.mesh_time()).payload == BlockReply(bob.contact.machine.encode())
        assert bob.member.contacts.by_machine(carol.contact.machine) is not None


async def test_who_delivers_the_unknown_is_not_asked_for_ever(mesh: Mesh) -> None:
    asked: list[bytes] = []

    async def introduce(question: Question) -> IntroductionReply:
        asked.append(question.payload.fingerprint)
        return IntroductionReply(b"", b"")

    async with party(mesh, handlers={IntroductionRequest: introduce}) as messenger, party(mesh) as bob:
        contact = await messenger.meet(bob)
        message = bytearray(messenger.seal(QUERY, contact))
        for _ in range(3):
            assert await messenger.deliver(contact, bytes(message[:40]) + bytes(32) + bytes(message[72:])) is None
        assert asked == [bytes(32)]
        for number in range(1, 2 * BURST):
            unknown = bytes([number]) * 32
            assert await messenger.deliver(contact, bytes(message[:40]) + unknown + bytes(message[72:])) is None
        assert BURST <= len(asked) < 2 * BURST
        assert await messenger.ask(contact)


@pytest.mark.parametrize("introduction", [IntroductionReply(b"", b""), IntroductionReply(b"x" * 100, b"y" * 100)])
async def test_an_introduction_that_is_not_believed_changes_nothing(
    mesh: Mesh, introduction: IntroductionReply
) -> None:
    async def introduce(question: Question) -> IntroductionReply:
        return introduction

    async with (
        party(mesh) as carol,
        party(mesh, handlers={IntroductionRequest: introduce}) as messenger,
        party(mesh) as bob,
    ):
        contact = await messenger.meet(bob)
        assert await messenger.deliver(contact, carol.seal(QUERY, contact)) is None
        assert bob.refused(Refusal.UNKNOWN_SENDER) == 1
        assert bob.asked == []
        assert bob.member.contacts.by_machine(carol.contact.machine) is None


async def test_a_replay_and_an_alteration_reach_no_handler(mesh: Mesh) -> None:
    async with party(mesh) as alice, party(mesh) as bob:
        contact = await alice.meet(bob)
        message = alice.seal(QUERY, contact)
        altered = bytearray(alice.seal(QUERY, contact))
        altered[-1] ^= 1
        assert await alice.deliver(contact, message) is not None
        assert await alice.deliver(contact, message) is None
        assert await alice.deliver(contact, bytes(altered)) is None
        assert len(bob.asked) == 1
        assert (bob.refused(Refusal.REPLAYED), bob.refused(Refusal.BAD_SIGNATURE)) == (1, 1)


async def test_somebody_elses_answer_is_not_taken(mesh: Mesh) -> None:
    """Bob's machine hands the question's stream to Mallory, who is as much a member."""
    async with party(mesh) as alice, party(mesh) as bob, party(mesh) as mallory:
        contact = await alice.meet(bob)
        alice.member.contacts.admit(mallory.contact)

        async def answer(stream: FrameStream, admission: object) -> None:
            assert isinstance(admission, Contact)
            await stream.read_frame(1 << 21)
            await stream.write_frame(mallory.seal(BlockReply(b"mine"), admission))

        bob.host.serve(MESSAGE, answer)
        with pytest.raises(PeerRefused, match="somebody else answered in its place"):
            await alice.ask(contact)


async def test_who_asks_who_somebody_is(mesh: Mesh) -> None:
    async with party(mesh) as alice, party(mesh) as bob:
        contact = await alice.meet(bob)
        for request in (
            IntroductionRequest(alice.contact.fingerprint, ""),
            IntroductionRequest(b"", alice.contact.machine),
        ):
            reply = await alice.exchange.ask(contact, request, IntroductionReply, timeout=5)
            assert reply == IntroductionReply(alice.contact.certificate_bytes, alice.contact.statement_bytes)
        nobody = await alice.exchange.ask(contact, IntroductionRequest(b"", "00" * 16), IntroductionReply, timeout=5)
        assert nobody == IntroductionReply(b"", b"")
