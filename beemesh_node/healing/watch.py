"""A guardian's watch over one declaration: it plans, and does what is due if it is its turn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from beemesh_node.healing.causes import Causes
from beemesh_node.healing.claims import ClaimKey, key_of, promised_report
from beemesh_node.healing.context import Context
from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.plan import ClaimView, Ending, Plan, plan
from beemesh_node.healing.progress import Progress
from beemesh_node.healing.round import Round, RoundState
from beemesh_node.healing.tallies import Deficits
from beemesh_node.membership.member import Member
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import ClaimRef, ClaimReport, NoReason, Refusal, SlotAttempt
from beemesh_node.scheduling.reasons import details, summarise
from beemesh_node.scheduling.sampling import Candidates

NEXT_TRY = 1.0
"""Seconds: after a change among the members, the next round is not sooner than this after the last."""
ROOM_HOLDS = 5.0
"""Seconds that room is believed to be there after a machine has said so, and until it is asked for again if not."""


@dataclass(slots=True)
class BackOff:
    """A machine on which a replica failed is left alone until then."""

    until: float
    delay: float
    why: str


@dataclass
class Watch:
    """One declaration as its guardian sees it. The guardian of rank 0 coordinates, the others step in when it does not.

    A need that lasts is acted on by rank r after r times `Config.standby`, and again after as long, for as long as it
    lasts: nobody is told to wait because somebody else promised.
    """

    context: Context
    declaration: Declaration
    progress: Progress
    known: bool = False
    """Whether enough is known of the claims there are; until then nothing is placed or ended."""
    now_planned: Plan = field(default_factory=Plan)
    shortage: str = ""
    """Why slots could not be given to a machine, in a sentence; empty if they could."""
    _away: str = ""
    """Which slots wait for a machine that holds their volumes and is not here."""
    _round: Round | None = None
    _rounds: int = 0
    _round_ended: float = -NEXT_TRY
    _retry: float = 0.0
    _retry_at: float = 0.0
    _need: tuple[tuple[int, ...], tuple[ClaimRef, ...], tuple[int, ...]] = ((), (), ())
    _armed_at: float = 0.0
    _cramped: bool = False
    _roomy: dict[int, float] = field(default_factory=dict)
    """Until when there is room for a slot whose claim has to end first."""
    _probe_at: float = 0.0
    _coordinates: bool = False
    _given: dict[int, int] = field(default_factory=dict)
    """The attempt at each slot that was accepted last."""
    _offered: dict[ClaimKey, float] = field(default_factory=dict)
    _back_offs: dict[str, BackOff] = field(default_factory=dict)
    _placed: list[tuple[int, MachineId]] = field(default_factory=list)
    """Where the present round has brought slots."""
    _deficits: Deficits = field(default_factory=Deficits)
    causes: Causes = field(init=False)

    def __post_init__(self) -> None:
        self.causes = Causes(self.context)

    def declared(self, declaration: Declaration, now: float) -> None:
        """Go over to a newer version."""
        if declaration.revision != self.declaration.revision:
            self._back_offs.clear()
            self.causes.clear()
        self.declaration = declaration
        self._deficits.keep(0 if declaration.deleted else declaration.replicas)
        self.progress = Progress(now)
        self.shortage, self._retry_at, self._cramped = "", now, False
        self._given.clear()
        self._roomy.clear()
        self._probe_at = now
        if self._round is not None:
            self._round.cancel()
            if self._round.state is RoundState.DONE:
                self._round = None

    def drop(self) -> None:
        """Stop watching: this machine is no guardian of the declaration any more."""
        if self._round is not None:
            self._round.cancel()
        for kind in ("stand", "retry", "probe", "release", "progress", "change"):
            self.context.outbox.timers.cancel((kind, self.declaration.uid))

    def review(self, rank: int, now: float) -> None:
        """Plan anew, and do what is due."""
        if not self.known:
            return
        self._coordinates = rank == 0
        context, declaration = self.context, self.declaration
        reigns = context.reigns(declaration)
        context.claims.prune(declaration, now)
        halted = self.progress.failed
        planned = self._plan(self._round.placing if self._round is not None else (), now)
        self.now_planned = planned
        self._deficits.lacking(planned.place, now)
        if reigns and not declaration.deleted:
            self._observe_progress(halted, now)
        self._timer("change", context.claims.next_change(declaration, now))

        need = (planned.place, tuple(ending.claim for ending in planned.end), planned.probe)
        if need != self._need:
            if not _grown(self._need, need):
                self._armed_at = now
            self._need = need
        if not (planned.place or planned.probe) and self._round is None:
            self.shortage, self._retry, self._cramped = "", 0.0, self._cramped and not planned.complete
        if not (planned.place or planned.end or planned.probe):
            self._timer("stand", None)
            return
        turn = self._armed_at + rank * context.config.standby
        if now < turn:
            self._timer("stand", turn)
            return
        if rank > 0:
            self._armed_at = now
            self._timer("stand", now + rank * context.config.standby)
        self._end(planned.end, now)
        if planned.place:
            self._place(planned.place, now)
        if planned.probe:
            self._probe(planned.probe, now)

    def _lacking(self, in_hands: Collection[int], now: float) -> Collection[int]:
        """Return what wants a claim besides what is in hands; what was told by who is no member counts for nothing."""
        return self._plan(in_hands, now, lambda view: view.ref.machine in self.context.members).place

    def _plan(self, placing: Collection[int], now: float, counts: Callable[[ClaimView], bool] = lambda _: True) -> Plan:
        context, declaration = self.context, self.declaration
        return plan(
            declaration,
            [view for view in context.claims.views(declaration, now) if counts(view)],
            placing,
            reigns=context.reigns(declaration),
            halted=self.progress.failed,
            cramped=self._cramped,
            roomy=[slot for slot, until in self._roomy.items() if until > now],
        )

    def members_changed(self, able: bool, now: float) -> None:
        """Some machine is new or has something else to offer, `able` if a replica fits it by what it says."""
        if able and self.shortage:
            self._cramped = False
            self._retry_at = min(self._retry_at, max(now, self._round_ended + NEXT_TRY))
            self._probe_at = min(self._probe_at, self._retry_at)
            self._timer("retry", self._retry_at)

    def observed(self, report: ClaimReport, now: float) -> None:
        """Learn from a report which machines are to be left alone for a while, and where volumes are."""
        machine = report.claim.machine
        if report.home:
            self.context.homes[self.declaration.uid, report.claim.slot] = MachineId(report.home)
        if report.claim.revision != self.declaration.revision:
            return
        self.causes.reported(report)
        if report.gone and report.phase == "Failed":
            config, known = self.context.config, self._back_offs.get(machine)
            delay = config.machine_back_off_first if known is None else known.delay * 2
            delay = min(delay, config.machine_back_off_most)
            why = f"{self.context.name(machine)}: {report.reason or 'failed'}"
            self._back_offs[machine] = BackOff(
                now + delay, delay, f"{why}: {report.message}" if report.message else why
            )
        elif report.ready:
            self._back_offs.pop(machine, None)
            took = self._deficits.filled(report.claim.slot, now)
            if took is not None and self._coordinates:
                self.context.tallies.placements.add(took)

    @property
    def coordinates(self) -> bool:
        """Whether this machine is the first to see to it."""
        return self._coordinates

    # ---- what a round tells (round.RoundOwner)

    def placed(self, machine: MachineId, slots: Sequence[SlotAttempt], now: float) -> None:
        """Count accepted slots as claims from now on, before their machine reports them."""
        round_ = self._round
        declaration = round_.declaration if round_ is not None else self.declaration
        for slot in slots:
            ref = ClaimRef(
                declaration.uid, declaration.sequence, slot.slot, slot.attempt, machine, declaration.revision
            )
            self.context.claims.take(promised_report(ref, declaration), now)
            self._given[slot.slot] = slot.attempt
            self._placed.append((slot.slot, machine))
        if machine not in self.context.members:
            self.context.claims.lose(machine)
        self.context.mark(declaration.uid)

    def round_over(self, now: float) -> None:
        """Say where replicas went, and why some went nowhere."""
        round_, self._round, self._round_ended = self._round, None, now
        if round_ is None:
            return
        context, declaration = self.context, self.declaration
        context.mark(declaration.uid)
        context.tallies.round_over(probe=round_.probe, short=bool(round_.wanting))
        if round_.probe:
            self._probed(round_, now)
            return
        placed, self._placed = self._placed, []
        self.causes.placed(declaration, placed, now)
        if not round_.wanting:
            self.shortage, self._retry, self._retry_at = "", 0.0, now
            return
        first, most = context.config.retry_first, context.config.retry_most
        self._retry = min(self._retry * 2, most) if self._retry and not round_.given else first
        resting = [rest.until for rest in self._back_offs.values() if rest.until > now]
        self._retry_at = min([now + self._retry, *resting])
        self._timer("retry", self._retry_at)
        claimed = {view.ref.slot for view in context.claims.views(declaration, now) if not view.stopping}
        self._cramped = all(slot.slot in claimed for slot in round_.wanting)
        self._short(round_, now)

    # ---- parts

    def _probed(self, round_: Round, now: float) -> None:
        self._roomy = dict.fromkeys(round_.found, now + ROOM_HOLDS)
        self._probe_at = now + ROOM_HOLDS
        self._timer("probe", self._probe_at)
        if round_.wanting:
            self._short(round_, now)

    def _short(self, round_: Round, now: float) -> None:
        self.shortage = "; ".join(part for part in (self._explain(round_, now), self._away) if part)
        if self._coordinates:
            self.context.notes.warning(self.declaration, "FailedScheduling", self.shortage, now)

    def _explain(self, round_: Round, now: float) -> str:
        by_name = {self.context.name(machine): reasons for machine, reasons in round_.refused.items()}
        for machine in round_.able:
            by_name[self.context.name(machine)] = (Refusal(NoReason.POD_ANTI_AFFINITY),)
        count, total = len(round_.wanting), self.declaration.replicas
        claimed = {view.ref.slot for view in self.context.claims.views(self.declaration, now) if view.leaving}
        stuck = all(slot.slot in claimed for slot in round_.wanting)
        what = "cannot be moved" if stuck else f"wait{'s' * (count == 1)}"
        text = f"{count} of {total} replica{'s' * (total > 1)} {what}: {summarise(by_name)}"
        told = [details(by_name), *(rest.why for _, rest in sorted(self._back_offs.items()) if rest.until > now)]
        return f"{text} ({'; '.join(part for part in told if part)})" if any(told) else text

    def _observe_progress(self, was_failed: bool, now: float) -> None:
        declaration, progress = self.declaration, self.progress
        progress.observe(declaration, self.now_planned, now)
        self._timer("progress", progress.deadline(declaration))
        if progress.failed != was_failed:
            self.context.mark(declaration.uid)
            if progress.failed and self._coordinates:
                self.context.notes.warning(declaration, "ProgressDeadlineExceeded", self.progress_message, now)

    @property
    def progress_message(self) -> str:
        """Say that, and at which point, the rollout stopped; empty if it did not."""
        if not self.progress.failed:
            return ""
        planned, declaration = self.now_planned, self.declaration
        return (
            f"the rollout stopped: {planned.available} of {declaration.replicas} replicas of its revision available, "
            f"no progress for {declaration.progress_deadline_seconds:.0f} s; fix it with another apply, or undo it"
        )

    def _end(self, endings: Iterable[Ending], now: float) -> None:
        wanted = {key_of(ending.claim): ending for ending in endings}
        reigning = self.context.reigning(self.declaration.path)
        shown = self.declaration if reigning is None or self.declaration.deleted else reigning
        repeat = self.context.config.release_repeat
        self._offered = {key: at for key, at in self._offered.items() if key in wanted}
        for key, ending in wanted.items():
            if now >= self._offered.get(key, now - repeat) + repeat:
                self._offered[key] = now
                machine = MachineId(ending.claim.machine)
                self.context.outbox.release(machine, ending.claim, ending.better, shown.uid)
        self._timer("release", min(self._offered.values()) + repeat if self._offered else None)

    def _place(self, slots: Sequence[int], now: float) -> None:
        if self._round is not None:
            return
        if now < self._retry_at:
            self._timer("retry", self._retry_at)
            return
        wanting = self._attempts(slots)
        wanting = [slot for slot in wanting if self._given.get(slot.slot) != slot.attempt]
        if not wanting:
            self.shortage = "its guardian keeps account of too many claims to see those of this workload"
            return
        self._begin(wanting, now)

    def _probe(self, slots: Sequence[int], now: float) -> None:
        if self._round is not None:
            return
        if now < self._probe_at:
            self._timer("probe", self._probe_at)
            return
        self._begin(self._attempts(slots), now, probe=True)

    def _attempts(self, slots: Sequence[int]) -> list[SlotAttempt]:
        uid, revision = self.declaration.uid, self.declaration.revision
        return [SlotAttempt(slot, self.context.claims.next_attempt(uid, revision, slot)) for slot in slots]

    def _begin(self, wanting: list[SlotAttempt], now: float, *, probe: bool = False) -> None:
        context, declaration = self.context, self.declaration
        self._rounds += 1
        wanting, home = self._at_home(wanting)
        if not wanting:
            self.shortage, self._round_ended = self._away, now
            self._retry_at = now + context.config.retry_most
            self._timer("retry", self._retry_at)
            return
        salt = (context.config.seed, context.me.encode(), declaration.uid.encode(), str(self._rounds).encode())
        task_id = hashlib.sha256(b"\0".join(salt)).digest()[:16]
        resting = {m: rest for m, rest in self._back_offs.items() if rest.until > now and m in context.members}
        awake: Iterable[Member] = context.members
        if resting or home is not None:
            awake = (m for m in context.members if m.machine not in resting and home in (None, m.machine))
        self._round = Round(
            outbox=context.outbox,
            owner=self,
            declaration=declaration,
            wanting=wanting,
            candidates=Candidates(awake, declaration.requirements, task_id),
            labels=context.labels,
            present=tuple(
                context.labels(view.ref.machine)
                for view in context.claims.views(declaration, now)
                if view.ref.machine in context.members and not view.stopping and not (probe and view.leaving)
            ),
            task_id=task_id,
            refused={MachineId(machine): (Refusal(NoReason.BACK_OFF),) for machine in resting},
            probe=probe,
            lacking=None if probe else self._lacking,
        )
        self._round.start(now)

    def _at_home(self, wanting: list[SlotAttempt]) -> tuple[list[SlotAttempt], MachineId | None]:
        """Return slots that can go to the same machines now: to the one that holds their volumes, or (None) to any."""
        uid, members = self.declaration.uid, self.context.members
        homes = {slot.slot: self.context.homes.get((uid, slot.slot)) for slot in wanting}
        absent = {slot: home for slot, home in homes.items() if home is not None and home not in members}
        told = [f"slot {slot} waits for {self.context.name(home)}" for slot, home in sorted(absent.items())]
        self._away = f"{'; '.join(told)}: its volumes are there, and that machine is not here" if told else ""
        here = list(dict.fromkeys(home for slot, home in homes.items() if slot not in absent))
        if not here:
            return [], None
        home = here[self._rounds % len(here)]
        return [slot for slot in wanting if slot.slot not in absent and homes[slot.slot] == home], home

    def _timer(self, kind: str, at: float | None) -> None:
        timers, uid = self.context.outbox.timers, self.declaration.uid
        if at is None:
            timers.cancel((kind, uid))
        else:
            timers.set((kind, uid), at, lambda _: self.context.mark(uid))


def _grown(before: Sequence[Sequence[object]], need: Sequence[Sequence[object]]) -> bool:
    """Whether everything that was needed before still is: then who waits for its turn has not waited in vain."""
    return any(before) and all(set(old) <= set(new) for old, new in zip(before, need, strict=True))
