"""A simulated machine: a decision core, what it has written to its disk, its pods, and the wires to the others.

It does for the core what the daemon does, without keys and bytes: records are declarations here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from beemesh_node.healing import effects as fx
from beemesh_node.healing import events as ev
from beemesh_node.healing.config import Config
from beemesh_node.healing.core import Core
from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.outbox import Answer
from beemesh_node.membership.cadence import presence_period
from beemesh_node.membership.member import Member
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import EventReport
from beemesh_node.simulation.runtime import FakeRuntime
from beemesh_node.simulation.world import World

WRITING = 0.02
"""Seconds between the decision to erase something and its end on the disk."""


@dataclass
class Disk:
    """What survives everything but the loss of the disk."""

    records: dict[Uid, Declaration] = field(default_factory=dict)
    claims: dict[str, fx.HeldClaim] = field(default_factory=dict)


@dataclass(repr=False, eq=False)
class Machine:
    """One machine of a simulated mesh."""

    world: World
    member: Member
    peers: Mapping[MachineId, Machine]
    """Everyone, itself included; grows while the simulation runs."""
    config: Config = field(default_factory=Config)
    disk: Disk = field(default_factory=Disk)
    runtime: FakeRuntime = field(init=False)
    core: Core | None = None
    """None while the daemon is down."""
    events: list[EventReport] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    """How many of each kind of message left this machine."""
    _written: int = 0
    _stamps: dict[Uid, int] = field(default_factory=dict)
    _life: int = 0
    _tokens: int = 0
    _replies: dict[fx.Token, Callable[[Answer], None]] = field(default_factory=dict)
    _wakeup: float | None = None

    def __post_init__(self) -> None:
        self.runtime = FakeRuntime(self.world, self.tell)

    @property
    def id(self) -> MachineId:
        """The machine's id."""
        return self.member.machine

    # ---- its life

    def boot(self) -> None:
        """Start the daemon with what is on the disk and what still runs."""
        self._life += 1
        self._wakeup = None
        self._replies.clear()
        self._stamps.clear()
        seed = f"{self.world.seed}/{self.id}/{self._life}".encode()
        started = round(self.world.now * 1000) * 1000 + self._life
        self.core = Core(self.id, replace(self.config, seed=seed, started_at_ms=started))
        self.tell(ev.TimeSet(0))
        self.tell(ev.LocalChanged(self.member))
        for declaration in list(self.disk.records.values()):
            self.tell(ev.DeclarationStored(declaration))
        pods = tuple(pod.status for pod in self.runtime.pods.values())
        self.tell(ev.Adopted(tuple(self.disk.claims.values()), pods))
        self._announce(self._life)

    def stop_daemon(self) -> None:
        """Kill the daemon; pods run on."""
        self._life += 1
        self.core = None

    def crash(self) -> None:
        """Lose power."""
        self.stop_daemon()
        self.runtime.crash()

    def store(self, declaration: Declaration, *, fresh: bool = False) -> None:
        """Take in a record, whoever brings it."""
        known = self.disk.records.get(declaration.uid)
        if known is None or known.rank <= declaration.rank:
            self.disk.records[declaration.uid] = declaration
            self._written += 1
            self._stamps[declaration.uid] = self._written
            self.tell(ev.DeclarationStored(declaration, fresh, self._written))

    def tell(self, event: ev.Event) -> None:
        """Give the core an event and do what it wants."""
        if self.core is None:
            return
        for effect in self.core.handle(event, self.world.now):
            self._perform(effect)
        self._arm()

    # ---- effects

    def _perform(self, effect: fx.Effect) -> None:
        self.sent[type(effect).__name__] = self.sent.get(type(effect).__name__, 0) + 1
        match effect:
            case fx.Ask(token, machine, question, timeout):
                self._ask(token, machine, timeout, lambda peer, own: ev.Asked(own, self.id, question))
            case fx.Assign(token, machine):
                self._assign(effect)
            case fx.Reply(token, answer):
                reply = self._replies.pop(token, None)
                if reply is not None:
                    reply(answer)
            case fx.Tell(machine, payload):
                self._send(machine, lambda peer: peer.tell(ev.ClaimsReported(self.id, payload.reports)))
            case fx.OfferRelease(machine, claim, better, shown):
                record = self.disk.records[shown]
                self._send(
                    machine, lambda peer: peer.released(self.id, record, ev.ReleaseOffered(self.id, claim, better))
                )
            case fx.StartPod(identity):
                self.runtime.start(identity)
            case fx.StopPod(identity):
                self.runtime.stop(identity)
            case fx.PersistClaim(held):
                self.disk.claims[held.identity.pod_uid] = held
            case fx.ForgetClaim(pod_uid):
                self.disk.claims.pop(pod_uid, None)
            case fx.Note(event):
                self.events.append(event)
            case fx.PushRecord(uid, machine):
                record = self.disk.records[uid]
                self._send(machine, lambda peer: peer.pushed(self.id, record))
            case fx.EraseRecord(uid, stamp):
                life = self._life
                self.world.after(WRITING, lambda: self._erase(uid, stamp) if life == self._life else None)

    def released(self, sender: MachineId, record: Declaration, event: ev.ReleaseOffered) -> None:
        """A guardian says that a claim is over."""
        self.store(record)
        self.tell(event)

    def _erase(self, uid: Uid, stamp: int) -> None:
        if self._stamps.get(uid, 0) == stamp and uid in self.disk.records:
            del self.disk.records[uid]
            self.tell(ev.RecordErased(uid, stamp))

    def pushed(self, sender: MachineId, record: Declaration) -> None:
        """Another holder brings a record: keep it, and say so."""
        self.store(record)
        held = self.disk.records[record.uid]
        answer = ev.RecordHeld(record.uid, self.id, held.sequence, held.deleted, held.digest)
        self._send(sender, lambda peer: peer.tell(answer))

    def _assign(self, effect: fx.Assign) -> None:
        record = self.disk.records.get(effect.uid)
        if record is None or record.sequence != effect.sequence:
            self.world.after(0, lambda: self.tell(ev.Unanswered(effect.token, "superseded")))
            return
        known = record

        def event(peer: Machine, own: fx.Token) -> ev.Event:
            peer.store(known)
            return ev.AssignmentOffered(own, self.id, known, effect.slots)

        self._ask(effect.token, effect.machine, effect.timeout, event)

    def _ask(
        self, token: fx.Token, machine: MachineId, timeout: float, event: Callable[[Machine, fx.Token], ev.Event]
    ) -> None:
        """Bring a question over and its answer back: exactly one of answer and timeout reaches the core."""
        life, open_ = self._life, [True]

        def conclude(outcome: ev.Answered | ev.Unanswered) -> None:
            if open_[0] and life == self._life:
                open_[0] = False
                self.tell(outcome)

        def arrive(peer: Machine) -> None:
            def reply(answer: Answer) -> None:
                peer.world.send(peer.id, self.id, lambda: conclude(ev.Answered(token, answer)))

            peer.tell(event(peer, peer.expect(reply)))

        self._send(machine, arrive)
        self.world.after(timeout, lambda: conclude(ev.Unanswered(token, "no answer in time")))

    def expect(self, reply: Callable[[Answer], None]) -> fx.Token:
        """Give a question from outside its token."""
        self._tokens += 1
        token = fx.Token(self._tokens)
        self._replies[token] = reply
        return token

    def _send(self, machine: MachineId, deliver: Callable[[Machine], None]) -> None:
        peer = self.peers.get(machine)
        if peer is not None:
            self.world.send(self.id, machine, lambda: deliver(peer) if peer.core is not None else None)

    def _announce(self, life: int) -> None:
        if life != self._life or self.core is None:
            return
        period = presence_period(len(self.core.members()))
        held = self.core.reserved()
        said = replace(
            self.member,
            cpu_reserved=held.cpu,
            memory_reserved=held.memory,
            host_ports=held.host_ports,
            pods=held.pods,
            period=period,
        )
        for machine in list(self.peers):
            if machine != self.id:
                self._send(machine, lambda peer: peer.tell(ev.MemberSeen(said)))
        self.world.after(period, lambda: self._announce(life))

    def _arm(self) -> None:
        due = self.core.next_wakeup() if self.core is not None else None
        if due is None or (self._wakeup is not None and self._wakeup <= due):
            return
        self._wakeup = due
        life = self._life

        def wake() -> None:
            if life == self._life:
                self._wakeup = None
                self.tell(ev.Wakeup())

        self.world.at(due, wake)
