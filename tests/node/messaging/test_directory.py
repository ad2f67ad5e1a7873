"""The contact book: what is verified is kept, the newest of it counts, and nothing else gets in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from beemesh_node.crypto import generate_kem_key
from beemesh_node.messaging import directory
from beemesh_node.messaging.directory import ContactBook
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.root import MeshRoot
from tests.node.protocol.mesh import DAY, HOUR, NOW, OPERATOR, Member, Mesh


@pytest.fixture
def book(mesh: Mesh) -> ContactBook:
    return ContactBook(mesh.trust())


def test_a_member_is_found_by_all_its_names(mesh: Mesh, book: ContactBook) -> None:
    member = mesh.member()
    session = member.session()
    contact = book.learn(member.certificate_bytes, session.statement_bytes, NOW)
    assert book.by_fingerprint(member.fingerprint) is contact
    assert book.by_machine(member.certificate.machine_id) is contact
    assert book.by_peer(member.peer_id) is contact
    assert book.certificate(member.fingerprint) == member.certificate
    assert contact.recipient.session == session.statement.session_id
    assert book.learn(member.certificate_bytes, session.statement_bytes, NOW) is contact


def test_nobody_is_found_by_a_name_that_is_not_known(mesh: Mesh, book: ContactBook) -> None:
    member = mesh.member()
    assert book.by_fingerprint(member.fingerprint) is None
    assert book.by_machine(member.certificate.machine_id) is None
    assert book.by_peer(member.peer_id) is None
    assert book.certificate(member.fingerprint) is None
    assert not book.is_revoked(member.fingerprint)


def test_of_two_sessions_the_later_counts_in_whatever_order_they_come(mesh: Mesh, book: ContactBook) -> None:
    member = mesh.member()
    early, late = member.session(NOW), replace(member, kem_key=generate_kem_key()).session(NOW + HOUR)
    for session in (early, late, early):
        known = book.learn(member.certificate_bytes, session.statement_bytes, NOW + HOUR)
    assert known.statement == late.statement
    seen = book.verify(member.certificate_bytes, early.statement_bytes, NOW + HOUR)
    assert seen.statement == early.statement
    assert book.by_machine(member.certificate.machine_id) is known


def test_of_two_certificates_the_newer_counts_and_both_are_known(mesh: Mesh, book: ContactBook) -> None:
    member = mesh.member()
    raw = mesh.root.renew(member.certificate, NOW + DAY)
    renewed = Member(member.identity, member.kem_key, raw, book.trust.verify_chain(raw))
    for each in (renewed, member):
        book.learn(each.certificate_bytes, each.session(NOW + DAY).statement_bytes, NOW + DAY)
    newest = book.by_machine(member.certificate.machine_id)
    assert newest is not None
    assert newest.fingerprint == renewed.fingerprint
    assert book.certificate(member.fingerprint) == member.certificate
    assert len(book.machines()) == 1


def test_operators_are_known_but_are_no_machines(mesh: Mesh, book: ContactBook) -> None:
    member = mesh.member(OPERATOR)
    book.learn(member.certificate_bytes, member.session().statement_bytes, NOW)
    assert book.by_machine(member.certificate.machine_id) is not None
    assert book.machines() == ()


def test_what_does_not_verify_is_not_kept(mesh: Mesh, book: ContactBook) -> None:
    member, other = mesh.member(), mesh.member()
    foreign = Mesh(MeshRoot.create()).member()
    statement = member.session().statement_bytes
    for certificate, shown, when in (
        (member.certificate_bytes, other.session().statement_bytes, NOW),
        (member.certificate_bytes, statement[:-1] + bytes([statement[-1] ^ 1]), NOW),
        (member.certificate_bytes, statement, NOW + 8 * DAY),
        (member.certificate_bytes, b"", NOW),
        (b"", statement, NOW),
        (foreign.certificate_bytes, foreign.session().statement_bytes, NOW),
    ):
        with pytest.raises(ProtocolError):
            book.learn(certificate, shown, when)
    assert book.machines() == ()


def test_who_was_heard_of_least_recently_is_forgotten(
    mesh: Mesh, book: ContactBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "MAX_CONTACTS", 2)
    members = [mesh.member() for _ in range(3)]
    sessions = [member.session().statement_bytes for member in members]
    for number in (0, 1, 0, 2):
        book.learn(members[number].certificate_bytes, sessions[number], NOW)
    known = [book.by_machine(member.certificate.machine_id) is not None for member in members]
    assert known == [True, False, True]


def test_members_of_a_root_that_is_trusted_no_more_are_revoked(mesh: Mesh) -> None:
    heir = MeshRoot.create()
    old, new = mesh.root.key.public_key, heir.key.public_key
    book = ContactBook(mesh.trust())
    member = mesh.member()
    book.learn(member.certificate_bytes, member.session().statement_bytes, NOW)
    book.trust.adopt(mesh.root.sign_bundle(2, NOW, [old, new]))
    assert not book.is_revoked(member.fingerprint)
    book.trust.adopt(mesh.root.sign_bundle(3, NOW, [new]))
    assert book.is_revoked(member.fingerprint)
