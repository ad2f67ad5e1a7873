"""Who is believed changes while a mesh runs: epochs, revocations, another root. Containers keep running."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import trio

from beemesh_node.crypto import SUITE
from beemesh_node.daemon.main import cli as beemeshd_cli
from beemesh_node.network.api import Refused
from beemesh_node.protocol.certificate import fingerprint_of
from beemesh_node.protocol.encryption import epoch_id
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import IntroductionRequest, TrustNews, TrustReply
from beemesh_node.protocol.revocation import MAX_LIST, Revocation, RevocationList, sign_list
from beemesh_node.protocol.root import MeshRoot
from beemesh_node.protocol.sealer import Sealer
from tests.node.integration.grove import machines_of
from tests.node.integration.insider import Credentials, insider, now_ms
from tests.node.integration.machine import Machine
from tests.node.integration.manifests import deployment
from tests.node.integration.mesh import NONCE, Mesh, Operator, in_process
from tests.node.integration.segment import Segment
from tests.node.integration.waiting import until, until_async


class Copse(Mesh):
    """Machines ash, bay and yew; the tests of this file change who they are, one after the other."""

    ash: Machine
    bay: Machine
    yew: Machine

    def containers(self, *machines: Machine) -> dict[str, tuple[str, str]]:
        return {name: found for machine in machines for name, found in machine.containers().items()}


@pytest.fixture(scope="module")
def copse(segment: Segment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copse]:
    with Copse(tmp_path_factory.mktemp("copse"), segment, "copse") as mesh:
        mesh.ash, mesh.bay, mesh.yew = (mesh.add(name) for name in ("ash", "bay", "yew"))
        for machine in mesh.machines:
            known = [other.multiaddr for other in mesh.machines if other is not machine]
            machine.configure(bootstrap=known)
            machine.start_podman()
            machine.start()
        mesh.settle()
        mesh.admin.enter_by(*mesh.machines)
        yield mesh


def trust(machine: Machine) -> dict[str, Any]:
    status = machine.status()
    assert status is not None
    found: dict[str, Any] = status["trust"]
    return found


def agreed(copse: Copse, *machines: Machine) -> None:
    """Wait until these machines believe the same."""
    until(lambda: len({trust(machine)["digest"] for machine in machines}) == 1, "they believe the same")


def test_a_machine_that_was_away_during_two_epochs_returns(copse: Copse) -> None:
    copse.yew.stop()
    first = copse.admin.json("mesh", "rotate-epoch")
    assert (first["epoch"], first["changed"]) == (2, True)
    assert set(first["told"]) >= {"ash", "bay"}
    assert copse.admin.json("mesh", "rotate-epoch")["epoch"] == 3
    for machine in (copse.ash, copse.bay):
        machine.until(lambda status: status["trust"]["epoch"] == 3, "has the third epoch")
    copse.yew.start()
    copse.yew.until(lambda status: status["trust"]["epoch"] == 3, "was given the third epoch")
    copse.settle()
    agreed(copse, *copse.machines)


def test_another_root_takes_over_and_no_container_is_restarted(copse: Copse) -> None:
    admin = copse.admin
    admin.apply(deployment("steady", 3))
    before = copse.containers(*copse.machines)
    assert len(before) == 3
    old = trust(copse.ash)["root"]

    added = admin.json("mesh", "root", "add")
    assert (added["changed"], added["bundle"], len(added["roots"])) == (True, 2, 2)
    assert admin.json("mesh", "root", "add")["changed"] is False
    assert {each["renewed"] for each in admin.json("mesh", "root", "status")["members"]} == {False}
    refused = admin.run("mesh", "root", "retire", code=1)
    assert "still under the old root: machine/ash, machine/bay, machine/yew" in refused.err

    assert [each["name"] for each in admin.json("cert", "renew", "ash")["renewed"]] == ["ash"]
    rest = admin.json("cert", "renew", "--all")
    assert (rest["unchanged"], [each["name"] for each in rest["renewed"]]) == (["ash"], ["bay", "yew", "admin"])
    assert trust(copse.yew)["root"] == added["roots"][0] != old
    retired = admin.json("mesh", "root", "retire")
    assert (retired["changed"], retired["bundle"], retired["roots"]) == (True, 3, added["roots"][:1])
    for machine in copse.machines:
        machine.until(lambda status: status["trust"]["roots"] == added["roots"][:1], "has forgotten the old root")
    agreed(copse, *copse.machines)
    assert copse.containers(*copse.machines) == before

    assert admin.json("mesh", "info")["mesh_id"] == copse.id
    admin.run("scale", "deployment/steady", "--replicas", "4", "--timeout", "40s")
    until(lambda: len(copse.containers(*copse.machines)) == 4, "what was declared under the old root is still believed")
    after = copse.containers(*copse.machines)
    assert {name: after.get(name) for name in before} == before
    copse.ash.restart(signal.SIGTERM)
    copse.settle()
    assert copse.containers(*copse.machines) == after
    admin.delete("deployment/steady")


def test_a_machine_gets_new_keys_and_its_containers_run_on(copse: Copse) -> None:
    admin, bay = copse.admin, copse.bay
    admin.apply(deployment("rooted", 3))
    before = copse.containers(*copse.machines)
    assert bay.containers()
    old_peer, request, bundle = bay.peer, bay.directory / "request.new", bay.directory / "bundle.new"
    beemeshd = partial(in_process, beemeshd_cli)
    bay.peer = beemeshd("keys", "generate", "--renew", "--state", bay.state)["peer_id"]
    assert bay.peer != old_peer
    beemeshd("keys", "request", "--state", bay.state, "--mesh", copse.id, "--nonce", NONCE, "--out", request)
    signed = admin.json(
        *("cert", "sign", "--renew", "--request", request, "--name", "bay", "--nonce", NONCE, "--out", bundle),
        *("--bootstrap", copse.ash.multiaddr),
    )
    assert signed["machine_id"] == bay.id
    beemeshd("join", "--state", bay.state, "--bundle", bundle)
    bay.restart(signal.SIGTERM)
    copse.settle()
    assert (bay.status() or {})["peer"] == bay.peer
    admin.enter_by(*copse.machines)
    revoked = admin.json("cert", "revoke", signed["replaced"])
    assert revoked["revoked"][0] == {
        "kind": "machine", "name": "bay", "machine_id": bay.id, "serial": signed["replaced"], "changed": True
    }  # fmt: skip
    assert (revoked["told"], revoked["exposed"]) == (["ash", "bay", "yew"], [])
    copse.settle()
    agreed(copse, *copse.machines)
    assert copse.containers(*copse.machines) == before
    admin.delete("deployment/rooted")


def test_an_operator_is_revoked_and_what_it_declared_goes_on(copse: Copse) -> None:
    admin = copse.admin
    ann = copse.operator("ann", ["default"], ["get", "apply"])
    ann.enter_by(*copse.machines)
    ann.apply(deployment("hers", 2))
    before = copse.containers(*copse.machines)
    assert "ann may not revoke" in ann.run("cert", "revoke", "yew", code=3).err
    assert "ann may not revoke" in ann.run("mesh", "rotate-epoch", code=3).err

    revoked = admin.json("cert", "revoke", "operator/ann", "--reason", "left")
    assert revoked["signed_again"] == ["default/deployment/hers"]
    assert revoked["exposed"] == [{"namespace": "default", "kind": "Deployment", "name": "hers", "as": ["owner"]}]
    assert (revoked["told"], revoked["untold"], revoked["not_signed_again"]) == (["ash", "bay", "yew"], [], {})
    assert "revoked" in ann.run("get", "pods", code=3).err
    again = admin.json("cert", "revoke", "operator/ann")
    assert (again["changed"], again["epoch"], again["revoked"][0]["changed"]) == (False, revoked["epoch"], False)
    assert copse.containers(*copse.machines) == before
    listed = admin.json("get", "revocations")["items"][-1]
    assert (listed["metadata"]["name"], listed["spec"]["reason"]) == ("ann", "left")
    admin.delete("deployment/hers")


async def test_news_that_nobody_may_bring(copse: Copse) -> None:
    """Lists that are forged, of one who may not, or without their secret are refused, and nothing changes."""
    copse.operator("bob", ["default"], ["get"])
    bob = Credentials.of_operator(Operator(copse.directory / "operator-bob"))
    admin = Credentials.of_operator(copse.admin)
    before = trust(copse.ash)
    victim = Revocation(MachineId(copse.bay.id), 0, "bay", now_ms(), "")
    secret = b"s" * 32
    number = before["epoch"] + 1
    by_bob, by_admin = _list_of(bob, number, secret, victim), _list_of(admin, number, secret, victim)
    forged = bytearray(by_admin)
    forged[-1] ^= 1
    root = MeshRoot.create()
    foreign = RevocationList(SUITE, root.mesh_id, root.root_id, number, (victim,), epoch_id(secret), now_ms())
    bad = {
        "may not revoke": (by_bob, (secret,)),
        "does not verify": (bytes(forged), (secret,)),
        "secret": (by_admin, ()),
        "other secret": (by_admin, (b"x" * 32,)),
        "mesh": (sign_list(foreign, root.key), (secret,)),
        "bytes": (bytes(MAX_LIST + 1), (secret,)),
    }
    async with insider(bob) as member:
        contact = await member.meet(copse.ash)
        for number_of, (why, (raw, secrets)) in enumerate(bad.items(), 1):
            counted = copse.ash.counted()
            reply = await member.ask(contact, TrustNews(b"", (), (raw,), secrets), TrustReply)
            assert why.removeprefix("other ") in reply.refused, number_of
            assert reply.secrets == (), "operators hold no secrets of epochs"
            assert counted.grown() == {"bad_trust": 1}
    assert trust(copse.ash) == before


async def test_what_a_revoked_machine_says_is_refused_and_what_it_ran_runs_elsewhere(copse: Copse) -> None:
    admin = copse.admin
    ghost = copse.add("ghost", "--no-guardian", run=False)
    apart = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "podAffinityTerm": {
            "labelSelector": {"matchLabels": {"app": "serving"}}, "topologyKey": "kubernetes.io/hostname"
        },
    }]}}  # fmt: skip
    manifest = deployment("serving", 3)
    manifest["spec"]["template"]["spec"]["affinity"] = apart
    await trio.to_thread.run_sync(admin.apply, manifest)
    assert len(copse.yew.containers()) == 1
    others = copse.containers(copse.ash, copse.bay)
    thief = Credentials.of_machine(copse.yew)

    async with insider(Credentials.of_machine(ghost)) as member:
        contact = await member.meet(copse.ash)
        sealer = Sealer(
            contact.certificate.mesh_id, fingerprint_of(thief.certificate), thief.identity.signing
        )  # as yew, by another's connection
        question = IntroductionRequest(b"", "00" * 16)

        def said() -> bytes:
            return sealer.sign(sealer.direct(question, contact.recipient, member.member.mesh_time()))

        assert await member.deliver(contact, said()) is not None
        revoked = await trio.to_thread.run_sync(partial(admin.json, "cert", "revoke", "yew", "--reason", "stolen"))
        assert revoked["told"] == ["ash", "bay"]
        assert set(revoked["untold"]) <= {"ghost"}, "whom this test plays, and who does not answer"
        (exposed,) = revoked["exposed"]
        assert (exposed["name"], exposed["as"]) == ("serving", ["guardian", "runner"])
        counted = copse.ash.counted()
        assert await member.deliver(contact, said()) is None
        assert counted.grown()["revoked"] >= 1

    def replaced() -> bool:
        return len(copse.containers(copse.ash, copse.bay)) == 3

    await until_async(replaced, "its replica runs elsewhere")
    now = copse.containers(copse.ash, copse.bay)
    assert {name: now[name] for name in others} == others, "nothing else was restarted"
    for machine in (copse.ash, copse.bay):
        machine.until(lambda status: "yew" not in status["members"] and status["peers"] <= 2, "it is no member")
    assert machines_of(copse.pods(admin, "-l", "app=serving")).count("yew") == 0


async def test_a_revoked_machine_that_returns_is_refused(copse: Copse) -> None:
    thief = Credentials.of_machine(copse.yew)
    copse.yew.stop()
    copse.ash.restart(signal.SIGKILL)
    copse.settle(copse.ash, copse.bay)
    assert trust(copse.ash)["revoked"] == 3
    counted = copse.ash.counted()
    async with insider(thief) as member:
        with pytest.raises(Refused, match="revoked"):
            await member.meet(copse.ash)
    assert counted.grown()["refused.hello"] == 1
    assert "yew" in copse.admin.run("get", "revocations").out
    assert "yew" not in copse.admin.run("get", "machines").out
    copse.yew.start()
    copse.yew.until(lambda status: status["runtime"]["ready"], "serves")
    copse.ash.until(lambda status: counted.grown().get("refused.hello", 0) >= 2, "and is turned away")
    assert "yew" not in (copse.ash.status() or {})["members"]


def _list_of(credentials: Credentials, number: int, secret: bytes, *entries: Revocation) -> bytes:
    issuer = fingerprint_of(credentials.certificate)
    content = RevocationList(SUITE, credentials.trust.mesh_id, issuer, number, entries, epoch_id(secret), now_ms())
    return sign_list(content, credentials.identity.signing, credentials.certificate)
