"""Machines that watch each other, with real hosts and keys, in one process."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from beemesh_node.daemon.beats import Beats
from beemesh_node.healing.events import Event, MemberGone
from beemesh_node.membership.detection import Life
from beemesh_node.messaging.beat_stream import BEATS, begin
from beemesh_node.network.api import NetworkError
from beemesh_node.protocol.beats import ID_SIZE, Beat, LastHeard, Watching, WhenHeard
from beemesh_node.protocol.counters import Refusal, RefusalCounters
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Death, DeathNotice
from tests.node.messaging.party import Party, operator, party, until
from tests.node.protocol.mesh import Mesh


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return Mesh()


@dataclass
class Air:
    """Brings death notices to everyone, as gossip does."""

    watches: list[Watch] = field(default_factory=list)
    addresses: dict[MachineId, tuple[str, ...]] = field(default_factory=dict)

    def present(self, machine: MachineId, life: Life, sequence: int) -> None:
        for watch in self.watches:
            watch.beats.present(machine, life, sequence)


@dataclass
class Watch:
    """One machine's beats; what `Voice` is to the daemon."""

    party: Party
    air: Air
    beats: Beats
    events: list[Event] = field(default_factory=list)
    contradicted: list[int] = field(default_factory=list)

    @property
    def id(self) -> MachineId:
        return self.party.credentials.certificate.machine_id

    def addresses_of(self, machine: MachineId) -> tuple[str, ...]:
        return self.air.addresses.get(machine, ())

    async def notice(self, notice: DeathNotice) -> None:
        for watch in self.air.watches:
            if watch is not self:
                watch.beats.accused(self.id, notice)

    def contradict(self, incarnation: int) -> None:
        self.contradicted.append(incarnation)
        self.air.present(self.id, Life(1, incarnation), 2)

    def gone(self, machine: MachineId) -> None:
        pass

    def keep_connected(self) -> None:
        pass

    @property
    def dead(self) -> list[MachineId]:
        return [event.machine for event in self.events if isinstance(event, MemberGone)]

    def heard(self) -> object:
        return self.beats.status()["heard"]


def address(*, datagrams: bool) -> str:
    if not datagrams:
        return "/ip4/127.0.0.1/tcp/0"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"/ip4/127.0.0.1/tcp/{probe.getsockname()[1]}"


@asynccontextmanager
async def watch(mesh: Mesh, air: Air, *, datagrams: bool = True) -> AsyncIterator[Watch]:
    async with party(mesh, address=address(datagrams=datagrams)) as member, trio.open_nursery() as nursery:
        me = member.credentials.certificate.machine_id
        events: list[Event] = []

        async def put(event: Event) -> None:
            events.append(event)

        found = Watch(member, air, Beats(me, member.host, member.member, put, nursery), events)
        found.beats.speak_through(found)
        nursery.start_soon(found.beats.run)
        yield found
        air.watches.clear()
        nursery.cancel_scope.cancel()


async def acquaint(air: Air, *watches: Watch) -> None:
    for one in watches:
        for other in watches:
            if one is not other:
                one.party.member.contacts.admit(other.party.contact)
    air.watches += watches
    air.addresses = {one.id: tuple(one.party.host.addresses()) for one in watches}
    for one in watches:
        air.present(one.id, Life(1, 0), 1)
    await until(lambda: all(each.heard() == len(watches) - 1 for each in watches))


@pytest.mark.parametrize("datagrams", [True, False])
async def test_a_machine_that_closes_is_dead_and_the_others_are_not(mesh: Mesh, datagrams: bool) -> None:
    air = Air()
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(watch(mesh, air, datagrams=datagrams))
        other = await stack.enter_async_context(watch(mesh, air, datagrams=datagrams))
        async with watch(mesh, air, datagrams=datagrams) as victim:
            await acquaint(air, one, other, victim)
            await trio.sleep(2.0)  # longer than a machine may be silent
            assert [each.dead for each in air.watches] == [[], [], []]
        air.watches = [one, other]
        await until(lambda: one.dead == other.dead == [victim.id])


@pytest.mark.parametrize("datagrams", [True, False])
async def test_whose_connections_are_lost_lives_as_long_as_it_is_heard(mesh: Mesh, datagrams: bool) -> None:
    air = Air()
    async with AsyncExitStack() as stack:
        one, other, cut = [await stack.enter_async_context(watch(mesh, air, datagrams=datagrams)) for _ in range(3)]
        await acquaint(air, one, other, cut)
        await until(lambda: all(each.beats.status()["datagrams"] == 2 * datagrams for each in air.watches))
        for watcher in (one, other):
            await cut.party.host.disconnect(watcher.party.host.peer_id, "no reason")  # and it is not to come back
        await until(lambda: one.heard() == other.heard() == 1)
        if datagrams:
            await trio.sleep(2.5)  # longer than a machine may be silent
            assert [each.contradicted for each in air.watches] == [[], [], []], "nobody was held dead"
        await until(lambda: cut.contradicted)


async def test_beats_come_as_datagrams_where_these_get_through(mesh: Mesh) -> None:
    air = Air()
    async with watch(mesh, air) as one, watch(mesh, air) as other:
        await acquaint(air, one, other)
        await until(lambda: one.beats.status()["datagrams"] == 1)


async def test_a_beat_in_the_moment_in_which_a_machine_is_watched_no_more(mesh: Mesh) -> None:
    air = Air()
    async with watch(mesh, air) as one, watch(mesh, air) as other:
        await acquaint(air, one, other)
        (watcher,) = other.beats._drum._watchers.values()
        beat = watcher.stream.datagram()
        one.beats._ears.unwatch(other.id)
        one.beats._ears._datagram(beat)
        assert one.heard() == 0
        one.beats._ears.watch(other.id)
        await until(lambda: one.heard() == 1)


async def test_one_voice_is_contradicted(mesh: Mesh) -> None:
    air = Air()
    async with watch(mesh, air) as one, watch(mesh, air) as other, watch(mesh, air) as liar:
        await acquaint(air, one, other, liar)
        lie = DeathNotice((Death(one.id, 1, 0, "I say so"),))
        await liar.notice(lie)
        await until(lambda: one.contradicted == [1])
        assert other.dead == liar.dead == []


async def test_what_a_watcher_may_not_say_is_counted_and_beats_go_on(mesh: Mesh) -> None:
    air = Air()
    async with watch(mesh, air) as one, party(mesh) as stranger:
        await stranger.meet(one.party)
        async with stranger.host.open(one.party.host.peer_id, BEATS) as frames:
            stream = await begin(frames, RefusalCounters())
            await stream.send(WhenHeard(7, MachineId("nobody")))
            assert await stream.receive() == LastHeard(7, None)
            await stream.send(Beat())
            await stream.send(Watching(0, on_stream=True))
            assert [await stream.receive() for _ in range(2)] == [Beat(), Beat()]
            assert one.party.refused(Refusal.FRAME_NOT_EXPECTED) == 1


async def test_a_datagram_of_no_stream_is_counted_and_dropped(mesh: Mesh) -> None:
    async with watch(mesh, Air()) as one:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(bytes(ID_SIZE + 40), ("127.0.0.1", one.party.host.datagram_port))
            await until(lambda: one.party.refused(Refusal.DATAGRAM_UNKNOWN) == 1)
        assert one.events == []


async def test_garbage_ends_the_stream(mesh: Mesh) -> None:
    async with watch(mesh, Air()) as one, party(mesh) as stranger:
        await stranger.meet(one.party)
        async with stranger.host.open(one.party.host.peer_id, BEATS) as frames:
            await begin(frames, RefusalCounters())
            await frames.write_frame(bytes(40))
            with pytest.raises(NetworkError):
                await frames.read_frame(100)
        assert one.party.refused(Refusal.FRAME_UNDECRYPTABLE) == 1


async def test_operators_and_a_fifth_stream_are_not_served(mesh: Mesh) -> None:
    async with watch(mesh, Air()) as one, party(mesh) as greedy, party(mesh, operator(mesh)) as person:
        for who, allowed in ((greedy, 4), (person, 0)):
            await who.meet(one.party)
            async with AsyncExitStack() as stack:
                for _ in range(allowed):
                    await begin(
                        await stack.enter_async_context(who.host.open(one.party.host.peer_id, BEATS)), RefusalCounters()
                    )
                with pytest.raises(NetworkError):
                    await begin(
                        await stack.enter_async_context(who.host.open(one.party.host.peer_id, BEATS)), RefusalCounters()
                    )
        assert one.party.refused(Refusal.STREAM_NOT_ALLOWED) == 2
