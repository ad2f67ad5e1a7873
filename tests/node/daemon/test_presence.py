"""What a machine makes of the presences that it hears, and of those that it hears no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio
import trio.testing

from beemesh_node.daemon import presence as service_module
from beemesh_node.daemon.acquaintances import FORGOTTEN_AFTER, MOST, WRITE_EVERY, Acquaintances
from beemesh_node.daemon.presence import PresenceService
from beemesh_node.daemon.store import FACTS, StoreError
from beemesh_node.healing.config import Config
from beemesh_node.healing.core import Core
from beemesh_node.healing.events import Event, MemberGone
from beemesh_node.membership.detection import Life
from beemesh_node.messaging.directory import ContactBook
from beemesh_node.messaging.exchange import Exchange
from beemesh_node.messaging.local import LocalMember
from beemesh_node.network.api import Gossip, PeerEvent, Validator, Verdict
from beemesh_node.protocol.ids import MachineId, PeerId
from beemesh_node.protocol.messages import Death, DeathNotice, Leaving, Presence, Taint
from tests.node.protocol.mesh import NOW, Member, Mesh
from tests.node.workloads.reports import PRESENCE

EPOCH = bytes(range(32))
NEIGHBOUR = "12D3KooWneighbour"
WAY, OTHER_WAY = "/ip4/192.0.2.7/tcp/7400", "/ip4/192.0.2.8/tcp/7400"


@dataclass
class Air:
    """The host as far as presence uses it: what is said and wanted is kept, what is heard comes from the test."""

    wanted: Mapping[PeerId, Sequence[str]] = field(default_factory=dict)
    judge: Validator | None = None

    def serve(self, protocol: str, handler: object) -> None:
        pass

    def peers(self) -> Mapping[PeerId, object]:
        return {}

    def want(self, peers: Mapping[PeerId, Sequence[str]]) -> None:
        self.wanted = peers

    async def publish(self, topic: str, data: bytes) -> None:
        await trio.lowlevel.checkpoint()

    def subscribe(self, topic: str, validate: Validator) -> trio.MemoryReceiveChannel[Gossip]:
        self.judge = validate
        self._gossip, receive = trio.open_memory_channel[Gossip](0)
        return receive

    def peer_events(self) -> trio.MemoryReceiveChannel[PeerEvent]:
        self._events, receive = trio.open_memory_channel[PeerEvent](0)
        return receive


@dataclass
class Detecting:
    """Detection that believes what it is told to, and remembers what it heard."""

    believing: bool = True
    gone: list[MachineId] = field(default_factory=list)
    accusations: list[tuple[MachineId, DeathNotice]] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)

    def present(self, machine: MachineId, life: Life, sequence: int) -> bool:
        self.lives.append(life)
        return self.believing

    def left(self, machine: MachineId) -> None:
        self.gone.append(machine)

    def accused(self, accuser: MachineId, notice: DeathNotice) -> None:
        self.accusations.append((accuser, notice))

    def neighbours(self) -> frozenset[MachineId]:
        return frozenset()


@dataclass
class Memory:
    """A disk that may be full."""

    values: dict[tuple[str, str], bytes] = field(default_factory=dict)
    writes: int = 0
    refused: trio.Event = field(default_factory=trio.Event)
    written: trio.Event = field(default_factory=trio.Event)
    full: bool = False

    def get(self, table: str, name: str) -> bytes | None:
        return self.values.get((table, name))

    def write(self, puts: Mapping[tuple[str, str], bytes]) -> None:
        if self.full:
            trio.from_thread.run_sync(self.refused.set)
            raise StoreError("disk full")
        self.writes += 1
        self.values.update(puts)
        trio.from_thread.run_sync(self.written.set)


class Speaker:
    """Another machine, known already."""

    def __init__(self, mesh: Mesh) -> None:
        self.credentials: Member = mesh.member()
        session = self.credentials.session()
        self.local = LocalMember(session, ContactBook(mesh.trust()), lambda: NOW)
        self._sequence = 0

    @property
    def peer(self) -> PeerId:
        return self.credentials.peer_id

    def says(self, **changes: Any) -> bytes:
        self._sequence += 1
        told = replace(PRESENCE, statement=self.local.session.statement_bytes, sequence=self._sequence, period_ms=1000)
        return self.seal(replace(told, **changes))

    def seal(self, payload: Presence | Leaving | DeathNotice) -> bytes:
        sealer = self.local.sealer
        return sealer.sign(sealer.broadcast(payload, EPOCH, NOW))


@dataclass
class Listener:
    """A machine whose presence service runs; keeps what it told the decision core, and its own periods in ms."""

    mesh: Mesh
    air: Air = field(default_factory=Air)
    events: list[Event] = field(default_factory=list)
    periods: list[int] = field(default_factory=list)
    detecting: Detecting = field(default_factory=Detecting)
    store: Memory = field(default_factory=Memory)
    now: int = NOW

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.member = LocalMember(self.mesh.member().session(), ContactBook(self.mesh.trust()), lambda: NOW)
        self.member.add_epoch(EPOCH)
        exchange = Exchange(self.air, self.member, relays=False)  # type: ignore[arg-type]
        air: Any = self.air
        store: Any = self.store
        self.service = service = PresenceService(
            *(air, self.member, exchange, self._describe, self._put, self.detecting),
            Acquaintances(store, trio.CapacityLimiter(1), lambda: self.now),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.run)
            await trio.testing.wait_all_tasks_blocked()
            yield
            nursery.cancel_scope.cancel()

    def _describe(self, sequence: int, period_ms: int) -> Presence:
        self.periods.append(period_ms)
        return replace(PRESENCE, sequence=sequence, period_ms=period_ms)

    async def _put(self, event: Event) -> None:
        self.events.append(event)

    def meet(self, *speakers: Speaker) -> None:
        for speaker in speakers:
            session = speaker.local.session
            self.member.contacts.learn(session.certificate_bytes, session.statement_bytes, NOW)

    async def hear(self, message: bytes) -> Verdict:
        assert self.air.judge is not None
        return await self.air.judge(message, PeerId(NEIGHBOUR))


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return Mesh()


@pytest.fixture(scope="module")
def speakers(mesh: Mesh) -> list[Speaker]:
    return sorted((Speaker(mesh) for _ in range(20)), key=lambda speaker: speaker.credentials.certificate.machine_id)


async def test_machines_that_fell_silent_slow_nobody_down(
    mesh: Mesh, speakers: list[Speaker], autojump_clock: trio.testing.MockClock
) -> None:
    listener = Listener(mesh)
    async with listener.running():
        listener.meet(*speakers)
        for speaker in speakers:
            assert await listener.hear(speaker.says()) is Verdict.ACCEPT
        await trio.sleep(3.5)
        assert listener.periods[-1] == round(21 / 5 * 1000)
        await trio.sleep(11)
        assert listener.periods[-1] == 3000
        assert await listener.hear(speakers[0].says()) is Verdict.ACCEPT
        assert len(listener.events) == 21


async def test_that_one_fell_silent_may_show_that_others_are_dead(
    mesh: Mesh, speakers: list[Speaker], autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener(mesh)
    async with listener.running():
        listener.meet(*speakers[:3])
        for speaker in speakers[:3]:
            assert await listener.hear(speaker.says()) is Verdict.ACCEPT

        def left(machine: MachineId) -> None:
            listener.detecting.gone.append(machine)
            for other in speakers[:3]:  # as detection does that finds out, for this reason or another, at this moment
                listener.service.gone(other.credentials.certificate.machine_id)

        monkeypatch.setattr(listener.detecting, "left", left)
        await trio.sleep(15)
        assert listener.detecting.gone
        periods = len(listener.periods)
        await trio.sleep(5)
        assert len(listener.periods) > periods, "it speaks no more"


async def test_machines_that_fell_silent_hold_nobodys_place_but_are_looked_for(
    mesh: Mesh, speakers: list[Speaker], autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "MAX_WANTED", 10)
    monkeypatch.setattr(service_module, "FOR_SILENT", 2)
    listener = Listener(mesh)
    died, lives = speakers[:10], speakers[10:]
    async with listener.running():
        listener.meet(*speakers)
        for speaker in speakers:
            await listener.hear(speaker.says(period_ms=1000 if speaker in died else 60_000))
        assert set(listener.air.wanted) == {speaker.peer for speaker in died}
        await trio.sleep(12)
        wanted = set(listener.air.wanted)
        assert len(wanted & {speaker.peer for speaker in lives}) == 8
        assert len(wanted & {speaker.peer for speaker in died}) == 2
        await listener.hear(speakers[0].says(period_ms=60_000))
        assert speakers[0].peer in listener.air.wanted


async def test_a_machine_that_left_is_no_longer_dialled(mesh: Mesh, speakers: list[Speaker]) -> None:
    listener = Listener(mesh)
    async with listener.running():
        listener.meet(speakers[0])
        await listener.hear(speakers[0].says())
        assert set(listener.air.wanted) == {speakers[0].peer}
        await listener.hear(speakers[0].seal(Leaving(restarting=False)))
        assert not listener.air.wanted
        assert isinstance(listener.events[-1], MemberGone)


async def test_a_machine_that_restarts_is_dialled_until_it_is_back(mesh: Mesh, speakers: list[Speaker]) -> None:
    listener = Listener(mesh)
    async with listener.running():
        listener.meet(speakers[0])
        await listener.hear(speakers[0].says(addresses=(WAY,)))
        await listener.hear(speakers[0].seal(Leaving(restarting=True)))
        assert listener.air.wanted == {speakers[0].peer: (WAY,)}


async def test_who_starts_again_dials_those_whom_it_met(
    mesh: Mesh, speakers: list[Speaker], autojump_clock: trio.testing.MockClock
) -> None:
    before = Listener(mesh)
    async with before.running():
        before.meet(*speakers)
        for speaker in speakers[:5]:
            await before.hear(speaker.says(addresses=(WAY, "nonsense", "x" * 4096)))
        await before.hear(speakers[0].seal(Leaving(restarting=False)))
        await trio.sleep(2)
    met = {speaker.peer: (WAY,) for speaker in speakers[1:5]}
    after = Listener(mesh, store=before.store)
    async with after.running():
        assert after.air.wanted == met
        after.meet(speakers[1])
        await after.hear(speakers[1].says(addresses=(OTHER_WAY,)))
        assert after.air.wanted == {**met, speakers[1].peer: (OTHER_WAY,)}
        contact = after.member.contacts.by_machine(speakers[1].credentials.certificate.machine_id)
        assert contact is not None
        await after.service.disown(contact)
        await trio.sleep(2)
    last = Listener(mesh, store=before.store)
    async with last.running():
        assert set(last.air.wanted) == {speaker.peer for speaker in speakers[2:5]}


async def test_the_disk_is_spared_and_may_be_full(
    mesh: Mesh, speakers: list[Speaker], autojump_clock: trio.testing.MockClock
) -> None:
    store = Memory(full=True)
    listener = Listener(mesh, store=store)
    async with listener.running():
        listener.meet(*speakers)
        for speaker in speakers:
            await listener.hear(speaker.says(addresses=(WAY,), period_ms=60_000))
        with trio.fail_after(10 * WRITE_EVERY):
            await store.refused.wait()
            store.full = False
            await store.written.wait()
        for speaker in speakers:
            await listener.hear(speaker.says(addresses=(WAY,), period_ms=60_000))
        await trio.sleep(3 * WRITE_EVERY)
        assert store.writes == 1


async def test_who_was_not_heard_for_long_is_looked_for_no_more(
    mesh: Mesh, speakers: list[Speaker], autojump_clock: trio.testing.MockClock
) -> None:
    before = Listener(mesh)
    async with before.running():
        before.meet(*speakers)
        await before.hear(speakers[0].says(addresses=(WAY,)))
        before.now += FORGOTTEN_AFTER * 1000
        await before.hear(speakers[1].says(addresses=(WAY,)))
        await trio.sleep(2)
    after = Listener(mesh, store=before.store, now=before.now + 1)
    async with after.running():
        assert after.air.wanted == {speakers[1].peer: (WAY,)}


async def test_no_more_are_remembered_than_are_dialled_again() -> None:
    store: Any = Memory()
    acquaintances = Acquaintances(store, trio.CapacityLimiter(1), lambda: NOW)
    for number in range(3 * MOST):
        acquaintances.heard(MachineId(str(number)), PeerId(str(number)), [WAY])
    assert list(acquaintances.known) == [str(number) for number in reversed(range(2 * MOST, 3 * MOST))]


def test_acquaintances_that_another_version_wrote_are_no_obstacle() -> None:
    store: Any = Memory({(FACTS, "acquaintances"): b"[1]"})
    assert not Acquaintances(store, trio.CapacityLimiter(1), lambda: NOW).known


@pytest.mark.parametrize(
    "changes",
    [
        {"host_ports": (0, 65_536, 2**32 - 1)},
        {"period_ms": 0},
        {"period_ms": 2**32 - 1},
        {"labels": {"": "", "k" * 4096: "v" * 4096, "\N{SNOWMAN}/\n": "\0"}},
        {"taints": (Taint("", "\0", "Whatever"),)},
        {"addresses": ("", "/", "/ip4/999.0.0.1/tcp/99999", "x" * 4096)},
        {"cpu_reserved": 2**32 - 1, "memory_allocatable": 0, "memory_reserved": 2**63 - 1},
        {"started_at": 2**63 - 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_an_absurd_presence_harms_nobody(mesh: Mesh, changes: dict[str, Any]) -> None:
    listener, speaker = Listener(mesh), Speaker(mesh)
    async with listener.running():
        listener.meet(speaker)
        assert await listener.hear(speaker.says(**changes)) is Verdict.ACCEPT
        (event,) = listener.events
        core = Core(listener.member.session.certificate.machine_id, Config(seed=bytes(16)))
        core.handle(event, 0.0)
        assert [member.machine for member in core.members()] == [speaker.credentials.certificate.machine_id]


@pytest.mark.parametrize("statement", [b"", b"junk", bytes(3000)], ids=["none", "junk", "zeros"])
async def test_a_presence_with_a_statement_that_is_none_is_rejected(mesh: Mesh, statement: bytes) -> None:
    listener, speaker = Listener(mesh), Speaker(mesh)
    async with listener.running():
        listener.meet(speaker)
        assert await listener.hear(speaker.says(statement=statement)) is Verdict.REJECT
        assert not listener.events
        assert not listener.air.wanted


async def test_death_notices_are_handed_on_with_who_signed_them(mesh: Mesh, speakers: list[Speaker]) -> None:
    listener = Listener(mesh)
    notice = DeathNotice((Death("somebody", 7, 1, "silent"),))
    async with listener.running():
        listener.meet(speakers[0])
        forged = speakers[0].seal(notice)
        forged = forged[:200] + bytes([forged[200] ^ 1]) + forged[201:]
        assert await listener.hear(forged) is Verdict.REJECT
        assert await listener.hear(speakers[0].seal(notice)) is Verdict.ACCEPT
    assert listener.detecting.accusations == [(speakers[0].credentials.certificate.machine_id, notice)]


async def test_who_is_held_dead_does_not_count(mesh: Mesh, speakers: list[Speaker]) -> None:
    listener = Listener(mesh, detecting=Detecting(believing=False))
    async with listener.running():
        listener.meet(speakers[0])
        assert await listener.hear(speakers[0].says(incarnation=3)) is Verdict.ACCEPT
    assert listener.events == []
    assert Life(PRESENCE.started_at, 3) in listener.detecting.lives


async def test_this_machine_contradicts_at_once(mesh: Mesh, autojump_clock: trio.testing.MockClock) -> None:
    listener = Listener(mesh)
    async with listener.running():
        began = trio.current_time()
        listener.service.contradict(1)
        while listener.service.own is None or listener.service.own.incarnation != 1:  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert trio.current_time() - began <= service_module.SHORTEST_GAP + 0.02
