"""The decision core of one machine: events in, effects out.

It owns who is a member, what this machine guards and what it runs. It has no socket, clock, file, thread or randomness
of its own: the same events at the same times give the same effects, byte for byte, on every run.

    core = Core(me, config)
    effects = core.handle(event, now)      # for every event, in order
    core.next_wakeup()                     # send Wakeup then, at the latest

`now` is float seconds of a monotonic clock and never falls. No event raises, whatever a peer put into it.
"""

from __future__ import annotations

from beemesh_node.healing import events as ev
from beemesh_node.healing.claims import ClaimTable
from beemesh_node.healing.config import Config
from beemesh_node.healing.context import Context, restart_of
from beemesh_node.healing.declaration import Declaration, NamePath
from beemesh_node.healing.effects import Ask, Assign, Effect, OfferRelease, Reply
from beemesh_node.healing.erasure import Erasure
from beemesh_node.healing.forecast import Forecasts
from beemesh_node.healing.guardian import Guardian
from beemesh_node.healing.handover import Handover
from beemesh_node.healing.history import MAX_OF_ONE, History
from beemesh_node.healing.intake import Intake
from beemesh_node.healing.leases.office import Office
from beemesh_node.healing.moves import Moves
from beemesh_node.healing.notes import Notes
from beemesh_node.healing.outbox import Outbox, Then
from beemesh_node.healing.overview import Overview, Reserved, overview
from beemesh_node.healing.recovery import Recovery
from beemesh_node.healing.releases import Releases
from beemesh_node.healing.reporter import Reporter
from beemesh_node.healing.runner import Runner
from beemesh_node.healing.standing import Standing, standing
from beemesh_node.healing.tallies import Tallies
from beemesh_node.membership.member import Member
from beemesh_node.membership.table import Change, MemberTable
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    Bid,
    ClaimQuery,
    ClaimReply,
    ClaimReport,
    ClaimsQuery,
    EventReport,
    KeepQuery,
    KeepReply,
    LeaseQuery,
    LeaseRequest,
    Maintenance,
    MoveReply,
    MoveRequest,
    Task,
    VoterProposal,
)


class Core:
    """Decides for machine `me`."""

    def __init__(self, me: MachineId, config: Config | None = None, members: MemberTable | None = None) -> None:
        """Begin with a table of `members`, where that is not to be an empty one of its own."""
        chosen = config if config is not None else Config()
        outbox = Outbox(me, chosen)
        self._notes = Notes(outbox)
        table = members if members is not None else MemberTable(me, chosen.least_lifetime)
        self._context = Context(me, chosen, table, outbox, self._notes, ClaimTable(chosen.max_claims))
        self._history = History(self._context)
        self._guardian = Guardian(self._context, self._history)
        self._runner = Runner(self._context)
        self._runner.reporter = Reporter(self._context, self._runner.report_of, self._guardian.reported)
        self._notes.share = self._runner.reporter.happened
        self._leases = Office(self._context, self._runner.end, self._runner.changed, self._runner.tell)
        self._runner.keeper = self._leases.keeper
        self._handover = Handover(self._context)
        self._erasure = Erasure(self._context, self._concerned, self._handover.lost)
        self._releases = Releases(self._context, self._runner)
        self._recovery = Recovery(self._context, self._runner, self._releases)
        self._intake = Intake(self._context, self._runner)
        self._moves = Moves(self._context, self._runner, self._intake)
        self._forecasts = Forecasts(self._context)
        self._started = False
        self._version = 0

    def handle(self, event: ev.Event, now: float) -> list[Effect]:
        """Take in one event and return what is to be done."""
        if not self._started:
            self._started = True
            self._guardian.started(now)
            self._report_all(now)
        self._dispatch(event, now)
        self._context.outbox.timers.fire(now)
        self._settle(now)
        return self._context.outbox.take()

    def next_wakeup(self) -> float | None:
        """Return when something is due; None if nothing is."""
        return self._context.outbox.timers.next()

    # ---- what others may know

    @property
    def adopted(self) -> bool:
        """Whether this machine knows what runs on it; until then it cannot say what it holds."""
        return self._runner.adopted

    def leases_last(self, now: float) -> bool:
        """Whether the lease of every pod here outlasts a restart of the daemon, after `Restarting`."""
        return self._leases.keeper.last(now)

    def members(self) -> tuple[Member, ...]:
        """Return who is here, by name."""
        return tuple(sorted(self._context.members, key=lambda member: (member.name, member.machine)))

    def workloads(self) -> tuple[Overview, ...]:
        """Return every declaration that is stored here and not deleted, as this machine sees it."""
        live = (d for d in self._context.declarations.values() if not d.deleted)
        return tuple(overview(self._context, self._guardian, d) for d in sorted(live, key=lambda d: (d.path, d.uid)))

    def workload(self, uid: Uid) -> Overview | None:
        """Return one declaration, also a deleted one; None if it is not stored here."""
        declaration = self._context.declarations.get(uid)
        return overview(self._context, self._guardian, declaration) if declaration is not None else None

    def placement_message(self, uid: Uid) -> str:
        """Say why a declaration is not as declared; empty if it is, or not known here."""
        found = self.workload(uid)
        return found.message if found is not None else ""

    def claims(self, uid: Uid) -> tuple[ClaimReport, ...]:
        """Return all claims of a declaration that this machine knows of, its own at first hand."""
        own = tuple(report for report in self._runner.reports(uid) if not report.gone)
        others = (r for r in self._context.claims.reports(uid) if r.claim.machine != self._context.me)
        return tuple(sorted((*own, *others), key=lambda r: (r.claim.slot, r.claim.attempt, r.claim.machine)))

    def own_claims(self) -> tuple[ClaimReport, ...]:
        """Return the claims of this machine."""
        return tuple(report for report in self._runner.reports() if not report.gone)

    def guardians(self, path: NamePath) -> tuple[MachineId, ...]:
        """Return who is responsible for the declarations of a name, the coordinator first."""
        return self._context.guardians(path)

    def reserved(self) -> Reserved:
        """Return what this machine's claims have reserved, for its presence."""
        ledger = self._runner.ledger
        return Reserved(ledger.cpu_used, ledger.memory_used, tuple(sorted(ledger.free.ports)), len(ledger))

    @property
    def maintenance(self) -> Maintenance:
        """What an operator has this machine do with its work."""
        return self._moves.mode

    @property
    def lacks_room(self) -> bool:
        """Whether a declaration that this machine guards waits for one that can take a replica."""
        return self._guardian.lacks_room

    def events(self) -> tuple[EventReport, ...]:
        """Return what this machine has told people lately, and keeps as a guardian of what others told."""
        return (*self._notes.all(), *self._history.all())

    @property
    def tallies(self) -> Tallies:
        """What was done so far."""
        return self._context.tallies

    def standing(self) -> Standing:
        """Count how things stand here."""
        return standing(self._context, self._guardian, self._runner)

    # ---- events

    def _dispatch(self, event: ev.Event, now: float) -> None:
        outbox = self._context.outbox
        match event:
            case ev.MemberSeen(member):
                self._seen(member, now)
            case ev.MemberGone(machine, why, restarting):
                self._gone(machine, why, restarting, now)
            case ev.LocalChanged(member):
                self._runner.local_changed(event)
                self._moves.rescue()
                self._moves.review(now)
                self._seen(member, now)
            case ev.DeclarationStored(declaration, fresh, stamp):
                self._stored(declaration, fresh, stamp, now)
            case ev.RecordHeld(uid, machine, sequence, deleted, digest):
                self._handover.acknowledged(uid, machine, (deleted, sequence, digest))
            case ev.RecordErased(uid, stamp):
                self._erased(uid, stamp)
            case ev.Asked(token, sender, KeepQuery() as query):
                outbox.emit(Reply(token, self._answer(query)))
                self._handover.lost(Uid(query.uid), sender, now)
            case ev.Asked(token, _, MoveRequest(claims)):
                outbox.emit(Reply(token, MoveReply(self._moves.ask(claims, now))))
            case ev.Asked(token, _, Task() | ClaimQuery() | ClaimsQuery() as payload):
                outbox.emit(Reply(token, self._answer(payload)))
            case ev.Asked(token, sender, LeaseRequest() | LeaseQuery() | VoterProposal() as payload):
                outbox.emit(Reply(token, self._leases.answer(sender, payload, now)))
            case ev.AssignmentOffered(token, _, declaration, slots, preempt):
                outbox.emit(Reply(token, self._intake.offered(declaration, slots, now, preempt=preempt)))
            case ev.ForecastAsked(token, declaration):
                self._forecasts.asked(token, declaration, now)
            case ev.ReleaseOffered(sender, claim, better):
                self._releases.offered(sender, claim, better, now)
            case ev.Answered(token, answer):
                outbox.answered(token, answer, now)
            case ev.Unanswered(token):
                outbox.answered(token, None, now)
            case ev.ClaimsReported(sender, reports, events):
                self._history.told(sender, events)
                self._guardian.reported((r for r in reports if r.claim.machine == sender), now)
            case ev.Untold(machine, told):
                self._runner.reporter.untold(machine, told, now)
            case ev.PodChanged(status):
                self._runner.pod_changed(status, now)
                self._moves.rescue()
            case ev.PodStartFailed(pod_uid, reason, message, retryable):
                self._runner.start_failed(pod_uid, reason, message, retryable, now)
                self._moves.rescue()
            case ev.PodEnded(pod_uid, reason, message):
                self._runner.pod_ended(pod_uid, reason, message, now)
            case ev.Adopted():
                if not self._runner.adopted:
                    self._recovery.adopted(event, now)
                    self._moves.review(now)
            case ev.MaintenanceSet(mode, grace):
                self._moves.maintain(mode, grace, now)
            case ev.LeaseReleased(sender, release):
                self._leases.desk.released(sender, release)
            case ev.VoterSetsShown(uid, sets):
                self._leases.shown(uid, sets, now)
            case ev.VotersHeld(voters):
                self._leases.desk.restarted(voters, now)
            case ev.Restarting():
                self._leases.keeper.lengthen()
            case ev.TimeSet(epoch_ms):
                self._notes.epoch_ms = epoch_ms
            case ev.Wakeup():
                pass

    def _stored(self, declaration: Declaration, fresh: bool, stamp: int, now: float) -> None:
        uid = declaration.uid
        news = self._context.store(declaration, now)
        if news:
            self._guardian.stored(uid, fresh, now)
            self._releases.stored(uid, now)
            self._handover.renew(uid, now)
            self._leases.declared(uid, now)
        if uid in self._context.declarations:
            self._erasure.stored(uid, stamp)
            self._erasure.renew(uid, now)

    def _erased(self, uid: Uid, stamp: int) -> None:
        if uid in self._context.declarations and self._erasure.erased(uid, stamp):
            self._guardian.forget(uid)
            self._handover.forget(uid)
            self._leases.forget(uid)
            self._context.drop(uid)

    def _concerned(self, declaration: Declaration) -> bool:
        """Whether this machine has to keep a declaration, though it is no guardian of it."""
        return self._runner.concerns(declaration.path) or self._leases.concerns(declaration.uid)

    def _seen(self, member: Member, now: float) -> None:
        machine, members, timers = member.machine, self._context.members, self._context.outbox.timers
        change = members.seen(member, now)
        timers.cancel(restart_of(machine))
        if machine != self._context.me and (at := members.expiry(machine)) is not None:
            timers.set(("silent", machine), at, lambda at: self._gone(machine, "nothing heard of it", False, at))
        if change is Change.JOINED:
            self._guardian.joined(machine, now)
        if change is not Change.NOTHING:
            self._guardian.facts_changed(member, now)

    def _gone(self, machine: MachineId, why: str, restarting: bool, now: float) -> None:
        timers = self._context.outbox.timers
        timers.cancel(("silent", machine))
        name = self._context.name(machine)
        self._context.members.remove(machine)
        if restarting:
            grace = now + self._context.config.restart_grace
            timers.set(restart_of(machine), grace, lambda at: self._lost(machine, name, "it did not come back", at))
        else:
            self._lost(machine, name, why, now)
        self._context.outbox.gone(machine, now)

    def _lost(self, machine: MachineId, name: str, why: str, now: float) -> None:
        if machine != self._context.me:
            self._guardian.gone(machine, name, why, now)

    def _report_all(self, now: float) -> None:
        for claim in self._runner.claims.values():
            self._runner.reporter.changed(claim)
        at = now + self._context.config.report_period
        self._context.outbox.timers.set("report all", at, self._report_all)

    # ---- inside

    def _answer(self, payload: Task | ClaimQuery | ClaimsQuery | KeepQuery) -> Bid | ClaimReply | KeepReply:
        match payload:
            case KeepQuery():
                return KeepReply(self._erasure.keeps(payload))
            case Task():
                return self._intake.bid(payload)
            case ClaimQuery(ref):
                claim = self._runner.find(ref)
                report = self._runner.report_of(claim.pod_uid) if claim is not None else None
                return ClaimReply((report,) if report is not None else ())
            case ClaimsQuery(uid):
                own = self._runner.reports(Uid(uid))
                known = self._context.claims.reports(Uid(uid))
                events = (*self._history.of(Uid(uid)), *self._notes.about(uid))[-MAX_OF_ONE:]
                return ClaimReply((*own, *(r for r in known if r.claim.machine != self._context.me)), events)

    def _settle(self, now: float) -> None:
        """Go on until nothing is left that concerns this machine alone."""
        context, reporter = self._context, self._runner.reporter
        while True:
            if context.members.version != self._version:
                self._version = context.members.version
                self._membership_changed(now)
            elif context.outbox.inside:
                self._inside(*context.outbox.inside.popleft(), now)
            elif reporter.waiting:
                reporter.tell_own(now)
            elif context.dirty:
                uid = next(iter(context.dirty))
                del context.dirty[uid]
                self._guardian.review(uid, now)
            else:
                reporter.flush(now)
                return

    def _membership_changed(self, now: float) -> None:
        moved = self._context.moved()
        for path in moved:
            for uid in sorted(self._context.names[path]):
                self._guardian.guardians_changed(uid, now)
                self._handover.renew(uid, now)
                self._erasure.renew(uid, now)
        for claim in self._runner.claims.values():
            if claim.path in moved or claim.path not in self._context.names:
                self._runner.reporter.guardians_changed(claim)

    def _inside(self, question: Ask | Assign | OfferRelease, then: Then, now: float) -> None:
        match question:
            case OfferRelease(_, claim, better):
                self._releases.offered(self._context.me, claim, better, now)
            case Assign():
                declaration = self._context.declarations.get(question.uid)
                if declaration is None or declaration.sequence != question.sequence:
                    then(None, now)
                else:
                    then(self._intake.offered(declaration, question.slots, now, preempt=question.preempt), now)
            case Ask(payload=LeaseRequest() | VoterProposal() as payload):
                then(self._leases.own_answer(payload, now), now)
            case Ask(payload=Task() | ClaimQuery() | ClaimsQuery() | KeepQuery() as payload):
                then(self._answer(payload), now)
