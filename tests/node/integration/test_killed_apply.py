"""`beectl apply` killed at any moment leaves everything or nothing, and applying again makes it whole."""

from __future__ import annotations

import json
import random
import subprocess
import time
from typing import Any

import pytest

from beemesh_node.messaging.directory import Contact
from beemesh_node.protocol.messages import ListReply, ListRequest, Resource, WorkloadEntry
from beemesh_node.protocol.record import open_record
from tests.node.integration.insider import Credentials, Insider, insider
from tests.node.integration.manifests import deployment
from tests.node.integration.mesh import Operator
from tests.node.integration.shared import SharedMesh
from tests.node.integration.waiting import until

pytestmark = pytest.mark.long

SEEDS = 15
RUNNING = ("w0", "w5", "w10", "untouched")
"""The Deployments that have a replica: what is declared is what counts here, pods take their time."""
NAMESPACE = "killed"


def test_apply_killed_at_any_moment(mesh: SharedMesh, admin: Operator) -> None:
    """Each seed kills the apply of its own Deployment; all are looked at, and applied again, together."""
    whole = duration_of(admin, "untouched")
    killed = sum(
        not finishes(admin, f"w{seed}", whole * random.Random(seed).uniform(0.3, 1.0)) for seed in range(SEEDS)
    )
    assert killed > SEEDS // 3, "most were killed before they had ended"
    assert mesh.alpha.status() is not None
    assert mesh.beta.status() is not None


async def test_every_guardian_holds_all_or_nothing(mesh: SharedMesh, admin: Operator) -> None:
    async with insider(Credentials.of_operator(admin)) as member:
        contacts = [await member.meet(machine) for machine in (mesh.alpha, mesh.beta)]
        held = [await held_by(member, contact) for contact in contacts]
        for machine in held:
            for entry in machine.values():
                record = open_record(entry.record, member.credentials.trust.verify_chain).record
                assert record.cid in {block.cid for block in entry.blocks}
    names = {uid for machine in held for uid in machine}
    assert len(names) >= 1, "the one that was not killed"


def test_applying_again_converges(mesh: SharedMesh, admin: Operator) -> None:
    names = [f"w{seed}" for seed in range(SEEDS)]
    admin.apply(*map(declared, names))
    shown = admin.json("get", "deployments", "-n", NAMESPACE)["items"]
    ready = {item["metadata"]["name"]: item["status"].get("readyReplicas", 0) for item in shown}
    assert ready == {name: int(name in RUNNING) for name in [*names, "untouched"]}
    assert len({**mesh.alpha.containers(), **mesh.beta.containers()}) == len(RUNNING)
    assert admin.apply(*map(declared, names), wait=False).out.count("unchanged") == SEEDS
    admin.run("delete", "-n", NAMESPACE, "deployment", "untouched", *names)
    until(lambda: not {**mesh.alpha.containers(), **mesh.beta.containers()}, "all pods are gone")


def declared(name: str) -> dict[str, Any]:
    return deployment(name, int(name in RUNNING), namespace=NAMESPACE)


def duration_of(operator: Operator, name: str) -> float:
    began = time.monotonic()
    operator.apply(declared(name), wait=False)
    return time.monotonic() - began


def finishes(operator: Operator, name: str, within: float) -> bool:
    """Start an apply and kill it after so many seconds; whether it had ended before."""
    with operator.begin("apply", "-f", "-", stdin=json.dumps(declared(name))) as process:
        try:
            process.wait(timeout=within)
            return True
        except subprocess.TimeoutExpired:
            process.kill()
            return False


async def held_by(member: Insider, contact: Contact) -> dict[str, WorkloadEntry]:
    request = ListRequest(Resource.WORKLOADS, namespace=NAMESPACE, content=True)
    reply = await member.ask(contact, request, ListReply)
    found = {}
    for entry in reply.workloads:
        record = open_record(entry.record, member.credentials.trust.verify_chain).record
        if not record.deleted:
            found[record.uid] = entry
    return found
