"""What a running daemon refuses: each time counted where anybody can look, without effect, and it still serves."""

from __future__ import annotations

import json
import secrets
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from beemesh_node.cli import changes
from beemesh_node.cli.authority import open_root
from beemesh_node.cli.context import Context, ContextSettings
from beemesh_node.cli.survey import Declaration
from beemesh_node.crypto import generate_kem_key
from beemesh_node.crypto.identity import Identity
from beemesh_node.messaging.directory import Contact
from beemesh_node.messaging.errors import RemoteFailure
from beemesh_node.messaging.wire import PRESENCE_TOPIC
from beemesh_node.network.api import Refused, Verdict
from beemesh_node.protocol.block import seal_block
from beemesh_node.protocol.header import HEADER_SIZE
from beemesh_node.protocol.ids import MeshId, PeerId
from beemesh_node.protocol.messages import (
    Ack,
    ClaimRef,
    Commit,
    CommitReply,
    ExecRequest,
    IntroductionReply,
    IntroductionRequest,
    KeyedBlock,
    Leaving,
    ListReply,
    ListRequest,
    LogsRequest,
    Resource,
)
from beemesh_node.protocol.record import UID_NONCE_SIZE, AttestedRecord, Record, attest, open_record, uid_of
from beemesh_node.protocol.request import new_nonce, sign_request, verify_request
from beemesh_node.protocol.root import MachineProfile, MeshRoot
from beemesh_node.protocol.sealer import Sealer
from beemesh_node.protocol.trust import TrustStore
from tests.node.integration.insider import Credentials, Insider, insider, now_ms, session_of
from tests.node.integration.machine import Machine
from tests.node.integration.manifests import deployment
from tests.node.integration.mesh import Operator
from tests.node.integration.shared import SharedMesh, shared_pod
from tests.node.integration.waiting import DEADLINE, until_async

QUERY = IntroductionRequest(b"", "00" * 16)
"""A question that every member may ask."""
YEAR_MS = 365 * 86_400_000
NOBODY = ClaimRef(str(uuid.uuid4()), 1, 0, 1, "00" * 16, "r1")
LOGS = LogsRequest(NOBODY, "main", False, False, False, -1, 0, bytes(32))
EXEC = ExecRequest(NOBODY, "main", ("id",), False, False, bytes(32))


@pytest.fixture(scope="module")
def ghost_machine(mesh: SharedMesh) -> Machine:
    """A machine that has joined properly; the tests say what it says."""
    return mesh.add("ghost", "--no-guardian", run=False)


@pytest.fixture
async def ghost(ghost_machine: Machine) -> AsyncIterator[Insider]:
    async with insider(Credentials.of_machine(ghost_machine)) as member:
        yield member


async def serves(member: Insider, contact: Contact) -> bool:
    """Whether the machine answers an honest question."""
    return await member.ask(contact, QUERY, IntroductionReply) == IntroductionReply(b"", b"")


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (0, "not_a_message"),
        (6, "bad_signature"),
        (8, "foreign_mesh"),
        (40, "unknown_sender"),
        (73, "not_for_us"),
        (105, "other_session"),
        (121, "bad_signature"),
        (129, "bad_signature"),
        (145, "wrong_length"),
        (HEADER_SIZE, "bad_signature"),
        (-1, "bad_signature"),
    ],
)
async def test_a_flipped_bit(mesh: SharedMesh, ghost: Insider, position: int, reason: str) -> None:
    contact = await ghost.meet(mesh.alpha)
    counted = mesh.alpha.counted()
    message = bytearray(ghost.seal(QUERY, contact))
    message[position] ^= 1
    assert await ghost.deliver(contact, bytes(message)) is None
    assert counted.grown() == {reason: 1}
    assert await serves(ghost, contact)


async def test_a_replay(mesh: SharedMesh, ghost: Insider) -> None:
    contact = await ghost.meet(mesh.alpha)
    counted = mesh.alpha.counted()
    message = ghost.seal(QUERY, contact)
    assert await ghost.deliver(contact, message) is not None
    assert await ghost.deliver(contact, message) is None
    assert await ghost.deliver(contact, message) is None
    assert counted.grown() == {"replayed": 2}
    assert await serves(ghost, contact)


@pytest.mark.parametrize(("age_ms", "reason"), [(31_000, "stale"), (YEAR_MS, "before_start"), (-31_000, "from_future")])
async def test_a_broadcast_that_is_not_of_now(
    mesh: SharedMesh, ghost_machine: Machine, age_ms: int, reason: str
) -> None:
    async with insider(Credentials.of_machine(ghost_machine), gossips=True) as ghost:
        contact = await ghost.meet(mesh.alpha)
        ghost.host.subscribe(PRESENCE_TOPIC, _accept)
        counted = mesh.alpha.counted()
        with trio.fail_after(DEADLINE):
            # Gossip takes a moment to know its neighbours, and nothing is stale to a daemon that has just started.
            while reason not in counted.grown():
                await ghost.host.publish(PRESENCE_TOPIC, _broadcast(ghost, now_ms() - age_ms))
                await trio.sleep(0.2)
        assert await serves(ghost, contact)
    assert "ghost" not in (mesh.alpha.status() or {})["members"]


async def test_a_message_of_an_earlier_life(mesh: SharedMesh, ghost: Insider) -> None:
    before = await ghost.meet(mesh.beta)
    message = ghost.seal(QUERY, before)
    await trio.to_thread.run_sync(mesh.beta.restart, signal.SIGTERM)
    await until_async(lambda: before.peer not in ghost.host.peers(), "the old connection is gone")
    after = await ghost.meet(mesh.beta)
    assert after.statement.session_id != before.statement.session_id
    counted = mesh.beta.counted()
    assert await ghost.deliver(after, message) is None
    # The others go on broadcasting while it starts: what it counts of that is not ours.
    assert {**counted.grown(), "before_start": 0} == {"other_session": 1, "before_start": 0}
    assert await serves(ghost, after)
    await trio.to_thread.run_sync(mesh.settle, mesh.alpha, mesh.beta)


async def test_a_certificate_that_has_expired(mesh: SharedMesh) -> None:
    credentials = issued(mesh, root_of(mesh), began_ms=now_ms() - 20 * YEAR_MS, lifetime_ms=10 * YEAR_MS)
    await _is_turned_away(mesh.alpha, credentials, "expired")


async def test_a_certificate_that_expires_while_connected(mesh: SharedMesh, ghost: Insider) -> None:
    lifetime_ms = 5000
    credentials = issued(mesh, root_of(mesh), began_ms=now_ms(), lifetime_ms=lifetime_ms)
    end = credentials.trust.verify_chain(credentials.certificate).not_after
    async with insider(credentials) as member:
        contact = await member.meet(mesh.alpha)
        counted = mesh.alpha.counted()
        await until_async(lambda: member.member.mesh_time() > end + 500, "the certificate is over")
        assert await member.deliver(contact, member.seal(QUERY, contact)) is None
        assert counted.grown() == {"expired": 1}
    assert await serves(ghost, await ghost.meet(mesh.alpha))


async def test_members_of_another_mesh(mesh: SharedMesh) -> None:
    foreign = MeshRoot.create()
    trust = TrustStore(foreign.mesh_id, [foreign.sign_bundle(1, now_ms())])
    credentials = replace(issued(mesh, foreign, began_ms=now_ms()), trust=trust)
    await _is_turned_away(mesh.alpha, credentials, "foreign-mesh")


async def test_a_certificate_of_another_root(mesh: SharedMesh) -> None:
    await _is_turned_away(mesh.alpha, issued(mesh, impostor_of(mesh), began_ms=now_ms()), "unknown-root")


async def test_a_message_of_another_mesh(mesh: SharedMesh, ghost: Insider) -> None:
    contact = await ghost.meet(mesh.alpha)
    counted = mesh.alpha.counted()
    sealer = Sealer(MeshId(bytes(32)), ghost.member.session.fingerprint, ghost.member.session.signing_key)
    assert await ghost.deliver(contact, sealer.sign(sealer.direct(QUERY, contact.recipient, now_ms()))) is None
    assert counted.grown() == {"foreign_mesh": 1}
    assert await serves(ghost, contact)


async def test_a_member_whom_only_the_deliverer_believes(mesh: SharedMesh, ghost: Insider) -> None:
    """Its certificate comes from another root; the deliverer hands it out when it is asked who that is."""
    contact = await ghost.meet(mesh.alpha)
    credentials = issued(mesh, impostor_of(mesh), began_ms=now_ms())
    stranger = _introduced(credentials)
    ghost.member.contacts.admit(stranger)
    counted = mesh.alpha.counted()
    sealer = Sealer(contact.certificate.mesh_id, stranger.fingerprint, credentials.identity.signing)
    assert await ghost.deliver(contact, sealer.sign(sealer.direct(QUERY, contact.recipient, now_ms()))) is None
    assert counted.grown() == {"unknown_sender": 1}
    assert await serves(ghost, contact)


@pytest.mark.parametrize(
    "question",
    [
        ListRequest(Resource.WORKLOADS, content=True),
        LOGS,
        EXEC,
    ],
    ids=lambda question: type(question).__name__,
)
async def test_a_machine_that_asks_what_only_operators_may(mesh: SharedMesh, ghost: Insider, question: object) -> None:
    contact = await ghost.meet(mesh.alpha)
    counted = mesh.alpha.counted()
    assert await ghost.deliver(contact, ghost.seal(question, contact)) is None
    assert counted.grown() == {"role_not_allowed": 1}
    assert await serves(ghost, contact)


async def test_a_machine_that_declares_a_workload(mesh: SharedMesh, ghost: Insider, admin: Operator) -> None:
    contact = await ghost.meet(mesh.alpha)
    held = (mesh.alpha.status() or {})["declarations"]
    own = commit_of(ghost.credentials)
    operator = Credentials.of_operator(admin)
    borrowed = commit_of(replace(operator, identity=ghost.credentials.identity))
    for commit, told in ((own, "may not apply"), (borrowed, "the record is not believed")):
        reply = await ghost.ask(contact, commit, CommitReply)
        assert (reply.accepted, reply.reason) == (False, "Forbidden")
        assert told in reply.message
    assert (mesh.alpha.status() or {})["declarations"] == held
    assert await serves(ghost, contact)


async def test_a_machine_that_deletes_or_turns_back_a_workload(
    mesh: SharedMesh, ghost: Insider, admin: Operator, guarded: Machine
) -> None:
    operator = Credentials.of_operator(admin)

    async def declared() -> AttestedRecord:
        async with insider(operator) as member:
            question = ListRequest(Resource.WORKLOADS, namespace="default", name="guarded")
            (entry,) = (await member.ask(await member.meet(mesh.alpha), question, ListReply)).workloads
        return open_record(entry.record, operator.trust.verify_chain)

    contact = await ghost.meet(mesh.alpha)
    old = await declared()
    entry: Any = None
    ended = changes.tombstone(Declaration(old, entry)).record
    for forger in (ghost.credentials, replace(operator, identity=ghost.credentials.identity)):
        forged = attest(ended, forger.certificate, forger.identity.signing)
        reply = await ghost.ask(contact, Commit(forged, ()), CommitReply)
        assert (reply.accepted, reply.reason) == (False, "Forbidden")
    assert await declared() == old

    for replicas in (2, 1):
        await trio.to_thread.run_sync(admin.run, "scale", "deployment/guarded", "--replicas", replicas)
    new = await declared()
    assert new.record.sequence == old.record.sequence + 2
    reply = await ghost.ask(contact, Commit(old.raw, ()), CommitReply)
    assert not reply.accepted
    assert await declared() == new
    assert guarded.containers()


async def test_an_operator_without_the_namespace_cannot_declare_or_list(mesh: SharedMesh, stranger: Operator) -> None:
    held = (mesh.alpha.status() or {})["declarations"]
    async with insider(Credentials.of_operator(stranger)) as member:
        contact = await member.meet(mesh.alpha)
        reply = await member.ask(contact, commit_of(member.credentials), CommitReply)
        assert (reply.accepted, reply.reason) == (False, "Forbidden")
        with pytest.raises(RemoteFailure, match="may not get in namespace default") as failure:
            await member.ask(contact, ListRequest(Resource.PODS, namespace="default"), ListReply)
        assert failure.value.code == "Forbidden"
        everything = await member.ask(contact, ListRequest(Resource.WORKLOADS), ListReply)
        assert everything.workloads == ()
        assert await serves(member, contact)
    assert (mesh.alpha.status() or {})["declarations"] == held


async def test_an_operator_without_the_namespace_cannot_reach_its_pods(
    admin: Operator, stranger: Operator, guarded: Machine
) -> None:
    async with insider(Credentials.of_operator(admin)) as member:
        contact = await member.meet(guarded)
        pods = (await member.ask(contact, ListRequest(Resource.PODS, name="guarded"), ListReply)).pods
    (claim,) = (pod.claim for pod in pods if pod.claim.slot == 0)  # what was scaled away may still be ending
    async with insider(Credentials.of_operator(stranger)) as member:
        contact = await member.meet(guarded)
        for question, verb in (
            (replace(LOGS, claim=claim), "logs"),
            (replace(EXEC, claim=claim), "exec"),
        ):
            with pytest.raises(RemoteFailure, match=f"stranger may not {verb} in namespace default") as failure:
                await member.ask(contact, question, Ack)
            assert failure.value.code == "Forbidden"
        assert await serves(member, contact)


def test_beectl_of_an_operator_without_the_namespace(stranger: Operator, guarded: Machine) -> None:
    shown = stranger.run("get", "pods", "-n", "default", code=3)
    assert "stranger may not get in namespace default" in shown.err
    assert shown.out == ""
    assert "stranger may not" in stranger.apply(deployment("mine"), code=3).err
    assert guarded.containers()


def test_beectl_of_an_operator_who_may_only_look(mesh: SharedMesh, guarded: Machine) -> None:
    reader = mesh.operator("reader", ["default"], ["get"])
    for words, verb in ((("logs", "deployment/guarded"), "logs"), (("exec", "deployment/guarded", "--", "id"), "exec")):
        ran = reader.run(*words, code=3)
        assert f"reader may not {verb} in namespace default" in ran.err
        assert ran.out == ""
    assert "reader may not apply in namespace default" in reader.apply(deployment("mine"), code=3).err
    assert guarded.containers()


@pytest.fixture(scope="module")
def stranger(mesh: SharedMesh) -> Operator:
    return mesh.operator("stranger", ["elsewhere"], ["*"])


@pytest.fixture(scope="module")
def guarded(mesh: SharedMesh) -> Iterator[Machine]:
    with shared_pod(mesh, "guarded") as machine:
        yield machine


async def _is_turned_away(machine: Machine, credentials: Credentials, reason: str) -> None:
    counted = machine.counted()
    async with insider(credentials) as member:
        with pytest.raises(Refused, match=reason):
            await member.meet(machine)
    await until_async(lambda: counted.grown() == {"refused.hello": 1}, "it is counted", why=counted.grown)
    assert machine.status() is not None


def root_of(mesh: SharedMesh) -> MeshRoot:
    context = Context(Path(mesh.root))
    return open_root(context, ContextSettings.load(context))


def impostor_of(mesh: SharedMesh) -> MeshRoot:
    """A root that says to be of the mesh."""
    return MeshRoot(MeshRoot.create().key, root_of(mesh).mesh_id)


def issued(mesh: SharedMesh, root: MeshRoot, *, began_ms: int, lifetime_ms: int | None = None) -> Credentials:
    """A machine's credentials, signed by any root; what else it needs is the mesh's own."""
    identity, nonce = Identity.generate(), new_nonce()
    request = verify_request(
        sign_request(identity, generate_kem_key().public_key, root.mesh_id, nonce), root.mesh_id, nonce
    )
    certificate = root.issue(request, MachineProfile("guest"), began_ms, lifetime_ms=lifetime_ms)
    return replace(Credentials.of_operator(mesh.admin), identity=identity, certificate=certificate)


def commit_of(credentials: Credentials) -> Commit:
    """A Deployment, declared with these keys under this certificate."""
    sealed = seal_block(json.dumps([deployment("forged")]).encode())
    nonce = secrets.token_bytes(UID_NONCE_SIZE)
    record = Record(
        mesh_id=credentials.trust.mesh_id,
        namespace="default",
        kind="Deployment",
        name="forged",
        uid=uid_of(credentials.trust.mesh_id, "default", "Deployment", "forged", nonce),
        uid_nonce=nonce,
        generation=1,
        sequence=1,
        parent=b"",
        deleted=False,
        cid=sealed.cid,
        key_commitment=sealed.key_commitment,
        revisions=(),
        created_at=now_ms(),
    )
    raw = attest(record, credentials.certificate, credentials.identity.signing)
    return Commit(raw, (KeyedBlock(sealed.cid, sealed.block, sealed.content_key),))


def _broadcast(member: Insider, at_ms: int) -> bytes:
    sealer, secret = member.member.sealer, member.credentials.epoch_secret
    assert secret is not None
    return sealer.sign(sealer.broadcast(Leaving(True), secret, at_ms))


async def _accept(data: bytes, forwarder: PeerId) -> Verdict:
    return Verdict.ACCEPT


def _introduced(credentials: Credentials) -> Contact:
    """What a member would tell of itself, without anybody having verified it."""
    shown = session_of(credentials)
    return Contact(
        shown.certificate, shown.certificate_bytes, shown.fingerprint, shown.statement, shown.statement_bytes
    )
