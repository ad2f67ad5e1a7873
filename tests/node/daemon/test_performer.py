"""What the core decides while the disk is full: nothing leaves or starts that rests on what could not be written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import trio

from beemesh_node.daemon.performer import Performer
from beemesh_node.daemon.store import CLAIMS, VOTERS, StoreError
from beemesh_node.healing.effects import ForgetClaim, HeldClaim, PersistClaim, PersistVoter, Reply, StartPod, Tell
from beemesh_node.healing.events import PodStartFailed, Untold
from beemesh_node.healing.leases.voter import HeldVoter
from beemesh_node.messaging.errors import ConnectionLost, MeshError, MeshUnreachable, RemoteFailure, RequestTimeout
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    Ack,
    ClaimRef,
    ClaimReports,
    LeaseRefusal,
    LeaseReply,
    MoveReply,
    Requirements,
)
from beemesh_node.workloads.pod import PodIdentity
from tests.node.daemon.small_disk import Disk

IDENTITY = PodIdentity("default", "Deployment", "web", "uid-1", 0, 1, 1, "r1", "web-0", "pod-1")
OTHER = replace(IDENTITY, slot=1, pod_name="web-1", pod_uid="pod-2")
CLAIM = HeldClaim(ClaimRef("uid-1", 1, 0, 1, "m" * 32, "r1"), IDENTITY, Requirements(100, 1 << 20), {}, 5)
VOTER = HeldVoter(Uid("uid-1"), 0, (MachineId("m" * 32),))
OTHER_MACHINE, TOLD = MachineId("o" * 32), ClaimReports(())
LARGE = replace(VOTER, members=tuple(MachineId(f"{number:064}") for number in range(1000)))
GRANTED = LeaseReply(LeaseRefusal.NONE)


class Hands:
    """Takes what the performer hands on: to the core, to who asked it, to the runtime, and to other machines."""

    def __init__(self) -> None:
        self.answer: Ack | MeshError = Ack()
        self.events: list[Any] = []
        self.replies: list[int] = []
        self.failed: list[PodStartFailed] = []
        self.started: list[PodIdentity] = []

    def reply(self, effect: Reply) -> None:
        self.replies.append(effect.token)

    async def put(self, event: Any) -> None:
        (self.failed if isinstance(event, PodStartFailed) else self.events).append(event)

    async def ask(self, machine: MachineId, payload: object, expected: type, *, timeout: float) -> Ack:
        if isinstance(self.answer, MeshError):
            raise self.answer
        return self.answer

    async def start(self, identity: PodIdentity, end: float | None, term: int) -> None:
        self.started.append(identity)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
async def performer(disk: Disk, hands: Hands) -> AsyncIterator[Performer]:
    unused: Any = None
    stand_in: Any = hands
    async with trio.open_nursery() as nursery:
        yield Performer(stand_in, stand_in, stand_in, unused, disk.store, unused, trio.CapacityLimiter(1), nursery)
        nursery.cancel_scope.cancel()


async def test_a_full_disk_is_an_error_and_changes_nothing(disk: Disk) -> None:
    disk.store.write({(VOTERS, "before"): b"1"})
    disk.fill()
    with pytest.raises(StoreError):
        disk.store.write({(VOTERS, "before"): bytes(1 << 16), (VOTERS, "after"): b"2"})
    assert disk.store.items(VOTERS) == [("before", b"1")]


async def test_a_voters_answer_is_withheld_until_what_it_granted_is_written(
    performer: Performer, disk: Disk, hands: Hands
) -> None:
    disk.fill()
    await performer.perform([PersistVoter(LARGE), Reply(1, GRANTED), Reply(2, MoveReply(()))])
    assert hands.replies == [2]
    await performer.perform([Reply(3, GRANTED)])
    assert hands.replies == [2], "the first grant is not written yet"
    disk.empty()
    await performer.perform([Reply(4, GRANTED)])
    assert hands.replies == [2, 4]
    assert [uid for uid, _ in disk.store.items(VOTERS)] == ["uid-1"]


async def test_no_pod_starts_whose_claim_is_not_written(performer: Performer, disk: Disk, hands: Hands) -> None:
    disk.fill()
    claim = replace(CLAIM, labels={"a": "b" * (1 << 16)})
    await performer.perform([PersistClaim(claim), StartPod(IDENTITY), StartPod(OTHER)])
    await trio.testing.wait_all_tasks_blocked()
    assert hands.started == [OTHER]
    (failed,) = hands.failed
    assert (failed.pod_uid, failed.reason) == (IDENTITY.pod_uid, "StateNotWritten")
    assert "full" in failed.message
    disk.empty()
    await performer.perform([PersistClaim(claim), StartPod(IDENTITY)])
    await trio.testing.wait_all_tasks_blocked()
    assert hands.started == [OTHER, IDENTITY]
    assert [uid for uid, _ in disk.store.items(CLAIMS)] == [IDENTITY.pod_uid]


async def test_no_leased_pod_starts_while_a_vote_is_not_written(performer: Performer, disk: Disk, hands: Hands) -> None:
    disk.fill()
    await performer.perform([PersistVoter(LARGE), StartPod(IDENTITY, deadline=10.0), StartPod(OTHER)])
    await trio.testing.wait_all_tasks_blocked()
    assert hands.started == [OTHER]
    assert [(one.pod_uid, one.retryable) for one in hands.failed] == [(IDENTITY.pod_uid, True)]


@pytest.mark.parametrize("lost", [RequestTimeout("no answer"), MeshUnreachable("no way"), ConnectionLost("gone")])
async def test_of_a_report_that_may_not_have_arrived_the_core_hears(
    performer: Performer, hands: Hands, lost: MeshError
) -> None:
    hands.answer = lost
    await performer.perform([Tell(OTHER_MACHINE, TOLD)])
    await trio.testing.wait_all_tasks_blocked()
    assert hands.events == [Untold(OTHER_MACHINE, TOLD)]


@pytest.mark.parametrize("answer", [Ack(), RemoteFailure("Forbidden", "who are you?")])
async def test_a_report_that_was_answered_is_not_told_again(
    performer: Performer, hands: Hands, answer: Ack | MeshError
) -> None:
    hands.answer = answer
    await performer.perform([Tell(OTHER_MACHINE, TOLD)])
    await trio.testing.wait_all_tasks_blocked()
    assert hands.events == []


async def test_a_claim_that_ended_while_the_disk_was_full_is_removed_once_there_is_room(
    performer: Performer, disk: Disk
) -> None:
    await performer.perform([PersistClaim(CLAIM)])
    disk.fill()
    await performer.perform([ForgetClaim(IDENTITY.pod_uid), PersistVoter(LARGE)])
    assert [pod for pod, _ in disk.store.items(CLAIMS)] == [IDENTITY.pod_uid]
    disk.empty()
    await performer.perform([Reply(1, GRANTED)])
    assert disk.store.items(CLAIMS) == []
