"""Asking through a machine in between: it passes on what it cannot read, or says why it cannot."""

from __future__ import annotations

from typing import Any

import pytest

from beemesh_node.messaging.directory import Contact
from beemesh_node.messaging.errors import PeerRefused, RemoteFailure
from beemesh_node.messaging.exchange import Exchange
from beemesh_node.messaging.wire import MAX_DIRECT, MESSAGE
from beemesh_node.network.api import FrameStream
from beemesh_node.protocol.messages import IntroductionReply
from tests.node.messaging.party import Party, another_session, operator, party, until
from tests.node.protocol.mesh import Mesh


async def test_the_answer_comes_through_a_machine_that_cannot_read_it(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[bytes] = []

    async def note(left: FrameStream, right: FrameStream, limit: int) -> None:
        question = await left.read_frame(limit)
        await right.write_frame(question)
        answer = await right.read_frame(limit)
        await left.write_frame(answer)
        passed.extend((question, answer))

    monkeypatch.setattr("beemesh_node.messaging.exchange.pipe", note)
    async with party(mesh) as entry, party(mesh) as target, party(mesh, operator(mesh), listens=False) as asker:
        await entry.meet(target)
        met = await asker.meet(entry)
        assert await asker.ask(target.contact, through=met) == target.contact.machine.encode()
        assert [question.machine for question in target.asked] == [asker.contact.machine]
        assert entry.asked == []
        assert len(passed) == 2
        assert all(target.contact.machine.encode() not in frame for frame in passed)
        assert target.member.counters.snapshot() == {}, "who asks was shown before the question"


async def test_a_target_that_the_relay_does_not_know_or_reach(mesh: Mesh) -> None:
    async with party(mesh) as entry, party(mesh, operator(mesh), listens=False) as asker:
        met = await asker.meet(entry)
        async with party(mesh) as target:
            lost = target.contact
            with pytest.raises(RemoteFailure, match=f"machine {lost.machine} is not known here") as unknown:
                await asker.ask(lost, through=met)
            assert unknown.value.code == "NotFound"
            await entry.meet(target)
        await until(lambda: lost.peer not in entry.host.peers())
        with pytest.raises(RemoteFailure, match="cannot be reached from here") as unreachable:
            await asker.ask(lost, through=met)
        assert unreachable.value.code == "Unavailable"
        assert await asker.ask(met)


async def test_operators_are_no_targets_and_no_relays(mesh: Mesh) -> None:
    async with (
        party(mesh) as entry,
        party(mesh, operator(mesh)) as other,
        party(mesh, relays=False) as unwilling,
        party(mesh, operator(mesh), listens=False) as asker,
    ):
        met = await asker.meet(entry)
        await entry.meet(other)
        with pytest.raises(RemoteFailure, match="is not known here"):
            await asker.ask(other.contact, through=met)
        with pytest.raises(RemoteFailure, match="RelayRequest is not answered here"):
            await asker.ask(entry.contact, through=await asker.meet(unwilling))


async def test_the_machine_itself_is_asked_without_a_relay(mesh: Mesh) -> None:
    async with party(mesh) as entry, party(mesh, operator(mesh), listens=False) as asker:
        met = await asker.meet(entry)
        assert await asker.ask(met, through=met) == entry.contact.machine.encode()


async def test_a_relay_that_shows_another_session_of_who_asks_gets_no_answer_believed(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    typist = operator(mesh)
    earlier = another_session(typist)
    async with (
        party(mesh) as entry,
        party(mesh) as target,
        party(mesh, typist, listens=False, session=another_session(typist)) as asker,
    ):
        await entry.meet(target)
        met = await asker.meet(entry)
        _show_instead(monkeypatch, entry, IntroductionReply(earlier.certificate_bytes, earlier.statement_bytes))
        with pytest.raises(PeerRefused, match="other_session"):
            await asker.ask(target.contact, through=met)


async def test_a_relay_that_shows_nonsense_is_asked_who_that_is(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    async with party(mesh) as entry, party(mesh) as target, party(mesh, operator(mesh), listens=False) as asker:
        await entry.meet(target)
        met = await asker.meet(entry)
        _show_instead(monkeypatch, entry, IntroductionReply(b"nobody", b"nothing"))
        assert await asker.ask(target.contact, through=met) == target.contact.machine.encode()


async def test_two_introductions_are_one_too_many(mesh: Mesh) -> None:
    async with party(mesh) as entry, party(mesh) as target:
        contact = await entry.meet(target)
        shown = IntroductionReply(entry.contact.certificate_bytes, entry.contact.statement_bytes)
        async with entry.host.open(contact.peer, MESSAGE) as stream:
            await stream.write_frame(entry.seal(shown, contact))
            await stream.write_frame(entry.seal(shown, contact))
            answer = entry.member.opener.open(await stream.read_frame(MAX_DIRECT), entry.member.mesh_time())
        assert "IntroductionReply is not answered here" in str(answer.payload)
        assert await entry.ask(contact)


def _show_instead(monkeypatch: pytest.MonkeyPatch, entry: Party, introduction: IntroductionReply) -> None:
    """Have the entry show this, once, of who asks it to be joined to another."""
    honest = Exchange._sealed
    shown: list[object] = []

    def sealed(door: Exchange, *messages: tuple[Contact, object], **asked: Any) -> list[Any]:
        changed = list(messages)
        for number, (contact, payload) in enumerate(messages):
            if door is entry.exchange and isinstance(payload, IntroductionReply) and not shown:
                shown.append(payload)
                changed[number] = (contact, introduction)
        return honest(door, *changed, **asked)

    monkeypatch.setattr(Exchange, "_sealed", sealed)
