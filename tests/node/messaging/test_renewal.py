"""Certificates and epochs that change under connections that stay."""

from __future__ import annotations

from dataclasses import replace

import pytest

from beemesh_node.crypto import generate_kem_key
from beemesh_node.messaging.directory import Contact, ContactBook
from beemesh_node.messaging.errors import PeerRefused
from beemesh_node.messaging.local import EPOCH_GRACE_MS
from beemesh_node.network.api import Refused as TurnedAway
from beemesh_node.protocol.counters import Refusal
from beemesh_node.protocol.encryption import epoch_id
from beemesh_node.protocol.revocation import NONE, Revocation, open_list
from beemesh_node.protocol.session import LocalSession, start_session
from beemesh_node.protocol.trust import TrustStore
from tests.node.messaging.party import QUERY, Party, now_ms, party
from tests.node.protocol.mesh import Member, Mesh
from tests.node.protocol.revoking import list_by_root


def _renewed(mesh: Mesh, one: Party) -> LocalSession:
    present = one.member.session
    raw = mesh.root.renew(present.certificate, now_ms() + 1)
    certificate, session_id = mesh.trust().verify_chain(raw), present.statement.session_id
    return start_session(present.signing_key, generate_kem_key(), certificate, raw, session_id, now_ms())


def renew(mesh: Mesh, one: Party) -> None:
    """Have a member go on with a new certificate for its keys."""
    one.member.renew(_renewed(mesh, one))


def revoke(trust: TrustStore, mesh: Mesh, *members: Member) -> None:
    entries = [Revocation(each.certificate.machine_id, 0, each.certificate.name, now_ms(), "") for each in members]
    trust.heed(NONE.merged([open_list(list_by_root(mesh.root, 2, *entries), trust)]))


async def test_a_renewed_certificate_needs_no_new_connection(mesh: Mesh) -> None:
    async with party(mesh) as alice, party(mesh) as bob:
        met = await alice.meet(bob)
        renew(mesh, bob)
        assert await alice.ask(met), "who knows the old one is answered under it"
        back = next(each for each in bob.host.peers().values())
        assert await bob.ask(back), "and under the new one it can ask"
        fresh = alice.member.contacts.by_machine(met.machine)
        assert fresh is not None
        assert fresh.fingerprint == bob.member.session.fingerprint != met.fingerprint
        assert await alice.ask(fresh)
        renew(mesh, alice)
        assert await alice.ask(fresh)
        assert {Refusal.UNKNOWN_SENDER.value} >= set(alice.member.counters.snapshot())


async def test_who_is_shown_a_renewed_certificate_need_not_ask(mesh: Mesh) -> None:
    async with party(mesh) as alice, party(mesh) as bob:
        await alice.meet(bob)
        fresh = _renewed(mesh, bob)
        await bob.exchange.introduce(fresh)
        bob.member.renew(fresh)
        back = next(each for each in bob.host.peers().values())
        assert isinstance(back, Contact)
        assert await bob.ask(back)
        assert alice.asked[-1].sender.fingerprint == fresh.fingerprint
        assert alice.refused(Refusal.UNKNOWN_SENDER) == 0


async def test_a_relay_is_told_too(mesh: Mesh) -> None:
    async with party(mesh) as alice, party(mesh) as relay, party(mesh) as bob:
        await relay.meet(bob)
        entry = await alice.meet(relay)
        renew(mesh, relay)
        assert await alice.ask(bob.contact, through=entry)
        renew(mesh, bob)
        assert await alice.ask(bob.contact, through=entry)


async def test_what_a_revoked_member_says_is_refused_at_once_and_it_is_not_admitted_again(mesh: Mesh) -> None:
    async with party(mesh) as alice, party(mesh) as thief:
        met = await thief.meet(alice)
        assert await thief.ask(met)
        revoke(alice.member.contacts.trust, mesh, thief.credentials)
        with pytest.raises(PeerRefused):
            await thief.ask(met)
        assert alice.refused(Refusal.REVOKED) == 1
        assert alice.asked[1:] == []
        assert alice.member.contacts.by_machine(thief.contact.machine) is None
        assert [each.machine for each in alice.member.contacts.disbelieved()] == [thief.contact.machine]
    async with party(mesh) as alice, party(mesh, thief.credentials) as again:
        revoke(alice.member.contacts.trust, mesh, thief.credentials)
        with pytest.raises(TurnedAway, match="revoked"):
            await again.meet(alice)


async def test_an_introduction_of_a_revoked_member_is_not_believed(mesh: Mesh) -> None:
    async with party(mesh) as alice, party(mesh) as bob, party(mesh) as thief:
        met = await bob.meet(alice)
        await bob.meet(thief)
        revoke(alice.member.contacts.trust, mesh, thief.credentials)
        assert await bob.deliver(met, thief.seal(QUERY, alice.contact)) is None
        assert alice.refused(Refusal.UNKNOWN_SENDER) + alice.refused(Refusal.REVOKED) >= 1
        assert alice.asked == []


async def test_an_earlier_epoch_is_read_for_a_while_and_never_written(mesh: Mesh) -> None:
    async with party(mesh) as alice:
        now = now_ms()
        alice.member.mesh_time = lambda: now
        first, second = b"1" * 32, b"2" * 32
        alice.member.add_epoch(first)
        alice.member.add_epoch(second)
        assert alice.member.present_epoch == second
        assert alice.member.epoch_secret(epoch_id(first)) == first
        now += EPOCH_GRACE_MS + 1
        assert alice.member.epoch_secret(epoch_id(first)) is None
        assert alice.member.epoch_secret(epoch_id(second)) == second


def test_a_contact_under_another_certificate_takes_the_place_of_a_revoked_one(mesh: Mesh) -> None:
    book, member = ContactBook(mesh.trust()), mesh.member(now_ms=now_ms())
    later = mesh.root.renew(member.certificate, now_ms() + 60_000)
    renewed = replace(member, certificate_bytes=later, certificate=mesh.trust().verify_chain(later))
    for each in (renewed, member):
        shown = each.session(now_ms())
        book.learn(shown.certificate_bytes, shown.statement_bytes, now_ms())
    newest = book.by_machine(member.certificate.machine_id)
    assert newest is not None
    assert newest.fingerprint == renewed.fingerprint
    stolen = Revocation(member.certificate.machine_id, renewed.certificate.serial, "", now_ms(), "")
    book.trust.heed(NONE.merged([open_list(list_by_root(mesh.root, 2, stolen), book.trust)]))
    assert book.by_machine(member.certificate.machine_id) is None
    again = book.learn(member.certificate_bytes, member.session(now_ms() + 1).statement_bytes, now_ms())
    assert book.by_machine(member.certificate.machine_id) == again
