"""Revocation lists: whose are believed, and that all who hold the same ones agree, in whichever order they came."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.crypto import SUITE
from beemesh_node.protocol.certificate import ANY, fingerprint_of
from beemesh_node.protocol.codec import encode
from beemesh_node.protocol.encryption import epoch_id
from beemesh_node.protocol.errors import BadSignatureError, MalformedError, OversizeError, ProtocolError
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.objects import sign_object
from beemesh_node.protocol.revocation import (
    FIRST_EPOCH,
    KEPT_AFTER_END_MS,
    MAX_BAD,
    MAX_ENTRIES,
    MAX_LIST,
    MAX_LISTS,
    MAX_NUMBER,
    MAX_OF_ONE_SIGNER,
    MAX_REASON,
    NONE,
    REVOCATION_KIND,
    Revocation,
    RevocationError,
    RevocationList,
    Revocations,
    SignedList,
    open_list,
    sift,
    sign_list,
)
from beemesh_node.protocol.root import MeshRoot, OperatorProfile
from beemesh_node.protocol.trust import ForeignMeshError, RevokedError, TrustStore, UnknownRootError
from tests.node.crypto.support import flip
from tests.node.protocol.mesh import NOW, OPERATOR, Member, Mesh

MESH = Mesh()
ROOT = MESH.root
WARDENS = [MESH.member(OperatorProfile(f"warden-{number}", (ANY,), ("revoke",))) for number in range(2)]
MACHINES = [MESH.member() for _ in range(3)]
EPOCHS = [epoch_id(bytes([number]) * 32) for number in range(3)]


def entry(member: Member, *, serial: int = 0, at: int = NOW, reason: str = "") -> Revocation:
    return Revocation(member.certificate.machine_id, serial, member.certificate.name, at, reason)


def content(
    number: int, *entries: Revocation, epoch: bytes = EPOCHS[0], issuer: bytes = ROOT.root_id
) -> RevocationList:
    return RevocationList(SUITE, ROOT.mesh_id, issuer, number, entries, epoch, NOW)


def by_root(number: int, *entries: Revocation, root: MeshRoot = ROOT) -> bytes:
    return sign_list(content(number, *entries, issuer=root.root_id), root.key)


def by(member: Member, number: int, *entries: Revocation) -> bytes:
    listed = content(number, *entries, issuer=fingerprint_of(member.certificate_bytes))
    return sign_list(listed, member.identity.signing, member.certificate_bytes)


def foreign() -> bytes:
    root = Mesh().root
    return sign_list(replace(content(2, issuer=root.root_id), mesh_id=root.mesh_id), root.key)


def heeding(*lists: bytes) -> TrustStore:
    trust = MESH.trust()
    trust.heed(NONE.merged([open_list(raw, trust) for raw in lists]))
    return trust


# ---- who is believed


def test_a_root_and_a_warden_may_revoke() -> None:
    machine = MACHINES[0]
    for raw in (by_root(2, entry(machine)), by(WARDENS[0], 2, entry(machine))):
        trust = heeding(raw)
        assert trust.revocations.number == 2
        assert trust.revocations.revokes(machine.certificate)
        assert not trust.revocations.revokes(MACHINES[1].certificate)
        assert not trust.believes(machine.certificate)
        with pytest.raises(RevokedError, match="pi-kitchen: revoked"):
            trust.verify_certificate(machine.certificate_bytes, NOW)
        with pytest.raises(RevokedError):
            trust.verify_author(machine.certificate_bytes)
        assert trust.verify_past(machine.certificate_bytes) == machine.certificate, "what is kept is believed"


def test_a_member_is_revoked_with_its_next_certificates_and_a_serial_alone() -> None:
    machine = MACHINES[0]
    trust = MESH.trust()
    renewed = trust.verify_chain(ROOT.renew(machine.certificate, NOW + 1))
    assert heeding(by_root(2, entry(machine))).revocations.revokes(renewed)
    one = heeding(by_root(2, entry(machine, serial=machine.certificate.serial))).revocations
    assert one.revokes(machine.certificate)
    assert not one.revokes(renewed)
    unknown = Revocation(MachineId(""), machine.certificate.serial, "", NOW, "")
    assert heeding(by_root(2, unknown)).revocations.revokes(machine.certificate)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (by(MESH.member(OPERATOR), 2), RevocationError),
        (by(MESH.member(OperatorProfile("bob", ("default",), ("revoke",))), 2), RevocationError),
        (by(MACHINES[0], 2), RevocationError),
        (foreign(), ForeignMeshError),
        (by_root(2, root=MeshRoot(Mesh().root.key, ROOT.mesh_id)), UnknownRootError),
        (by(Mesh().member(OperatorProfile("eve", (ANY,), (ANY,))), 2), ForeignMeshError),
        (flip(by_root(2), -1), BadSignatureError),
        (flip(by(WARDENS[0], 2), -1), BadSignatureError),
        (by_root(2) + b"\0", MalformedError),
        (by_root(2)[:-1], MalformedError),
        (b"", MalformedError),
        (b"\0\0", MalformedError),
        (b"\xff" * 64, MalformedError),
        (bytes(MAX_LIST + 1), OversizeError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_nobody_believes(raw: bytes, error: type[ProtocolError]) -> None:
    with pytest.raises(error):
        open_list(raw, MESH.trust())


def test_a_warden_signs_for_itself_alone() -> None:
    first, second = WARDENS
    stolen = sign_list(
        content(2, issuer=fingerprint_of(second.certificate_bytes)), first.identity.signing, first.certificate_bytes
    )
    with pytest.raises(MalformedError, match="another mesh or signer"):
        open_list(stolen, MESH.trust())


@given(st.binary(max_size=200))
def test_bytes_of_strangers_raise_nothing_else(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        open_list(data, MESH.trust())


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_no_bit_is_without_meaning(position: int, change: int) -> None:
    raw = bytearray(by_root(2, entry(MACHINES[0])))
    raw[position % len(raw)] ^= change
    with pytest.raises(ProtocolError):
        open_list(bytes(raw), MESH.trust())


def test_the_genuine_are_taken_from_among_others() -> None:
    trust, known = MESH.trust(), heeding(by_root(2)).revocations
    raws = [by_root(3), b"nothing", flip(by_root(4), -1), *(each.raw for each in known.lists)]
    genuine, errors = sift(raws, trust, known)
    assert [each.content.number for each in genuine] == [3]
    assert [type(error) for error in errors] == [MalformedError, BadSignatureError]
    junk = [bytes([number]) for number in range(MAX_BAD + 5)]
    genuine, errors = sift([*junk, by_root(3)], trust)
    assert (genuine, len(errors)) == ([], MAX_BAD), "who shows nothing but nonsense is not listened to for long"


def test_an_object_of_another_kind_is_no_list() -> None:
    body = encode(content(2))
    assert open_list(bytes(4) + sign_object(REVOCATION_KIND, body, ROOT.key), MESH.trust()).signer is None
    with pytest.raises(BadSignatureError):
        open_list(bytes(4) + sign_object("trust-bundle", body, ROOT.key), MESH.trust())


@pytest.mark.parametrize(
    "change",
    [
        {"number": FIRST_EPOCH},
        {"number": MAX_NUMBER},
        {"epoch": b""},
        {"suite": 2},
        {"mesh_id": b"x"},
        {"issuer": b""},
        {"entries": (entry(MACHINES[0]), entry(MACHINES[0], reason="twice"))},
        {"entries": tuple(Revocation(MachineId(""), number, "", 0, "") for number in range(1, MAX_ENTRIES + 2))},
    ],
)
def test_what_no_list_may_say(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        replace(content(2), **change)


@pytest.mark.parametrize(
    "change",
    [
        {"machine_id": "", "serial": 0},
        {"name": "n" * 254},
        {"reason": "r" * (MAX_REASON + 1)},
        {"reason": "\x1b[2J"},
        {"machine_id": "m" * 33},
        {"not_after": NOW},
    ],
)
def test_what_no_entry_may_say(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        replace(entry(MACHINES[0]), **change)


def test_the_longest_list_fits() -> None:
    entries = [
        Revocation(MachineId(f"{number:032x}"), 0, "machine-of-common-name", NOW, "stolen from the van in October")
        for number in range(MAX_ENTRIES)
    ]
    raw = by_root(2, *entries)
    assert len(raw) <= MAX_LIST
    assert len(open_list(raw, MESH.trust()).content.entries) == MAX_ENTRIES


# ---- how they merge


def test_what_was_revoked_in_two_parts_of_the_mesh_is_revoked_in_both() -> None:
    trust = heeding(by_root(2, entry(MACHINES[0])), by(WARDENS[0], 2, entry(MACHINES[1])))
    assert [each.machine_id for each in trust.revocations.entries] == sorted(
        member.certificate.machine_id for member in MACHINES[:2]
    )
    later = trust.revocations.merged([open_list(by_root(3, *map(entry, MACHINES[:2])), trust)])
    assert len(later.lists) == 1, "it says all that the others said"
    assert later.number == 3


def test_of_two_epochs_of_one_number_the_greater_hash_counts() -> None:
    trust = MESH.trust()
    one, two = (open_list(sign_list(content(2, epoch=epoch), ROOT.key), trust) for epoch in EPOCHS[:2])
    for lists in ((one, two), (two, one)):
        merged = Revocations(lists)
        assert merged.top is not None
        assert merged.top.content.epoch == max(EPOCHS[:2])
    three = open_list(sign_list(content(3, epoch=min(EPOCHS)), ROOT.key), trust)
    assert Revocations((one, two, three)).lists == (three,)


def test_only_a_root_overrules_what_an_operator_revoked() -> None:
    honest, thief = WARDENS
    by_thief = by(thief, 9, entry(honest), entry(MACHINES[0]))
    both = heeding(by_thief, by(honest, 2, entry(thief))).revocations
    assert both.revokes(honest.certificate)
    assert both.revokes(thief.certificate)
    assert both.number == 9
    ruled = heeding(by_thief, by_root(3, entry(thief))).revocations
    assert not ruled.revokes(honest.certificate)
    assert not ruled.revokes(MACHINES[0].certificate)
    assert ruled.revokes(thief.certificate)
    assert ruled.number == 3


def test_an_operator_covers_its_own_lists_only() -> None:
    first, second = WARDENS
    trust = MESH.trust()
    lists = [by(first, 2, entry(MACHINES[0])), by(second, 3, entry(MACHINES[0]), entry(MACHINES[1]))]
    merged = NONE.merged([open_list(raw, trust) for raw in lists])
    assert len(merged.lists) == 2
    ruled = merged.merged([open_list(by_root(4, entry(second)), trust)])
    assert ruled.revokes(MACHINES[0].certificate), "the honest one had said it too"
    assert not ruled.revokes(MACHINES[1].certificate)


def test_no_signer_fills_the_memory() -> None:
    trust = MESH.trust()
    apart = [Revocation(MachineId(""), number, "", NOW, "") for number in range(1, MAX_LISTS + 2)]
    crowd = [open_list(by(WARDENS[0], 2, each), trust) for each in apart[: MAX_OF_ONE_SIGNER + 1]]
    full = NONE.merged(crowd[:-1])
    with pytest.raises(RevocationError, match="do not cover each other"):
        full.merged(crowd[-1:])
    assert full.merged([open_list(by_root(3, *apart), trust)]).number == 3, "a root makes one of them"


def test_of_two_lists_that_say_the_same_one_is_kept() -> None:
    trust = MESH.trust()
    signed_twice = [by_root(2, entry(MACHINES[0])) for _ in range(2)]
    assert len(set(signed_twice)) == 2
    lists = [open_list(raw, trust) for raw in (*signed_twice, by_root(2))]
    assert Revocations(lists) == Revocations(reversed(lists))
    assert [each.raw for each in Revocations(lists).lists] == [max(signed_twice)]


def test_an_old_list_takes_nothing_back() -> None:
    trust = heeding(by_root(3, entry(MACHINES[0])))
    older = trust.revocations.merged([open_list(by_root(2), trust)])
    assert older == trust.revocations
    assert older.number == 3


def ended(*serials: int, end: int = NOW) -> list[Revocation]:
    return [Revocation(MachineId("m"), serial, "m", NOW, "", end) for serial in serials]


def test_what_has_ended_leaves_with_a_later_list_of_a_root() -> None:
    trust, member = MESH.trust(), entry(MACHINES[1])

    def by_root_at(number: int, issued_at: int, *entries: Revocation) -> SignedList:
        return open_list(sign_list(replace(content(number, *entries), issued_at=issued_at), ROOT.key), trust)

    before = [by_root_at(2, NOW, *ended(1), member), open_list(by(WARDENS[0], 2, *ended(2)), trust)]
    late = by_root_at(3, NOW + KEPT_AFTER_END_MS, member)
    for lists in ((*before, late), (late, *before)):
        assert Revocations(lists).lists == (late,), "it covers them without what is over"
    for too_early in (by_root_at(3, NOW + KEPT_AFTER_END_MS - 1, member), by_root_at(3, NOW - 1, *ended(1, 2), member)):
        assert len(Revocations((*before, too_early)).lists) > 1
    assert len(Revocations((*before, by_root_at(3, NOW + KEPT_AFTER_END_MS))).lists) == 2, "a member stays for good"
    longer = open_list(by(WARDENS[0], 2, *ended(1, end=NOW + 5)), trust)
    both = Revocations((before[0], longer))
    assert [each.not_after for each in both.entries if each.serial] == [NOW + 5], "who says that it lasts longer"


SIGNERS: list[Member | None] = [None, *WARDENS]
ENTRIES = [entry(member, at=at) for member in (*MACHINES, *WARDENS) for at in (NOW, NOW + 1)]
ENTRIES += [
    replace(entry(member, serial=member.certificate.serial), not_after=end)
    for member in (MACHINES[0], WARDENS[0])
    for end in (0, NOW, NOW + 2)
]


@st.composite
def signed_lists(draw: st.DrawFn) -> SignedList:
    """A list as it is once its signature was checked: what bytes it came from makes no difference to the merge."""
    signer = draw(st.sampled_from(SIGNERS))
    entries = draw(st.lists(st.sampled_from(ENTRIES), unique_by=lambda each: each.key, max_size=4))
    issuer = ROOT.root_id if signer is None else fingerprint_of(signer.certificate_bytes)
    number, epoch = draw(st.integers(2, 5)), draw(st.sampled_from(EPOCHS))
    issued_at = NOW + draw(st.sampled_from([0, KEPT_AFTER_END_MS, KEPT_AFTER_END_MS + 5]))
    said = replace(content(number, *entries, epoch=epoch, issuer=issuer), issued_at=issued_at)
    return SignedList(encode(said), said, None if signer is None else signer.certificate)


@given(st.lists(st.lists(signed_lists(), max_size=3), max_size=4), st.randoms())
@settings(max_examples=300)
def test_all_who_hold_the_same_lists_agree(groups: list[list[SignedList]], random: Any) -> None:
    together = Revocations(chain.from_iterable(groups))
    shuffled = [random.sample(group, len(group)) for group in random.sample(groups, len(groups))]
    step = NONE
    for group in shuffled:
        step = Revocations((*step.lists, *group))
        assert Revocations((*step.lists, *group)) == step, "what is known changes nothing"
    assert (step.digest, step.number, step.entries, step.top) == (
        together.digest, together.number, together.entries, together.top
    )  # fmt: skip
    from_roots = [each.content for each in chain.from_iterable(groups) if each.signer is None]
    last = max((each.issued_at for each in from_roots), default=0)
    by_roots = {each.key for said in from_roots for each in said.entries if not each.over(last)}
    assert by_roots <= {each.key for each in step.entries}, "what a root has said stays"


# ---- roots


def test_what_a_retired_root_signed_is_believed_where_it_is_kept() -> None:
    second = MeshRoot(Mesh().root.key, ROOT.mesh_id)
    old = by_root(2, entry(MACHINES[0]))
    bundles = [
        ROOT.sign_bundle(2, NOW, [second.key.public_key, ROOT.key.public_key]),
        second.sign_bundle(3, NOW),
    ]
    trust = MESH.trust(*bundles)
    assert open_list(old, trust).content.number == 2
    assert open_list(by(WARDENS[0], 2), trust).signer == WARDENS[0].certificate
    assert trust.verify_past(MACHINES[0].certificate_bytes) == MACHINES[0].certificate
    assert trust.verify_author(MACHINES[0].certificate_bytes) == MACHINES[0].certificate
    with pytest.raises(UnknownRootError):
        trust.verify_certificate(MACHINES[0].certificate_bytes, NOW)

    trust.adopt(second.sign_bundle(4, NOW, (), [ROOT.root_id]))
    for believe in (trust.verify_past, trust.verify_author):
        with pytest.raises(UnknownRootError):
            believe(MACHINES[0].certificate_bytes)
    with pytest.raises(UnknownRootError):
        open_list(old, trust)
    assert trust.verify_stored(MACHINES[0].certificate_bytes) == MACHINES[0].certificate, "it was believed before"
    again = TrustStore.load(ROOT.mesh_id, trust.dump())
    assert again.past_roots == trust.past_roots == {second.root_id: second.key.public_key}


def test_a_bundle_does_not_disown_what_it_trusts() -> None:
    with pytest.raises(ValueError, match="disowns a root that it trusts"):
        ROOT.sign_bundle(2, NOW, (), [ROOT.root_id])


def test_digests_differ_as_soon_as_beliefs_do() -> None:
    plain, other = MESH.trust(), MESH.trust()
    assert plain.digest == other.digest
    other.heed(heeding(by_root(2)).revocations)
    assert plain.digest != other.digest
    later = MESH.trust(ROOT.sign_bundle(2, NOW))
    assert plain.digest != later.digest
