"""The failure detector of one machine, after SWIM (Das, Gupta and Motivala, 2002): a state machine without I/O.

Each machine is watched by the k closest to its id, who have a long-lived stream to it on which it beats. Silence makes
a suspicion, other watchers are asked, and who then holds the machine dead says so to everyone. Two watchers must say
so; the machine itself can contradict, under a higher incarnation.

What belongs here: who watches whom, and when who is dead. What does not: streams, signatures, what becomes of pods.

    effects = detector.handle(event, now)
    detector.heard(machine, now)        # for every beat: nothing else is as frequent
    detector.next_wakeup()              # send Pulse then, at the latest
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from beemesh_node.membership.detection import (
    Accusation,
    Accuse,
    Accused,
    Alive,
    AskAbout,
    Closed,
    Dead,
    DetectionConfig,
    DetectionEffect,
    DetectionEvent,
    Left,
    Life,
    Opened,
    Present,
    Pulse,
    Redial,
    Redialled,
    Refute,
    Unwatch,
    Vouched,
    Watch,
)
from beemesh_node.membership.neighbourhood import Neighbourhood
from beemesh_node.membership.votes import Votes
from beemesh_node.membership.watched import Watched
from beemesh_node.protocol.ids import MachineId

CREDIBLE = 3
"""So many machines beyond the watchers may accuse: who is close to whom looks a little different to each."""
MAX_GRAVES = 16_384


@dataclass(frozen=True, slots=True)
class _Grave:
    """What was last known of a machine that is gone."""

    life: Life
    sequence: int
    at: float


class Detector:
    """Watches for machine `me`."""

    def __init__(self, me: MachineId, config: DetectionConfig | None = None) -> None:
        self._me = me
        self._config = config if config is not None else DetectionConfig()
        self._around = Neighbourhood()
        self._known: dict[MachineId, tuple[Life, int]] = {}
        self._watched: dict[MachineId, Watched] = {}
        self._graves: dict[MachineId, _Grave] = {}
        self._votes = Votes(self._config.vote_life)
        self._effects: list[DetectionEffect] = []
        self._due: float | None = None
        self._refuted_at = -math.inf
        self.counts: Counter[str] = Counter()
        """How often what happened: suspicions, those that were wrong, accusations, deaths, refutations, waking late."""

    def handle(self, event: DetectionEvent, now: float) -> list[DetectionEffect]:
        """Take in one event and return what is to be done."""
        if self._due is not None and now > self._due + self._config.late:
            self.counts["late"] += 1
            for watched in self._watched.values():
                watched.judge_anew(now)
        self._dispatch(event, now)
        self._judge(now)
        self._due = self._next(now)
        effects, self._effects = self._effects, []
        return effects

    def heard(self, machine: MachineId, now: float) -> None:
        """Take in a beat: on the stream, or after it was lost and before there is another one."""
        watched = self._watched.get(machine)
        if watched is not None and watched.met:
            if watched.suspected:
                self.counts["suspicions.false"] += 1
            if watched.condemned:
                watched.accused_at = -math.inf
                self._votes.withdraw(machine, self._me)
            watched.heard_at = now

    def next_wakeup(self) -> float | None:
        """Return when something is due; None if nothing is."""
        return self._due

    def silence(self, machine: MachineId, now: float) -> float | None:
        """Return how many seconds ago a machine was heard here; None if it is not watched, or was never heard."""
        watched = self._watched.get(machine)
        return now - watched.heard_at if watched is not None and watched.met else None

    @property
    def watched(self) -> frozenset[MachineId]:
        """Who is watched from here."""
        return frozenset(self._watched)

    def watchers(self, machine: MachineId) -> tuple[MachineId, ...]:
        """Return who watches a machine, the closest first."""
        return self._around.closest(machine, self._config.watchers)

    # ---- events

    def _dispatch(self, event: DetectionEvent, now: float) -> None:
        match event:
            case Present(machine, life, sequence):
                self._present(machine, life, sequence, now)
            case Left(machine):
                self._bury(machine, now)
            case Opened(machine):
                if (watched := self._watched.get(machine)) is not None:
                    watched.opened(now)
                    self._votes.withdraw(machine, self._me)
            case Closed(machine):
                if (watched := self._watched.get(machine)) is not None and watched.lost(now):
                    self._effects.append(Redial(machine))
            case Redialled(machine, refused):
                if (watched := self._watched.get(machine)) is not None:
                    watched.answered(refused, self._config, now)
            case Vouched(machine, age):
                if (watched := self._watched.get(machine)) is not None:
                    watched.vouched_at = max(watched.vouched_at, now - max(age, 0.0))
            case Accused(accuser, deaths):
                for accusation in deaths:
                    self._accused(accuser, accusation, now)
            case Pulse():
                pass

    def _present(self, machine: MachineId, life: Life, sequence: int, now: float) -> None:
        grave = self._graves.get(machine)
        if grave is not None:
            old = life == grave.life and sequence <= grave.sequence
            if not old and self._lost(now):
                self._refute(now)
            if old or (life <= grave.life and now < grave.at + self._config.in_flight):
                return
            del self._graves[machine]
        known = self._known.get(machine)
        if known is not None and (life, sequence) < known:
            return
        self._known[machine] = (life, sequence)
        self._effects.append(Alive(machine))
        if known is not None and known[0] != life:
            self._votes.drop(machine)
            if (watched := self._watched.get(machine)) is not None:
                watched.vouched_at, watched.accused_at, watched.refused = now, -math.inf, False
        if self._around.add(machine):
            self._rewatch()

    def _accused(self, accuser: MachineId, accusation: Accusation, now: float) -> None:
        machine = accusation.machine
        credible = self._around.closest(machine, self._config.watchers + CREDIBLE)
        known = self._known.get(machine)
        if known is None or accusation.life != known[0] or accuser not in credible:
            self.counts["accusations.ignored"] += 1
            return
        if machine == self._me:
            self._refute(now)
            return
        self._votes.add(accuser, accusation, now)
        watched = self._watched.get(machine)
        if watched is not None and watched.failed and not watched.met and not watched.condemned:
            # A watcher that came too late to hear it cannot reach it either.
            self._accuse(watched, accusation.reason, now)

    def _lost(self, now: float) -> bool:
        """Whether this machine has just held as many dead as are left to it, and has not said yet that it is here.

        Then it may be the one that was cut off: who held it dead would not believe its presences for a while.
        """
        recent = max(self._refuted_at, now - self._config.in_flight)
        lately = sum(grave.at > recent for grave in self._graves.values())
        return self._me in self._known and lately >= len(self._known)

    def _refute(self, now: float) -> None:
        life, sequence = self._known[self._me]
        self._known[self._me] = (Life(life.started_at, life.incarnation + 1), sequence)
        self._refuted_at = now
        self.counts["refutations"] += 1
        self._effects.append(Refute(life.incarnation + 1))

    # ---- judging

    def _judge(self, now: float) -> None:
        for watched in list(self._watched.values()):
            if now >= watched.redial_at:
                watched.redial_at = math.inf
                self._effects.append(Redial(watched.machine))
            reason = watched.verdict(self._config, now)
            if reason is None:
                watched.accused_at = -math.inf if watched.met else watched.accused_at
            elif now >= watched.accused_at + self._config.repeat:
                self._accuse(watched, reason, now)
            if now >= watched.ask_due(self._config):
                self._ask(watched, now)
        condemned = {machine for machine, watched in self._watched.items() if watched.condemned}
        for machine in self._votes.accused():
            why = self._votes.verdict(machine, self.watchers(machine), condemned, now)
            if why is not None:
                self.counts["deaths"] += 1
                self._effects.append(Dead(machine, why))
                self._bury(machine, now)

    def _accuse(self, watched: Watched, reason: str, now: float) -> None:
        watched.accused_at = now
        self.counts["accusations"] += 1
        accusation = Accusation(watched.machine, self._known[watched.machine][0], reason)
        self._votes.add(self._me, accusation, now)
        self._effects.append(Accuse((accusation,)))

    def _ask(self, watched: Watched, now: float) -> None:
        if not watched.suspected:
            self.counts["suspicions"] += 1
        watched.asked_at = now
        fellows = (m for m in self.watchers(watched.machine) if m != self._me and not self._condemned(m))
        for fellow in list(fellows)[: self._config.fellows]:
            self._effects.append(AskAbout(watched.machine, fellow))

    def _condemned(self, machine: MachineId) -> bool:
        watched = self._watched.get(machine)
        return watched is not None and watched.condemned

    # ---- who is here

    def _bury(self, machine: MachineId, now: float) -> None:
        known = self._known.pop(machine, None)
        self._votes.drop(machine)
        if machine == self._me or known is None:
            return
        if len(self._graves) >= MAX_GRAVES:
            oldest = min(self._graves, key=lambda each: self._graves[each].at)
            del self._graves[oldest]
        self._graves[machine] = _Grave(*known, now)
        self._around.discard(machine)
        self._rewatch()

    def _rewatch(self) -> None:
        wanted = self._around.watched_by(self._me, self._config.watchers)
        for machine in sorted(self._watched.keys() - wanted):
            del self._watched[machine]
            self._effects.append(Unwatch(machine))
        for machine in sorted(wanted - self._watched.keys()):
            self._watched[machine] = Watched(machine)
            self._effects.append(Watch(machine))

    def _next(self, now: float) -> float | None:
        if not self._watched:
            return None
        due = min(watched.due(self._config) for watched in self._watched.values())
        return min(max(due, now), now + self._config.pulse)
