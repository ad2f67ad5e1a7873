"""A record is believed for the name that its uid follows from, and for no other."""

from dataclasses import replace

import pytest

from beemesh_node.crypto import generate_signing_key
from beemesh_node.protocol.certificate import Certificate
from beemesh_node.protocol.errors import BadSignatureError, MalformedError
from beemesh_node.protocol.record import UID_NONCE_SIZE, Record, attest, open_record, uid_of

MESH, NONCE = bytes(32), b"n" * UID_NONCE_SIZE
ALICES = Record(
    mesh_id=MESH,
    namespace="alice",
    kind="Deployment",
    name="shop",
    uid=uid_of(MESH, "alice", "Deployment", "shop", NONCE),
    uid_nonce=NONCE,
    generation=1,
    sequence=1,
    parent=b"",
    deleted=False,
    cid="",
    key_commitment=b"",
    revisions=(),
    created_at=0,
)


class _Owner:
    """Stands for a verified certificate: of it, only the key is looked at here."""

    def __init__(self) -> None:
        self.key = generate_signing_key()
        self.public_key = self.key.public_key

    def chain(self, _: bytes) -> Certificate:
        return self  # type: ignore[return-value]


def test_a_record_of_its_own_name_opens() -> None:
    owner = _Owner()
    assert open_record(attest(ALICES, b"cert", owner.key), owner.chain).record == ALICES


@pytest.mark.parametrize(
    "change",
    [
        {"namespace": "eve"},
        {"name": "other"},
        {"kind": "Pod"},
        {"mesh_id": bytes(31) + b"x"},
        {"uid_nonce": b"m" * UID_NONCE_SIZE},
        {"uid_nonce": b""},
        {"namespace": "eve", "deleted": True, "sequence": 9},
    ],
)
def test_the_uid_of_another_name_is_refused(change: dict[str, object]) -> None:
    owner = _Owner()
    with pytest.raises(MalformedError, match="uid"):
        open_record(attest(replace(ALICES, **change), b"cert", owner.key), owner.chain)  # type: ignore[arg-type]


def test_a_record_signed_by_another_key_is_refused() -> None:
    with pytest.raises(BadSignatureError):
        open_record(attest(ALICES, b"cert", generate_signing_key()), _Owner().chain)


def test_the_parts_of_a_name_cannot_be_shifted_into_each_other() -> None:
    assert uid_of(MESH, "ab", "c", "d", NONCE) != uid_of(MESH, "a", "bc", "d", NONCE)
