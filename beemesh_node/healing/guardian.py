"""What this machine is responsible for: a watch for each declaration that it is close to.

Being one of the k closest is being responsible. Whenever who is a member changes, watches begin and end; one that
begins first learns what claims there are, from the other guardians, before it places or ends anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from beemesh_node.healing.claims import ClaimKey, key_of
from beemesh_node.healing.context import Context
from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.history import History
from beemesh_node.healing.outbox import Answer
from beemesh_node.healing.progress import Progress
from beemesh_node.healing.watch import Watch
from beemesh_node.membership.member import Member
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import ClaimReply, ClaimReport, ClaimsQuery
from beemesh_node.scheduling.eligibility import refusals
from beemesh_node.scheduling.ledger import free_by_presence

STRANGER_GRACE = 5.0
"""Seconds within which the machine of a reported claim has to be seen as a member."""
UNCONFIRMED = 2.0
"""Seconds after which an accepted claim that was not reported is asked for."""
MISSED_REPORTS = 3.5
"""Claims not told for so many report periods are asked for."""
ASK_AGAIN = 2.0
"""Seconds between two such questions to one machine."""

MAX_EARLY = 1024
"""Reports that are kept for records that have not come yet."""


@dataclass
class Guardian:
    """The watches of this machine, and what they know of claims."""

    context: Context
    history: History
    _watches: dict[Uid, Watch] = field(default_factory=dict)
    _surveys: dict[Uid, int] = field(default_factory=dict)
    """Answers that are still missing before a watch knows enough."""
    _asked: dict[tuple[Uid, MachineId], float] = field(default_factory=dict)
    _early: OrderedDict[ClaimKey, ClaimReport] = field(default_factory=OrderedDict)
    """Reports of declarations that are not stored here yet: runners know a new guardian before its record has come."""
    _fresh: set[Uid] = field(default_factory=set)

    def started(self, now: float) -> None:
        """Note the moment of the daemon's start."""
        self.context.acquaintance.started(now, self.context.config.settle, self.context.config.alone)

    def watch(self, uid: Uid) -> Watch | None:
        """Return the watch over a declaration, None if this machine is no guardian of it."""
        return self._watches.get(uid)

    @property
    def watches(self) -> Mapping[Uid, Watch]:
        """Every declaration that this machine is a guardian of, deleted ones too."""
        return self._watches

    @property
    def lacks_room(self) -> bool:
        """Whether a watched declaration has slots that no machine could take."""
        return any(watch.shortage for watch in self._watches.values())

    def stored(self, uid: Uid, fresh: bool, now: float) -> None:
        """A newer version of a declaration is here."""
        declaration = self.context.declarations[uid]
        if fresh:
            self._fresh.add(uid)
        watch = self._watches.get(uid)
        if watch is not None and watch.declaration.rank != declaration.rank:
            self._compare(watch.declaration, declaration, now)
            watch.declared(declaration, now)
        self.enlist(uid, now)
        early = [key for key, report in self._early.items() if report.claim.uid == uid]
        self.reported([self._early.pop(key) for key in early], now)

    def _compare(self, before: Declaration, after: Declaration, now: float) -> None:
        """Two operators have changed the same version, neither knowing of the other: one of them has to look again."""
        if before.sequence == after.sequence and not (before.deleted or after.deleted):
            text = f"version {after.sequence} was declared twice at once: look at what is in force, and apply again"
            self.context.notes.warning(after, "Superseded", text, now)

    def enlist(self, uid: Uid, now: float) -> None:
        """Begin or end the watch over a declaration, as membership says."""
        declaration = self.context.declarations[uid]
        watch = self._watches.get(uid)
        if self.context.rank(uid) is None:
            if watch is not None:
                watch.drop()
                del self._watches[uid]
                self._surveys.pop(uid, None)
                self.context.outbox.timers.cancel(("unheard", uid))
        elif watch is None:
            known = uid in self._fresh
            self._watches[uid] = Watch(self.context, declaration, Progress(now), known=known)
            if not known:
                self._survey_later(uid, now)
        self._fresh.discard(uid)
        self.context.mark(uid)

    def forget(self, uid: Uid) -> None:
        """A declaration is not here any more."""
        watch = self._watches.pop(uid, None)
        if watch is not None:
            watch.drop()
        self._surveys.pop(uid, None)
        self._fresh.discard(uid)
        self.history.forget(uid)
        for kind in ("survey", "unheard"):
            self.context.outbox.timers.cancel((kind, uid))

    def guardians_changed(self, uid: Uid, now: float) -> None:
        """A declaration has other guardians, or in another order: take it up, or forget what is others' concern now."""
        self.enlist(uid, now)
        if self.context.rank(uid) is None:
            self.context.claims.forget(uid)
            self.history.forget(uid)

    def joined(self, machine: MachineId, now: float) -> None:
        """Count the claims of a machine that is back again, and ask it what became of them."""
        for uid in sorted(self.context.claims.regain(machine, now)):
            self.context.mark(uid)
            if uid in self._watches:
                self._ask_claims(uid, machine, now)

    def facts_changed(self, member: Member, now: float) -> None:
        """Try again what waits for a machine, if it might be this one."""
        for watch in self._watches.values():
            if watch.shortage:
                needed = watch.declaration.requirements
                able = not (refusals(member, needed) or free_by_presence(member).shortages(needed))
                watch.members_changed(able, now)

    def gone(self, machine: MachineId, name: str, why: str, now: float) -> None:
        """All claims of a machine are lost."""
        for uid in sorted(self.context.claims.lose(machine)):
            self.context.mark(uid)
            watch = self._watches.get(uid)
            if watch is not None:
                entries = self.context.claims.entries(uid)
                lost = (e.report.claim.slot for e in entries if e.lost and e.report.claim.machine == machine)
                watch.causes.lost(lost, f"{name} is gone ({why})")
            if watch is not None and self.context.rank(uid) == 0:
                text = f"{name} is gone ({why}): its replicas are placed anew"
                self.context.notes.warning(watch.declaration, "MachineGone", text, now)

    def reported(self, reports: Iterable[ClaimReport], now: float) -> None:
        """Take in what machines say of their own claims."""
        known: list[ClaimReport] = []
        for report in reports:
            if report.claim.uid in self.context.declarations:
                known.append(report)
            else:
                self._early[key_of(report.claim)] = report
        while len(self._early) > MAX_EARLY:
            self._early.popitem(last=False)
        self._take(known, self.context.claims.take, now)

    def told(self, reports: Iterable[ClaimReport], now: float) -> None:
        """Take in what another guardian says of the claims of others: its word alone ends nothing."""
        self._take(reports, self.context.claims.hear_of, now)

    def _take(self, reports: Iterable[ClaimReport], take: Callable[[ClaimReport, float], bool], now: float) -> None:
        for report in reports:
            uid, machine = Uid(report.claim.uid), MachineId(report.claim.machine)
            if uid not in self.context.declarations or self.context.rank(uid) is None or not take(report, now):
                continue
            watch = self._watches.get(uid)
            if watch is not None:
                watch.observed(report, now)
                self.context.mark(uid)
            if machine not in self.context.members:
                self._expect(machine, now)

    def review(self, uid: Uid, now: float) -> None:
        """Look at one declaration."""
        watch, rank = self._watches.get(uid), self.context.rank(uid)
        if watch is not None and rank is not None:
            watch.review(rank, now)
            self._ask_unheard(uid, now)

    def _expect(self, machine: MachineId, now: float) -> None:
        timers = self.context.outbox.timers
        timers.set(("stranger", machine), now + STRANGER_GRACE, lambda at: self._judge(machine, at))

    def _judge(self, machine: MachineId, now: float) -> None:
        if machine in self.context.members or self.context.awaited(machine):
            return
        spoke = self.context.acquaintance.all_spoke(self.context.members)
        if now < spoke:  # This daemon has just started, and that machine may only not have spoken since.
            self.context.outbox.timers.set(("stranger", machine), spoke, lambda at: self._judge(machine, at))
        else:
            self.gone(machine, machine, "it is no member", now)

    def _survey_later(self, uid: Uid, now: float) -> None:
        due = max(now, self.context.acquaintance.due(self.context.members, now))
        self.context.outbox.timers.set(("survey", uid), due, lambda at: self._survey(uid, at))

    def _survey(self, uid: Uid, now: float) -> None:
        """Ask the other guardians what claims they know."""
        if uid not in self._watches:
            return
        if self.context.acquaintance.due(self.context.members, now) > now:
            self._survey_later(uid, now)
            return
        others = [machine for machine in self.context.guardians_of(uid) if machine != self.context.me]
        self._surveys[uid] = len(others)

        def then(machine: MachineId, answer: Answer | None, at: float) -> None:
            if isinstance(answer, ClaimReply):
                answered = [report for report in answer.reports if report.claim.uid == uid]
                self.reported((report for report in answered if report.claim.machine == machine), at)
                self.told((report for report in answered if report.claim.machine != machine), at)
                self.history.heard(event for event in answer.events if event.uid == uid)
            if uid in self._surveys:
                self._surveys[uid] -= 1
            self._surveyed(uid)

        for machine in others:
            self.context.outbox.ask(machine, ClaimsQuery(uid), self.context.config.survey, partial(then, machine), now)
        self._surveyed(uid)

    def _surveyed(self, uid: Uid) -> None:
        if self._surveys.get(uid) == 0:
            del self._surveys[uid]
            watch = self._watches.get(uid)
            if watch is not None:
                watch.known = True
                self.context.mark(uid)

    def _ask_unheard(self, uid: Uid, now: float) -> None:
        """Ask for claims that were not reported for too long: a lost message must not be believed for ever."""
        claims, silent = self.context.claims, MISSED_REPORTS * self.context.config.report_period
        for machine in sorted(claims.unheard(uid, silent, UNCONFIRMED, now)):
            if machine not in self.context.members:
                self._judge(machine, now)
            elif now >= self._asked.get((uid, machine), now - ASK_AGAIN) + ASK_AGAIN:
                self._ask_claims(uid, machine, now)
        entries = list(claims.entries(uid))
        if not entries:
            self.context.outbox.timers.cancel(("unheard", uid))
            return
        again = UNCONFIRMED if any(entry.pending and not entry.lost for entry in entries) else silent / 4
        self.context.outbox.timers.set(("unheard", uid), now + again, lambda _: self.context.mark(uid))

    def _ask_claims(self, uid: Uid, machine: MachineId, now: float) -> None:
        self._asked[uid, machine] = now

        def then(answer: Answer | None, at: float) -> None:
            self._asked.pop((uid, machine), None)
            if isinstance(answer, ClaimReply):
                if self.context.claims.reconcile(uid, machine, answer.reports, now, at):
                    self.context.mark(uid)
                self.told((r for r in answer.reports if r.claim.machine != machine and r.claim.uid == uid), at)

        self.context.outbox.ask(machine, ClaimsQuery(uid), self.context.config.assign_timeout, then, now)
