"""Certificates: what they may say, and that nothing but a valid one is believed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.crypto import generate_kem_key
from beemesh_node.crypto.identity import Identity
from beemesh_node.protocol.certificate import CERTIFICATE_KIND, MAX_CERTIFICATE, Certificate, Role, fingerprint_of
from beemesh_node.protocol.codec import encode
from beemesh_node.protocol.errors import BadSignatureError, MalformedError, OversizeError
from beemesh_node.protocol.ids import MachineId, MeshId, PeerId
from beemesh_node.protocol.objects import sign_object
from beemesh_node.protocol.root import MACHINE_LIFETIME_MS, OPERATOR_LIFETIME_MS, MachineProfile, MeshRoot
from beemesh_node.protocol.trust import ExpiredError, ForeignMeshError, NotYetValidError, UnknownRootError
from tests.node.crypto.support import flip
from tests.node.protocol.mesh import DAY, HOUR, MACHINE, NOW, OPERATOR, Mesh

MESH = Mesh()
TRUST = MESH.trust()
MEMBER = MESH.member()
OPERATOR_CERTIFICATE = MESH.member(OPERATOR).certificate
VALID = MEMBER.certificate_bytes


def test_a_machine_is_what_the_inventory_says() -> None:
    certificate = TRUST.verify_certificate(VALID, NOW)
    assert (certificate.role, certificate.name, certificate.guardian) == (Role.MACHINE, "pi-kitchen", False)
    assert certificate.labels == {"region": "eu-north", "example.com/class": "iot"}
    assert certificate.peer_id == MEMBER.identity.peer.peer_id
    assert certificate.public_key == MEMBER.identity.signing.public_key
    assert certificate.not_after - NOW == MACHINE_LIFETIME_MS == 10 * 365 * DAY
    assert len(VALID) < 7000
    assert not certificate.allows("get", "default")


@pytest.mark.parametrize(
    ("namespaces", "verbs", "allowed", "refused"),
    [
        (("shop",), ("get", "apply"), [("get", "shop")], [("get", "other"), ("delete", "shop"), ("get", None)]),
        (("*",), ("get",), [("get", "any"), ("get", None)], [("exec", "any"), ("exec", None)]),
        (("shop",), ("*",), [("exec", "shop")], [("exec", "other"), ("exec", None)]),
        (("*",), ("*",), [("admin", None), ("exec", "shop")], []),
    ],
)
def test_an_operator_may_do_what_its_certificate_names(
    namespaces: tuple[str, ...], verbs: tuple[str, ...], allowed: list[Any], refused: list[Any]
) -> None:
    certificate = replace(OPERATOR_CERTIFICATE, namespaces=namespaces, verbs=verbs)
    assert all(certificate.allows(*what) for what in allowed)
    assert not any(certificate.allows(*what) for what in refused)
    assert OPERATOR_CERTIFICATE.not_after - NOW == OPERATOR_LIFETIME_MS == 365 * DAY


@pytest.mark.parametrize(
    "change",
    [
        {"suite": 2},
        {"mesh_id": MeshId(b"short")},
        {"issuer": b""},
        {"machine_id": MachineId("A" * 32)},
        {"machine_id": MachineId("a" * 32 + "\n")},
        {"peer_id": PeerId("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")},
        {"public_key": bytes(1951)},
        {"role": Role.UNSPECIFIED},
        {"name": ""},
        {"name": "x" * 254},
        {"name": "evil\x1b[2J"},
        {"name": " padded"},
        {"labels": {f"l{number}": "" for number in range(65)}},
        {"labels": {"": "x"}},
        {"labels": {"region": "x" * 64}},
        {"labels": {"region": "a b"}},
        {"labels": {"Example.com/x/y": ""}},
        {"namespaces": ("default",)},
        {"verbs": ("get",)},
        {"not_before": 5, "not_after": 5},
        {"not_before": -1},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_machine_certificate_may_say(change: dict[str, Any]) -> None:
    _refused_to_make_and_to_read(MEMBER.certificate, change)


@pytest.mark.parametrize(
    "change",
    [
        {"namespaces": ()},
        {"verbs": ()},
        {"namespaces": ("Default",)},
        {"namespaces": ("-x",)},
        {"namespaces": ("x" * 64,)},
        {"namespaces": ("default",) * 65},
        {"verbs": ("get all",)},
        {"verbs": ("**",)},
        {"labels": {"region": "eu"}},
        {"guardian": True},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_operator_certificate_may_say(change: dict[str, Any]) -> None:
    _refused_to_make_and_to_read(OPERATOR_CERTIFICATE, change)


def _refused_to_make_and_to_read(valid: Certificate, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(valid, **change)
    # A root that signs it all the same is not believed either.
    spoiled = object.__new__(Certificate)
    for name in Certificate.__slots__:
        object.__setattr__(spoiled, name, change.get(name, getattr(valid, name)))
    if spoiled.not_before >= 0:
        signed = sign_object(CERTIFICATE_KIND, encode(spoiled), MESH.root.key)
        with pytest.raises(MalformedError, match="Certificate"):
            TRUST.verify_certificate(signed, NOW)


@settings(max_examples=300, deadline=None)
@given(bit=st.integers(0, 8 * len(VALID) - 1))
def test_one_flipped_bit_anywhere_is_refused(bit: int) -> None:
    with pytest.raises((BadSignatureError, MalformedError, ForeignMeshError, UnknownRootError)):
        TRUST.verify_certificate(flip(VALID, bit), NOW)


def test_a_flipped_bit_of_the_signature_is_a_bad_signature() -> None:
    for bit in (-1, -8 * 3309):
        with pytest.raises(BadSignatureError, match="altered or is forged"):
            TRUST.verify_certificate(flip(VALID, bit), NOW)


@settings(max_examples=50, deadline=None)
@given(keep=st.integers(0, len(VALID) - 1), more=st.binary(min_size=1, max_size=50))
def test_cut_short_or_continued_is_malformed(keep: int, more: bytes) -> None:
    for spoiled in (VALID[:keep], VALID + more):
        with pytest.raises(MalformedError):
            TRUST.verify_certificate(spoiled, NOW)


@given(st.binary(max_size=200))
def test_anything_else_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        TRUST.verify_certificate(data, NOW)


def test_too_long_is_refused_before_anything_is_verified() -> None:
    with pytest.raises(OversizeError, match=str(MAX_CERTIFICATE)):
        TRUST.verify_certificate(bytes(MAX_CERTIFICATE + 1), NOW)


def test_an_object_of_another_kind_is_not_a_certificate() -> None:
    signed = sign_object("join", encode(MEMBER.certificate), MESH.root.key)
    with pytest.raises(BadSignatureError):
        TRUST.verify_certificate(signed, NOW)


def test_of_another_mesh_or_root_is_told_apart() -> None:
    other = Mesh()
    with pytest.raises(ForeignMeshError, match=other.root.mesh_id.hex()[:16]):
        TRUST.verify_certificate(other.member().certificate_bytes, NOW)
    unknown = MeshRoot(other.root.key, MESH.root.mesh_id)
    certificate = unknown.issue(MESH.request(Identity.generate(), generate_kem_key()), MACHINE, NOW)
    with pytest.raises(UnknownRootError, match=unknown.root_id.hex()[:16]):
        TRUST.verify_certificate(certificate, NOW)


def test_a_root_of_two_meshes_cannot_lend_certificates_from_one_to_the_other() -> None:
    other = MeshRoot(MESH.root.key, MeshId(bytes(32)))
    foreign = replace(MEMBER.certificate, mesh_id=other.mesh_id)
    with pytest.raises(ForeignMeshError):
        TRUST.verify_certificate(sign_object(CERTIFICATE_KIND, encode(foreign), other.key), NOW)
    misnamed = replace(MEMBER.certificate, issuer=bytes(32))
    with pytest.raises(MalformedError, match="another root"):
        TRUST.verify_certificate(sign_object(CERTIFICATE_KIND, encode(misnamed), MESH.root.key), NOW)


def test_dates_are_refused_to_the_millisecond_and_say_what_to_do() -> None:
    certificate = MEMBER.certificate
    assert TRUST.verify_certificate(VALID, certificate.not_before) == certificate
    assert TRUST.verify_certificate(VALID, certificate.not_after - 1) == certificate
    with pytest.raises(ExpiredError, match="pi-kitchen: expired 0 minutes ago; it must be renewed"):
        TRUST.verify_certificate(VALID, certificate.not_after)
    with pytest.raises(ExpiredError, match="expired 3 days ago"):
        TRUST.verify_certificate(VALID, certificate.not_after + 3 * DAY)
    with pytest.raises(NotYetValidError, match="valid only in 5 hours; compare the clocks"):
        TRUST.verify_certificate(VALID, certificate.not_before - 5 * HOUR)
    assert certificate.not_before == NOW - HOUR


def test_without_a_clock_only_expiry_can_be_known() -> None:
    assert TRUST.verify_certificate(VALID, 0, lower_bound=True) == MEMBER.certificate
    with pytest.raises(ExpiredError):
        TRUST.verify_certificate(VALID, MEMBER.certificate.not_after, lower_bound=True)


def test_dates_do_not_matter_for_the_chain_and_are_checked_anew_each_time() -> None:
    assert TRUST.verify_chain(VALID) == MEMBER.certificate
    with pytest.raises(ExpiredError):
        TRUST.verify_certificate(VALID, MEMBER.certificate.not_after)


def test_warning_begins_in_the_last_tenth_of_the_life() -> None:
    certificate = replace(MEMBER.certificate, not_before=1000, not_after=2000)
    assert certificate.warn_from == 1900


def test_renewal_keeps_who_it_is() -> None:
    later = MEMBER.certificate.not_after - DAY
    renewed = TRUST.verify_certificate(MESH.root.renew(MEMBER.certificate, later), later)
    assert renewed == replace(
        MEMBER.certificate,
        serial=renewed.serial,
        not_before=later - HOUR,
        not_after=later + MACHINE_LIFETIME_MS,
    )
    assert renewed.serial != MEMBER.certificate.serial
    changed = MachineProfile("pi-cellar", {}, guardian=True)
    moved = TRUST.verify_chain(MESH.root.renew(MEMBER.certificate, NOW, profile=changed, lifetime_ms=DAY))
    assert (moved.machine_id, moved.name, moved.labels, moved.guardian) == (
        MEMBER.certificate.machine_id,
        "pi-cellar",
        {},
        True,
    )
    assert moved.not_after == NOW + DAY


def test_a_renewal_changes_neither_role_nor_mesh() -> None:
    with pytest.raises(ValueError, match="cannot change its role"):
        MESH.root.renew(MEMBER.certificate, NOW, profile=OPERATOR)
    with pytest.raises(ForeignMeshError):
        Mesh().root.renew(MEMBER.certificate, NOW)


def test_new_keys_may_keep_the_id_and_a_new_member_gets_its_own() -> None:
    request = MESH.request(Identity.generate(), generate_kem_key())
    kept = MESH.root.issue(request, MACHINE, NOW, machine_id=MEMBER.certificate.machine_id)
    assert TRUST.verify_chain(kept).machine_id == MEMBER.certificate.machine_id
    fresh = MESH.root.issue(request, MACHINE, NOW)
    assert TRUST.verify_chain(fresh).machine_id != MEMBER.certificate.machine_id
    assert fingerprint_of(kept) != fingerprint_of(fresh)


def test_a_request_for_another_mesh_is_not_certified() -> None:
    request = MESH.request(Identity.generate(), generate_kem_key())
    with pytest.raises(ForeignMeshError, match="request"):
        Mesh().root.issue(request, MACHINE, NOW)


def test_nothing_shows_the_key_of_a_root() -> None:
    seed = MESH.root.key.export_seed()
    shown = repr(MESH.root) + str(MESH.root) + repr(MESH.root.__dict__)
    assert seed.hex() not in shown
    assert repr(seed) not in shown
