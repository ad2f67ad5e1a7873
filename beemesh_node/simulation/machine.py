"""A simulated machine: a decision core, what it has written to its disk, its pods, and the wires to the others.

It does for the core what the daemon does, without keys and bytes: records are declarations here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace

from beemesh_node.healing import effects as fx
from beemesh_node.healing import events as ev
from beemesh_node.healing.config import Config
from beemesh_node.healing.core import Core
from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.leases.voters import Voters, merged
from beemesh_node.membership.cadence import presence_period
from beemesh_node.membership.member import Member
from beemesh_node.membership.table import MemberTable
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    ClaimRef,
    ClaimReports,
    EventReport,
    Forecast,
    LeaseRelease,
    LeaseReply,
    LeaseState,
    Maintenance,
    MoveReply,
    MoveRequest,
    VoterAnswer,
)
from beemesh_node.protocol.voters import SlotMark
from beemesh_node.simulation.clock import Clock
from beemesh_node.simulation.disk import Disk, Unwritten
from beemesh_node.simulation.gossip import Gossip
from beemesh_node.simulation.runtime import FakeRuntime
from beemesh_node.simulation.world import World
from beemesh_node.workloads.pod import PodIdentity

WRITING = 0.02
"""Seconds between the decision to erase something and its end on the disk."""
REPORT_WITHIN = 3.0
"""Seconds in which a report has to be acknowledged."""
SHORTEST_GAP = 0.3
"""Seconds between two presences of a machine, however often something makes it speak."""


@dataclass(repr=False, eq=False)
class Machine:
    """One machine of a simulated mesh."""

    world: World
    member: Member
    peers: Mapping[MachineId, Machine]
    """Everyone, itself included; grows while the simulation runs."""
    gossip: Gossip
    config: Config = field(default_factory=Config)
    clock: Clock = field(default_factory=Clock)
    disk: Disk = field(default_factory=Disk)
    runtime: FakeRuntime = field(init=False)
    core: Core | None = None
    """None while the daemon is down."""
    members: MemberTable = field(init=False)
    """Whom the core knows."""
    events: list[EventReport] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    """How many of each kind of effect there were."""
    asked: Counter[str] = field(default_factory=Counter)
    """How many of each kind of question left this machine."""
    messages: int = 0
    """How many messages left this machine for one other, questions and answers; not what it told everybody."""
    watchers: list[Callable[[Machine, fx.Effect], None]] = field(default_factory=list)
    """Called with each effect before it is performed."""
    falls: list[Callable[[Machine, bool], None]] = field(default_factory=list)
    """Called when the daemon ends or stands still; the flag says whether its connections were closed by that."""
    keepers: list[Callable[[Machine, Uid], None]] = field(default_factory=list)
    """Called with each record that is written to the disk."""
    paused: bool = False
    """Its processes stand still, as after SIGSTOP; its pods run on, and what arrives waits."""
    lag: float = 0.0
    """Seconds by which it does at most later what is due, or arrives: other programs have its processor."""
    awake_since: float = 0.0
    """When its daemon last began or went on: world time."""
    _written: int = 0
    _stamps: dict[Uid, int] = field(default_factory=dict)
    _life: int = 0
    _tokens: int = 0
    _replies: dict[fx.Token, Callable[[fx.Said], None]] = field(default_factory=dict)
    _votes: dict[tuple[Uid, int, MachineId], tuple[SlotMark, ...]] = field(default_factory=dict)
    _wakeup: float | None = None
    _spoke: float = -math.inf
    _speaks_soon: bool = False
    _inbox: list[Callable[[], None]] = field(default_factory=list)
    _unwritten: Unwritten = field(default_factory=Unwritten)

    def __post_init__(self) -> None:
        self.runtime = FakeRuntime(self.world, self.tell)
        self.members = MemberTable(self.id)

    @property
    def life(self) -> int:
        """Grows with each start and end of the daemon."""
        return self._life

    @property
    def id(self) -> MachineId:
        """The machine's id."""
        return self.member.machine

    # ---- its life

    def boot(self, speaks: float = 0.0) -> None:
        """Start the daemon with what is on the disk and what still runs. It first `speaks` after so many seconds.

        On a full disk it does not start: it could not write down that it did.
        """
        if self.disk.full:
            return
        self._life += 1
        self.awake_since = self.world.now
        self._unwritten = Unwritten()
        self.disk.lives += 1
        self._wakeup, self.paused = None, False
        self._replies.clear()
        self._stamps.clear()
        self._inbox.clear()
        seed = f"{self.world.seed}/{self.id}/{self._life}".encode()
        self.members = self.gossip.table(self.id)
        self.core = Core(self.id, replace(self.config, seed=seed, life=self.disk.lives), self.members)
        self.set_wall_clock(self.clock.wall_offset)
        self.tell(ev.VotersHeld(tuple(self.disk.voters.values())))
        self.tell(self._local())
        self.tell(ev.MaintenanceSet(self.disk.maintenance, self.disk.grace))
        for declaration in list(self.disk.records.values()):
            self.tell(ev.DeclarationStored(declaration))
        for uid, sets in list(self.disk.voter_sets.items()):
            self.tell(ev.VoterSetsShown(uid, sets))
        pods = tuple(pod.status for pod in self.runtime.pods.values())
        self.tell(ev.Adopted(tuple(self.disk.claims.values()), pods))
        self.gossip.came(self)
        life = self._life
        self.world.after(speaks, lambda: self._alive(lambda: self._announce(life)))

    def stop_daemon(self) -> None:
        """Kill the daemon; pods run on. Its connections are closed at once."""
        self._end(closed=True)

    def _end(self, *, closed: bool) -> None:
        self._life += 1
        self.core, self.paused = None, False
        self._inbox.clear()
        self._fall(closed)

    def _fall(self, closed: bool) -> None:
        for told in self.falls:
            told(self, closed)

    def crash(self) -> None:
        """Lose power, and say nothing."""
        self._end(closed=False)
        self.runtime.crash()

    def pause(self) -> None:
        """Let the daemon stand still."""
        self.paused = self.core is not None
        self._fall(False)

    def resume(self) -> None:
        """Let it go on: with what has arrived meanwhile, and what was due."""
        self.paused, self.awake_since = False, self.world.now
        waiting, self._inbox = self._inbox, []
        for happen in waiting:
            self._alive(happen)
        self.gossip.resumed(self)

    def set_wall_clock(self, offset: float) -> None:
        """Have the wall clock show `offset` seconds more than the truth."""
        self.clock.wall_offset = offset
        monotonic = round(self.clock.monotonic(self.world.now) * 1000)
        self.tell(ev.TimeSet(self.clock.wall_ms(self.world.now) - monotonic))

    def maintain(self, mode: Maintenance, grace: float | None = None) -> None:
        """Do what an operator wants with the machine: cordon, drain, evict or none of it."""
        self.disk.maintenance, self.disk.grace = mode, grace
        self.member = replace(self.member, unschedulable=mode is not Maintenance.NONE)
        self.tell(self._local())
        self.tell(ev.MaintenanceSet(mode, grace))
        self.announce()

    def move(self, *claims: ClaimRef) -> None:
        """Have claims go to other machines, as an operator asks."""
        self.tell(ev.Asked(self.expect(lambda _: None), self.id, MoveRequest(claims)))

    def announce(self) -> None:
        """Tell everybody of this machine at once, as after a link has come up."""
        self._alive(self._speak)

    # ---- what it takes in

    def store(self, declaration: Declaration, *, fresh: bool = False) -> bool:
        """Take in a record, whoever brings it. Returns whether this one is held now, or a newer one."""
        known = self.disk.records.get(declaration.uid)
        if known is None or known.rank <= declaration.rank:
            if self.disk.full:
                if known is not None and declaration.deleted:
                    self.tell(ev.DeclarationStored(declaration, False, self._stamps.get(declaration.uid, 0)))
                return known == declaration
            self.disk.records[declaration.uid] = declaration
            self._written += 1
            self._stamps[declaration.uid] = self._written
            for told in self.keepers:
                told(self, declaration.uid)
            self.tell(ev.DeclarationStored(declaration, fresh, self._written))
        return True

    def tell(self, event: ev.Event) -> None:
        """Give the core an event and do what it wants; while the machine is paused, later."""
        if self.core is None:
            return
        if self.paused:
            self._inbox.append(lambda: self.tell(event))
            return
        effects = self.core.handle(event, self.clock.monotonic(self.world.now))
        unwritten = self.disk.write(effects, self._unwritten)
        for effect in effects:
            self._perform(effect, unwritten)
        self.gossip.looked(self)
        self._arm()

    def receive(self, happen: Callable[[], None]) -> None:
        """A message has arrived: it is lost if no daemon runs, and waits while it is paused."""
        self._late(lambda: self._alive(happen))

    def _late(self, happen: Callable[[], None]) -> None:
        """Let something happen as late as this machine is slow."""
        if self.lag:
            self.world.after(self.world.random.uniform(0, self.lag), happen)
        else:
            happen()

    def _alive(self, happen: Callable[[], None]) -> None:
        if self.core is None:
            return
        if self.paused:
            self._inbox.append(happen)
        else:
            happen()

    # ---- effects

    def _perform(self, effect: fx.Effect, unwritten: Container[str]) -> None:
        self.sent[type(effect).__name__] += 1
        for watcher in self.watchers:
            watcher(self, effect)
        match effect:
            case fx.Ask(token, machine, question, timeout):
                self.asked[type(question).__name__] += 1
                self._ask(token, machine, timeout, lambda peer, own: ev.Asked(own, self.id, question))
            case fx.Assign(token, machine):
                self._assign(effect)
            case fx.Reply(_, LeaseReply() | fx.VoteCast()) if self._unwritten.voters:
                pass  # withheld
            case fx.Reply(token, answer):
                reply = self._replies.pop(token, None)
                if reply is not None:
                    reply(answer)
            case fx.Tell(machine, ClaimReports() as told):
                self._report(machine, told)
            case fx.Tell(machine, LeaseRelease() as release):
                self._send(machine, lambda peer: peer.tell(ev.LeaseReleased(self.id, release)))
            case fx.OfferRelease(machine, claim, better, shown):
                record = self.disk.records[shown]
                self._send(
                    machine, lambda peer: peer.released(self.id, record, ev.ReleaseOffered(self.id, claim, better))
                )
            case fx.StartPod(identity) if identity.pod_uid in unwritten:
                self._not_started(identity, retryable=False)
            case fx.StartPod(identity, float()) if self._unwritten.voters:
                self._not_started(identity, retryable=True)
            case fx.StartPod(identity, deadline):
                self.runtime.start(identity, math.inf if deadline is None else self.clock.world(deadline))
            case fx.SetGuard(identity, deadline):
                self.runtime.guard(identity, self.clock.world(deadline))
            case fx.StopPod(identity, _):
                self.runtime.stop(identity)
            case fx.ShowVoterSets(uid, machine):
                sets = self.disk.voter_sets.get(uid, ())
                self._send(machine, lambda peer: peer.shown(uid, sets))
            case fx.FormVoterSet(uid, number, members, signers, own):
                self._votes[uid, number, self.id] = own
                marks = merged(mark for signer in signers for mark in self._votes.get((uid, number, signer), ()))
                sets = (*self.disk.voter_sets.get(uid, ()), Voters(number, frozenset(members), marks))
                self.shown(uid, sets)
            case fx.Note(event):
                self.events.append(event)
            case fx.PushRecord(uid, machine):
                record = self.disk.records[uid]
                self._send(machine, lambda peer: peer.pushed(self.id, record))
            case fx.EraseRecord(uid, stamp):
                life = self._life
                self.world.after(WRITING, lambda: self._alive(lambda: self._erase(uid, stamp, life)))
            case fx.PersistClaim() | fx.ForgetClaim() | fx.PersistVoter():
                pass  # written before

    def _report(self, machine: MachineId, told: ClaimReports) -> None:
        """Tell another machine of claims; without an answer the core hears that they may not have arrived."""
        life, heard = self._life, [False]

        def acknowledged() -> None:
            heard[0] = True

        def arrive(peer: Machine) -> None:
            peer.tell(ev.ClaimsReported(self.id, told.reports, told.events))
            peer.messages += 1
            peer.world.send(peer.id, self.id, acknowledged)

        def late() -> None:
            if life == self._life and not heard[0]:
                self.tell(ev.Untold(machine, told))

        self._send(machine, arrive)
        self.world.after(REPORT_WITHIN, late)

    def _not_started(self, identity: PodIdentity, *, retryable: bool) -> None:
        failed = ev.PodStartFailed(identity.pod_uid, "StateNotWritten", "the disk is full", retryable)
        self.world.after(0, lambda: self.tell(failed))

    def shown(self, uid: Uid, sets: tuple[Voters, ...]) -> None:
        """Keep voter sets that are in force, and follow them. On a full disk they are not heard."""
        if self.disk.full:
            return
        known = self.disk.voter_sets.get(uid, ())
        self.disk.voter_sets[uid] = (*known, *(each for each in sets if each.number > len(known)))
        self.tell(ev.VoterSetsShown(uid, sets))

    def released(self, sender: MachineId, record: Declaration, event: ev.ReleaseOffered) -> None:
        """A guardian says that a claim is over. Without room for the record that says so, it is not heard."""
        if self.store(record):
            self.tell(event)

    def _erase(self, uid: Uid, stamp: int, life: int) -> None:
        held = life == self._life and self._stamps.get(uid, 0) == stamp and uid in self.disk.records
        if held and not self.disk.full:
            del self.disk.records[uid]
            self.tell(ev.RecordErased(uid, stamp))

    def pushed(self, sender: MachineId, record: Declaration) -> None:
        """Another holder brings a record: keep it, and say so."""
        self.store(record)
        held = self.disk.records.get(record.uid)
        if held is None or held.rank < record.rank:
            return  # no room for it, and no answer but that
        answer = ev.RecordHeld(record.uid, self.id, held.sequence, held.deleted, held.digest)
        self._send(sender, lambda peer: peer.tell(answer))

    def _assign(self, effect: fx.Assign) -> None:
        self.asked["Assignment"] += 1
        record = self.disk.records.get(effect.uid)
        if record is None or record.sequence != effect.sequence:
            self.world.after(0, lambda: self.tell(ev.Unanswered(effect.token, "superseded")))
            return
        known = record

        def event(peer: Machine, own: fx.Token) -> ev.Event | None:
            if not peer.store(known):
                return None
            return ev.AssignmentOffered(own, self.id, known, effect.slots, effect.preempt)

        self._ask(effect.token, effect.machine, effect.timeout, event)

    def _ask(
        self, token: fx.Token, machine: MachineId, timeout: float, event: Callable[[Machine, fx.Token], ev.Event | None]
    ) -> None:
        """Bring a question over and its answer back: exactly one of answer and timeout reaches the core.

        `event` is what the other machine makes of the question; None: it has no room for it and says so.
        """
        life, open_ = self._life, [True]

        def conclude(outcome: ev.Answered | ev.Unanswered) -> None:
            if open_[0] and life == self._life:
                open_[0] = False
                self.tell(outcome)

        def arrive(peer: Machine) -> None:
            def reply(said: fx.Said) -> None:
                assert not isinstance(said, MoveReply | LeaseState | Forecast), "only operators ask for these"  # noqa: S101
                answer = self._signed(said, peer.id) if isinstance(said, fx.VoteCast) else said
                peer.messages += 1
                peer.world.send(peer.id, self.id, lambda: self.receive(lambda: conclude(ev.Answered(token, answer))))

            asked = event(peer, peer.expect(reply))
            if asked is not None:
                peer.tell(asked)
            else:
                refused = ev.Unanswered(token, "the disk is full")
                peer.world.send(peer.id, self.id, lambda: self.receive(lambda: conclude(refused)))

        self._send(machine, arrive)
        late = ev.Unanswered(token, "no answer in time")
        self.world.after(timeout, lambda: self._alive(lambda: conclude(late)))

    def _signed(self, cast: fx.VoteCast, signer: MachineId) -> VoterAnswer:
        """A vote as it travels; what it says of slots is remembered here, where it is counted."""
        self._votes[cast.uid, cast.number + 1, signer] = cast.marks
        return VoterAnswer(cast.refusal, cast.number, cast.signed)

    def expect(self, reply: Callable[[fx.Said], None]) -> fx.Token:
        """Give a question from outside its token."""
        self._tokens += 1
        token = fx.Token(self._tokens)
        self._replies[token] = reply
        return token

    def _send(self, machine: MachineId, deliver: Callable[[Machine], None]) -> None:
        self.messages += 1
        peer = self.peers.get(machine)
        if peer is not None:
            self.world.send(self.id, machine, lambda: peer.receive(lambda: deliver(peer)))

    # ---- what it does by itself

    def _local(self) -> ev.LocalChanged:
        return ev.LocalChanged(self.member, guards=True)

    def _presence(self) -> Member:
        if self.core is None:
            return self.member
        held = self.core.reserved()
        return replace(
            self.member,
            cpu_reserved=held.cpu,
            memory_reserved=held.memory,
            host_ports=held.host_ports,
            pods=held.pods,
            period=presence_period(len(self.members)),
        )

    def _speak(self) -> None:
        now, life = self.world.now, self._life
        if now >= self._spoke + SHORTEST_GAP:
            self._spoke = now
            self.gossip.tell(self, self._presence())
        elif not self._speaks_soon:
            self._speaks_soon = True

            def speak() -> None:
                self._speaks_soon = False
                if life == self._life:
                    self._alive(self._speak)

            self.world.at(self._spoke + SHORTEST_GAP, speak)

    def _announce(self, life: int) -> None:
        if life != self._life or self.core is None:
            return
        self._speak()
        period = presence_period(len(self.members))
        self.world.after(period / self.clock.rate, lambda: self._alive(lambda: self._announce(life)))

    def _arm(self) -> None:
        due = self.core.next_wakeup() if self.core is not None else None
        if due is None or (self._wakeup is not None and self._wakeup <= due):
            return
        self._wakeup = due
        life = self._life

        def wake() -> None:
            if life == self._life and self._wakeup == due:
                self._late(lambda: self._alive(lambda: self._wake(life)))

        # A hair later than due: turning the time back and forth between two clocks must not make it earlier.
        self.world.at(self.clock.world(due) + 1e-9, wake)

    def _wake(self, life: int) -> None:
        if life == self._life:
            self._wakeup = None
            self.tell(ev.Wakeup())
