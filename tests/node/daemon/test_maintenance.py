"""The orders of operators: who may give them, and that they hold whatever happens to the daemon."""

import secrets
from dataclasses import dataclass, field

import pytest
import trio

from beemesh_node.daemon.decisions import Decisions
from beemesh_node.daemon.maintenance import MAX_GRACE, MaintenanceDesk, Order
from beemesh_node.daemon.store import FACTS, Store, StoreError
from beemesh_node.healing.core import Core
from beemesh_node.healing.events import Adopted, LocalChanged
from beemesh_node.messaging.errors import RemoteFailure
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import (
    ClaimRef,
    Maintenance,
    MaintenanceReply,
    MaintenanceRequest,
    MoveReply,
    MoveRequest,
)
from tests.node.healing.support import member


@dataclass
class Certificate:
    """An operator with these verbs everywhere."""

    verbs: tuple[str, ...]
    name: str = "ann"
    namespaces: tuple[str | None, ...] = (None, "default")

    def allows(self, verb, namespace):
        return verb in self.verbs and namespace in self.namespaces


@dataclass
class Asker:
    certificate: Certificate


@dataclass
class Question:
    payload: object
    sender: Asker
    machine: str = "operator"


@dataclass
class Desk:
    """A machine's desk, its core, and what it told of itself."""

    store: Store
    told: list = field(default_factory=list)

    def __post_init__(self):
        self.core = Core(MachineId("me"))
        self.core.handle(LocalChanged(member("me")), 0)
        self.core.handle(Adopted(), 0)
        self.decisions = Decisions(self.core)
        self.desk = MaintenanceDesk(self.store, trio.CapacityLimiter(1), self.decisions, self.changed)

    async def changed(self, cordoned):
        self.told.append(cordoned)

    async def ask(self, payload, *verbs, **fields):
        question = Question(payload, Asker(Certificate(verbs, **fields)))
        return await self.desk.handlers[type(payload)](question)

    async def run(self, work):
        async def perform(effects):
            for effect in effects:
                if hasattr(effect, "token"):
                    self.decisions.reply(effect)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.decisions.run, perform)
            await self.desk.start()
            result = await work()
            with trio.fail_after(5):
                while self.core.maintenance is not self.expected:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
            return result

    expected = Maintenance.NONE


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "state.db", secrets.token_bytes(32))
    yield store
    store.close()


def run(store, *requests, verbs=("cordon", "drain"), expected=Maintenance.NONE, **fields):
    desk = Desk(store)
    desk.expected = expected

    async def work():
        return [await desk.ask(request, *verbs, **fields) for request in requests]

    return desk, trio.run(desk.run, work)


def refused(store, request, *verbs, **fields):
    with pytest.RaisesGroup(pytest.RaisesExc(RemoteFailure), flatten_subgroups=True) as raised:
        run(store, request, verbs=verbs, **fields)
    return raised.value.exceptions[0]


def test_an_order_is_written_down_acted_on_and_holds_for_the_next_daemon(store):
    request = MaintenanceRequest(Maintenance.DRAIN, 9)
    desk, replies = run(store, request, expected=Maintenance.DRAIN)
    assert replies == [MaintenanceReply(Maintenance.DRAIN, 0)]
    assert desk.told == [False, True]
    after, _ = run(store, expected=Maintenance.DRAIN)
    assert after.told == [True]
    lifted, _ = run(store, MaintenanceRequest(Maintenance.NONE))
    assert lifted.told == [True, False]
    assert run(store)[0].told == [False]


def test_what_cannot_be_read_any_more_leaves_the_machine_cordoned(store):
    store.write({(FACTS, "maintenance"): b"\xff not ours"})
    desk, _ = run(store, expected=Maintenance.CORDON)
    assert desk.told == [True]


@pytest.mark.parametrize(
    ("mode", "verbs", "lacking"),
    [
        (Maintenance.CORDON, (), "cordon"),
        (Maintenance.NONE, ("drain",), "cordon"),
        (Maintenance.DRAIN, ("cordon",), "drain"),
        (Maintenance.EVICT, ("cordon",), "drain"),
    ],
)
def test_who_lacks_a_verb_is_refused_and_nothing_changes(store, mode, verbs, lacking):
    error = refused(store, MaintenanceRequest(mode), *verbs)
    assert error.code == "Forbidden"
    assert f"ann may not {lacking} machines" in str(error)
    assert store.get(FACTS, "maintenance") is None


def test_a_machine_belongs_to_no_namespace(store):
    error = refused(store, MaintenanceRequest(Maintenance.CORDON), "cordon", namespaces=("default",))
    assert "every namespace" in str(error)


def test_what_cannot_be_written_is_not_done(store, monkeypatch):
    def full(*_):
        raise StoreError("disk is full")

    monkeypatch.setattr(store, "write", full)
    error = refused(store, MaintenanceRequest(Maintenance.CORDON), "cordon")
    assert (error.code, str(error)) == ("Unavailable", "disk is full")


@pytest.mark.parametrize(("seconds", "grace"), [(2**31 - 1, MAX_GRACE), (0, 0), (7, 7), (-1, None), (-(2**31), None)])
def test_a_grace_is_bounded(seconds, grace):
    assert Order(Maintenance.DRAIN, seconds).event.grace == grace


def test_claims_that_are_not_here_are_not_moved(store):
    claim = ClaimRef("u", 1, 0, 0, "me", "r")
    _, replies = run(store, MoveRequest((claim,)), verbs=())
    assert replies == [MoveReply(())]
