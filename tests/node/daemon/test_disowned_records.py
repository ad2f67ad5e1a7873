"""Records whose author is believed no more: kept where they are held, taken from nobody else."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
import trio

from beemesh_node.daemon.registry import Registry
from beemesh_node.daemon.store import Store
from beemesh_node.protocol.certificate import ANY
from beemesh_node.protocol.messages import Commit
from beemesh_node.protocol.record import UID_NONCE_SIZE, Record, attest, uid_of
from beemesh_node.protocol.revocation import NONE, Revocation, open_list
from beemesh_node.protocol.root import MeshRoot, OperatorProfile
from beemesh_node.protocol.trust import TrustStore
from tests.node.protocol.mesh import NOW, Member, Mesh
from tests.node.protocol.revoking import list_by_root

KEY = secrets.token_bytes(32)
NAME = ("default", "Deployment", "hello")


class Place:
    """A mesh with an author, and a machine whose disk outlives its registry."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mesh = Mesh()
        self.author = self.mesh.member(OperatorProfile("author", (ANY,), (ANY,)))
        self.nonce = secrets.token_bytes(UID_NONCE_SIZE)
        self.uid = uid_of(self.mesh.root.mesh_id, *NAME, self.nonce)

    def commit(self, author: Member, sequence: int) -> Commit:
        """A tombstone: it needs no blocks."""
        record = Record(
            self.mesh.root.mesh_id, *NAME, self.uid, self.nonce, 1, sequence, b"", True, "", b"", (), NOW
        )  # fmt: skip
        return Commit(attest(record, author.certificate_bytes, author.identity.signing), ())

    def registry(self, trust: TrustStore, name: str = "state.db") -> Registry:
        return Registry(Store(self.path / name, KEY), trio.CapacityLimiter(1), trust)

    def revoked(self, *later: bytes) -> TrustStore:
        """What a machine believes once the author was revoked."""
        trust = self.mesh.trust(*later)
        entry = Revocation(self.author.certificate.machine_id, 0, "author", NOW, "")
        trust.heed(NONE.merged([open_list(list_by_root(self.mesh.root, 2, entry), trust)]))
        return trust


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_what_a_revoked_operator_declared_stays_where_it_is_held(place: Place) -> None:
    commit = place.commit(place.author, 2)
    before = place.registry(place.mesh.trust())
    assert (await before.submit(commit, from_operator=True))[0].accepted
    after = place.registry(place.revoked())
    assert [each.uid for each in await after.load()] == [place.uid]
    assert (await after.submit(commit, from_operator=False))[0].accepted, "guardians that bring it are told it is here"
    (reply, _) = await after.submit(place.commit(place.author, 3), from_operator=False)
    assert (reply.accepted, reply.reason) == (False, "Forbidden")
    assert "revoked" in reply.message
    assert after.newer(place.uid, place.commit(place.author, 3).record) is None


async def test_and_is_taken_by_nobody_else_until_somebody_signs_it_again(place: Place) -> None:
    registry = place.registry(place.revoked(), "other.db")
    assert not (await registry.submit(place.commit(place.author, 2), from_operator=False))[0].accepted
    heir = place.mesh.member(OperatorProfile("heir", (ANY,), (ANY,)))
    assert (await registry.submit(place.commit(heir, 3), from_operator=False))[0].accepted


async def test_a_retired_root_does_not_take_its_records_along_and_a_disowned_one_does(place: Place) -> None:
    root = place.mesh.root
    second = MeshRoot(MeshRoot.create().key, root.mesh_id)
    retired = (root.sign_bundle(2, NOW, [second.key.public_key, root.key.public_key]), second.sign_bundle(3, NOW))
    disowned = second.sign_bundle(4, NOW, (), [root.root_id])
    commit = place.commit(place.author, 2)
    held = place.registry(place.mesh.trust(*retired))
    assert (await held.submit(commit, from_operator=False))[0].accepted
    reply, _ = await place.registry(place.mesh.trust(*retired, disowned), "other.db").submit(
        commit, from_operator=False
    )
    assert (reply.accepted, reply.reason) == (False, "Forbidden")
    again = place.registry(place.mesh.trust(*retired, disowned))
    assert len(await again.load()) == 1, "it was believed when it was written"
