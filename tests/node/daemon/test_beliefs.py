"""What a machine believes: written in one step before it is believed, the same after a restart."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from beemesh_node.daemon.beliefs import Beliefs
from beemesh_node.daemon.enrolment import Membership
from beemesh_node.daemon.store import Store, StoreError
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.revocation import NONE, Revocation
from beemesh_node.protocol.root import MeshRoot
from beemesh_node.protocol.trust import TrustStore
from tests.node.protocol.mesh import NOW, Mesh
from tests.node.protocol.revoking import list_by_root

KEY = secrets.token_bytes(32)
JOINED, SECOND, THIRD = (bytes([number]) * 32 for number in (1, 2, 3))


class Place:
    """A state directory, opened as a daemon that starts does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mesh = Mesh()
        self.member = self.mesh.member()
        self.victim = Revocation(self.mesh.member().certificate.machine_id, 0, "gone", NOW, "")
        self.joined_lists: tuple[bytes, ...] = ()
        self.store = Store(path / "state.db", KEY)

    def start(self, trust: TrustStore | None = None) -> Beliefs:
        self.store.close()
        self.store = Store(self.path / "state.db", KEY)
        membership = Membership(
            identity=self.member.identity,
            certificate=self.member.certificate,
            certificate_bytes=self.member.certificate_bytes,
            trust=trust or self.mesh.trust(),
            network_key=b"",
            bootstrap=(),
            epoch=1,
            epoch_secret=JOINED,
            revocations=self.joined_lists,
        )
        return Beliefs(self.path, membership, self.store, trio.CapacityLimiter(1))

    def list(self, number: int, secret: bytes, *entries: Revocation) -> bytes:
        return list_by_root(self.mesh.root, number, *entries, secret=secret)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_list_and_secret_are_one_thing_and_outlive_a_restart(place: Place) -> None:
    beliefs = place.start()
    assert (beliefs.secret, beliefs.secrets, beliefs.trust.revocations.number) == (JOINED, (), 1)
    assert await beliefs.take((), [place.list(2, SECOND, place.victim)], [THIRD, SECOND])
    assert (beliefs.secret, beliefs.secrets) == (SECOND, (SECOND,))
    assert not await beliefs.take((), [place.list(2, SECOND)], [SECOND]), "an older word takes nothing back"
    again = place.start()
    assert (again.secret, again.trust.digest) == (SECOND, beliefs.trust.digest)
    assert again.news() == beliefs.news()
    assert [entry.name for entry in again.trust.revocations.entries] == ["gone"]


@pytest.mark.parametrize("brought", [(), (THIRD,), (b"",)])
async def test_a_list_without_its_secret_is_not_taken(place: Place, brought: tuple[bytes, ...]) -> None:
    beliefs = place.start()
    with pytest.raises(ProtocolError, match="one thing"):
        await beliefs.take((), [place.list(2, SECOND, place.victim)], brought)
    assert (beliefs.secret, beliefs.trust.revocations.entries) == (JOINED, ())


async def test_what_cannot_be_written_is_not_believed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    beliefs = place.start()
    before = beliefs.trust.digest

    def full(*_: Any) -> None:
        raise StoreError("no space left")

    monkeypatch.setattr(place.store, "write", full)
    with pytest.raises(StoreError):
        await beliefs.take((), [place.list(2, SECOND, place.victim)], [SECOND])
    assert (beliefs.trust.digest, beliefs.secret) == (before, JOINED)


async def test_two_secrets_of_one_number_until_the_next(place: Place) -> None:
    beliefs = place.start()
    one, two = place.list(2, SECOND), place.list(2, THIRD)
    await beliefs.take((), [one], [SECOND])
    await beliefs.take((), [two], [THIRD])
    other = place.start()
    assert other.secret == beliefs.secret
    other.trust.heed(NONE)
    for raw, secret in ((two, THIRD), (one, SECOND)):
        await other.take((), [raw], [secret])
    assert (other.secret, other.trust.digest) == (beliefs.secret, beliefs.trust.digest)
    await other.take((), [place.list(3, JOINED)], [JOINED])
    assert other.secrets == (JOINED,)


async def test_a_newcomer_begins_with_what_its_bundle_says(place: Place) -> None:
    place.joined_lists = (place.list(7, JOINED, place.victim),)
    beliefs = place.start()
    assert (beliefs.trust.revocations.number, beliefs.secret) == (7, JOINED)


async def test_what_a_root_signed_that_was_retired_since_stays_in_force(place: Place) -> None:
    beliefs = place.start()
    await beliefs.take((), [place.list(2, SECOND, place.victim)], [SECOND])
    second = MeshRoot(Mesh().root.key, place.mesh.root.mesh_id)
    both = place.mesh.root.sign_bundle(2, NOW, [second.key.public_key, place.mesh.root.key.public_key])
    alone = second.sign_bundle(3, NOW)
    assert await beliefs.take([both, alone], (), ())
    assert (place.path / "trust.bundle").read_bytes() == beliefs.trust.dump()
    again = place.start(TrustStore.load(place.mesh.root.mesh_id, beliefs.trust.dump()))
    assert again.trust.revocations.number == 2
    assert again.trust.revocations.revokes(replace(place.member.certificate, machine_id=place.victim.machine_id))


async def test_genuine_bundles_before_a_forged_list_stay(place: Place) -> None:
    beliefs = place.start()
    with pytest.raises(ProtocolError):
        await beliefs.take([place.mesh.root.sign_bundle(2, NOW)], [b"nothing"], ())
    assert beliefs.trust.sequence == 2
