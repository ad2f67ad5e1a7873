"""Orders about labels: who may give them, that they are written down before they are told, and what a restart finds."""

import secrets
from dataclasses import dataclass, field, replace

import pytest
import trio

from beemesh_node.daemon.labelling import LabelDesk
from beemesh_node.daemon.store import FACTS, Store, StoreError
from beemesh_node.membership.labels import Sources
from beemesh_node.messaging.errors import RemoteFailure
from beemesh_node.protocol.messages import LabelReply, LabelRequest

SOURCES = Sources("oak", "amd64", "linux", {"disk": "hdd"}, {"class": "cloud"})
KNOWN = {"kubernetes.io/hostname": "oak", "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "class": "cloud"}


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


@dataclass
class Machine:
    """A machine's desk, what it told of itself, and what stood on disk by then."""

    store: Store
    sources: Sources = SOURCES
    told: list = field(default_factory=list)

    def __post_init__(self):
        self.desk = LabelDesk(self.store, trio.CapacityLimiter(1), lambda: self.sources, self.changed)
        trio.run(self.desk.start)

    async def changed(self, labels):
        self.told.append((dict(labels), self.store.get(FACTS, "labels") is not None))

    def ask(self, request, *verbs, **fields):
        question = Question(request, Asker(Certificate(verbs or ("label",), **fields)))
        return trio.run(self.desk.handlers[LabelRequest], question)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "state.db", secrets.token_bytes(32))
    yield store
    store.close()


def test_an_order_is_written_down_told_and_holds_for_the_next_daemon(store):
    machine = Machine(store)
    reply = machine.ask(LabelRequest({"gpu": "yes"}, ("disk",)))
    assert reply == LabelReply({**KNOWN, "disk": "hdd"}, {**KNOWN, "gpu": "yes"})
    assert machine.told == [({"disk": "hdd"}, False), ({"gpu": "yes"}, True)]
    assert Machine(store).told == [({"gpu": "yes"}, True)]
    file = replace(SOURCES, configured={"disk": "nvme", "rack": "r1"})
    assert Machine(store, file).told == [({"rack": "r1", "gpu": "yes"}, True)]


def test_what_is_so_already_is_not_told_again(store):
    machine = Machine(store)
    machine.ask(LabelRequest({"gpu": "yes"}))
    again = machine.ask(LabelRequest({"gpu": "yes", "disk": "hdd", "class": "cloud"}, ("nobody-has-this",)))
    assert again.before == again.after
    assert len(machine.told) == 2


def test_a_dry_run_only_says_what_would_be(store):
    machine = Machine(store)
    reply = machine.ask(LabelRequest({"gpu": "yes"}, dry_run=True))
    assert reply.after == {**reply.before, "gpu": "yes"}
    assert (len(machine.told), store.get(FACTS, "labels")) == (1, None)
    with pytest.raises(RemoteFailure, match="cannot be changed"):
        machine.ask(LabelRequest({"class": "iot"}, overwrite=True, dry_run=True))


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (LabelRequest({"disk": "ssd"}), "Conflict"),
        (LabelRequest({"gpu": "yes", "class": "iot"}, overwrite=True), "Invalid"),
        (LabelRequest({"gpu": "yes", "a b": "c"}), "Invalid"),
        (LabelRequest({"gpu": "yes"}, ("kubernetes.io/arch",)), "Invalid"),
    ],
)
def test_nothing_is_changed_unless_all_of_it_can_be(store, request_, code):
    machine = Machine(store)
    with pytest.raises(RemoteFailure) as refused:
        machine.ask(request_)
    assert refused.value.code == code
    assert (machine.told, store.get(FACTS, "labels")) == ([({"disk": "hdd"}, False)], None)


def test_who_lacks_the_verb_for_machines_is_refused(store):
    machine = Machine(store)
    for verbs, fields in ((("cordon", "drain"), {}), (("label",), {"namespaces": ("default",)})):
        with pytest.raises(RemoteFailure, match="ann may not label machines") as refused:
            machine.ask(LabelRequest({"gpu": "yes"}), *verbs, **fields)
        assert refused.value.code == "Forbidden"
    assert store.get(FACTS, "labels") is None


def test_what_cannot_be_written_is_not_told(store, monkeypatch):
    def full(*_):
        raise StoreError("disk is full")

    machine = Machine(store)
    monkeypatch.setattr(store, "write", full)
    for _ in range(2):
        with pytest.raises(RemoteFailure, match="disk is full") as refused:
            machine.ask(LabelRequest({"gpu": "yes"}))
        assert refused.value.code == "Unavailable"
    assert len(machine.told) == 1


def test_what_cannot_be_read_any_more_leaves_the_file_alone(store):
    store.write({(FACTS, "labels"): b"\xff not ours"})
    machine = Machine(store)
    assert machine.told == [({"disk": "hdd"}, True)]
    assert machine.ask(LabelRequest({"gpu": "yes"})).after == {**KNOWN, "disk": "hdd", "gpu": "yes"}
    assert Machine(store).told == [({"disk": "hdd", "gpu": "yes"}, True)]


def test_two_operators_at_once_lose_nothing(store):
    machine = Machine(store)
    asker = Asker(Certificate(("label",)))

    async def both():
        async with trio.open_nursery() as nursery:
            for key in ("one", "two"):
                order = Question(LabelRequest({key: "x"}), asker)
                nursery.start_soon(machine.desk.handlers[LabelRequest], order)

    trio.run(both)
    assert machine.told[-1][0] == {"disk": "hdd", "one": "x", "two": "x"}
    assert Machine(store).told == [machine.told[-1]]
