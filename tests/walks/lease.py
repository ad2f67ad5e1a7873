"""Random walks over the rules of leases: one slot, machines that vote and want it, and all the bad luck there is.

    python -m tests.walks.lease --minutes 1000000          some eight hours on one core; give parts with --seed
    python -m tests.walks.lease --seed 17 --minutes 10     again what one seed did

Messages are late, lost, doubled and overtaken; links are cut, also one way only; daemons stand still and restart,
machines lose power; clocks run up to 1 % fast or slow; voters are replaced as fast as the rules allow, by several at
once and for no reason. Time is simulated. A walk is wrong as soon as the slot's pods of two machines run at once.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from typing import Any

from beemesh_node.healing.leases import times
from beemesh_node.healing.leases.lease import Lease, Question
from beemesh_node.healing.leases.voter import HeldVoter, Voter
from beemesh_node.healing.leases.voters import Voters, first_voters, merged
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import LeaseRefusal, VoterProposal

UID = Uid("walked")
MACHINES = 6
DRIFT = 0.01
WALK_MINUTES = 10.0
"""Simulated minutes of one seed."""
KILL = 0.1
"""Seconds that the kernel takes at most to end a pod whose time is over."""


class TwoHoldersError(Exception):
    """The slot ran twice."""


@dataclass(frozen=True)
class Rules:
    """What is walked: exchanged by tests that drop a rule to see that it is needed."""

    voter: type[Voter] = Voter
    lease: type[Lease] = Lease
    restart: Callable[[type[Voter], MachineId, HeldVoter, float], Voter] = lambda cls, me, held, now: cls.restarted(
        me, held, now
    )
    adopts: bool = True
    """A restarted daemon knows that its pods may be running."""
    single_steps: bool = True
    """Successors differ by one voter."""


@dataclass(eq=False)
class Pod:
    """A pod that wants the slot, or has it."""

    uid: str
    lease: Lease
    begun: bool = False
    ends: float = 0.0
    """When the kernel ends it: true time."""
    gone: bool = False


@dataclass(eq=False)
class Machine:
    id: MachineId
    rate: float
    voter: Voter
    voters: Voters
    disk: HeldVoter | None = None
    pods: list[Pod] = field(default_factory=list)
    life: int = 1
    rounds: int = 0
    paused_until: float = 0.0

    def next_round(self) -> int:
        self.rounds += 1
        return (self.life << 32) + self.rounds


class Walk:
    """One walk."""

    def __init__(self, seed: int, rules: Rules) -> None:
        self.rules, self.random = rules, random.Random(seed)
        self.now = 0.0
        self.counts: Counter[str] = Counter()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._cut: set[tuple[MachineId, MachineId]] = set()
        draw = self.random
        ids = [MachineId(f"m{number}") for number in range(MACHINES)]
        first = Voters(0, frozenset(first_voters(ids[: draw.choice((1, 3, 3, 5))])))
        self.machines = {
            each: Machine(each, 1 + draw.uniform(-DRIFT, DRIFT), rules.voter(each, UID, first, 0.0), first)
            for each in ids
        }
        self.harsh = draw.random() ** 2
        """How bad the luck of this walk is."""
        self._formed: dict[int, Voters] = {}
        self._votes: dict[tuple[int, frozenset[MachineId]], dict[MachineId, Any]] = {}
        self._pods = 0

    # ---- time

    def at(self, moment: float, happen: Callable[[], None]) -> None:
        self._number += 1
        heappush(self._heap, (moment, self._number, happen))

    def run(self, seconds: float) -> None:
        self._wish()
        self._trouble()
        self._reform()
        while self._heap and self._heap[0][0] <= seconds:
            self.now, _, happen = heappop(self._heap)
            happen()
        self.now = seconds

    def local(self, machine: Machine) -> float:
        return self.now * machine.rate

    def send(self, source: Machine, target: Machine, happen: Callable[[], None], slowness: float = 0.1) -> None:
        draw = self.random
        copies = 2 if draw.random() < 0.1 else 1
        for _ in range(copies):
            if draw.random() < 0.2 * self.harsh:
                continue
            slow = draw.random() < slowness * self.harsh
            delay = draw.uniform(0, 25) if slow else draw.uniform(0.001, 0.1)

            def arrive() -> None:
                if (source.id, target.id) in self._cut:
                    return
                if self.now < target.paused_until:
                    self.at(target.paused_until, happen)
                else:
                    happen()

            self.at(self.now + delay, arrive)

    # ---- pods

    def _wish(self) -> None:
        """Now and then a machine is given the slot, whoever else may have it."""
        draw = self.random
        machine = draw.choice(list(self.machines.values()))
        awake = self.now >= machine.paused_until
        for pod in machine.pods:
            if awake and pod.begun and not pod.gone and draw.random() < 0.3:
                self._over(machine, pod, clean=True)  # it was asked to end, and has
        if awake and not any(not pod.gone for pod in machine.pods):
            self._pods += 1
            uid = f"pod{self._pods}"
            lease = self.rules.lease(UID, 0, uid, False, machine.voters, machine.next_round)
            pod = Pod(uid, lease)
            machine.pods = [pod]
            self._act(machine, pod, machine.life)
        self.at(self.now + draw.expovariate(1 / 3), self._wish)

    def _act(self, machine: Machine, pod: Pod, life: int) -> None:
        if pod.gone or machine.life != life:
            return
        if self.now < machine.paused_until:
            self.at(machine.paused_until, lambda: self._act(machine, pod, life))
            return
        lease = pod.lease
        for question in lease.questions(self.local(machine)):
            self._ask(machine, pod, question, life)
        if not lease.runs and not pod.begun and self.random.random() < 0.01:
            self._over(machine, pod, clean=True)
            return
        due = min(lease.next() / machine.rate, self.now + 1.0)
        self.at(max(due, self.now + 0.01), lambda: self._act(machine, pod, life))

    def _ask(self, machine: Machine, pod: Pod, question: Question, life: int) -> None:
        self.counts["requests"] += 1
        target = self.machines[question.voter]
        open_ = [True]

        def answered(reply: Any) -> None:
            if not open_[0] or pod.gone or machine.life != life:
                return
            open_[0] = False
            self._answered(machine, pod, question, reply)

        def asked() -> None:
            voter = target.voter
            reply = voter.requested(machine.id, question.request, self.local(target))
            if not self._persist(target):
                return
            if reply.refusal is LeaseRefusal.OUTDATED:
                self._show(target, machine)
            self.send(target, machine, lambda: answered(reply))

        if target is machine:
            asked()
        else:
            self.send(machine, target, asked)
        patience = times.ASK_TIMEOUT if self.random.random() < 0.8 else 30.0
        self.at(self.now + patience, lambda: self._alive(machine, life, lambda: answered(None)))

    def _alive(self, machine: Machine, life: int, happen: Callable[[], None]) -> None:
        if machine.life != life:
            return
        if self.now < machine.paused_until:
            self.at(machine.paused_until, lambda: self._alive(machine, life, happen))
        else:
            happen()

    def _answered(self, machine: Machine, pod: Pod, question: Question, reply: Any) -> None:
        lease, before = pod.lease, pod.lease.end
        for release in lease.answered(question, reply, self.local(machine)):
            self._release(machine, pod, release)
        if reply is not None and reply.refusal is LeaseRefusal.BEHIND:
            self._show(machine, self.machines[question.voter])
        if lease.end > before and lease.held(self.local(machine)):
            self._extend(machine, pod)
        elif lease.next() <= self.local(machine):
            for following in lease.questions(self.local(machine)):
                self._ask(machine, pod, following, machine.life)

    def _extend(self, machine: Machine, pod: Pod) -> None:
        """Begin the pod, or set its guard: the kernel ends it when the lease is over, by the machine's clock."""
        deadline = pod.lease.end / machine.rate + self.random.uniform(0, KILL)
        if not pod.begun:
            pod.begun = True
            self.counts["held"] += 1
            self._check(machine, pod)
        pod.ends = max(pod.ends, deadline)
        self.at(deadline, lambda: self._expire(machine, pod))

    def _expire(self, machine: Machine, pod: Pod) -> None:
        if not pod.gone and self.now >= pod.ends:
            self.counts["expired"] += 1
            # The daemon hears of it and frees what is left, unless it stands still.
            self._over(machine, pod, clean=self.now >= machine.paused_until)

    def _check(self, machine: Machine, pod: Pod) -> None:
        for other in self.machines.values():
            for rival in other.pods:
                if rival is not pod and rival.begun and not rival.gone and self.now < rival.ends:
                    raise TwoHoldersError(f"{self.now:.2f}: {pod.uid} on {machine.id}, {rival.uid} on {other.id}")

    def _over(self, machine: Machine, pod: Pod, *, clean: bool) -> None:
        pod.gone = True
        if clean:
            self._release(machine, pod, pod.lease.release())

    def _release(self, machine: Machine, pod: Pod, release: Any) -> None:
        for each in sorted(pod.lease.voters.members):
            target = self.machines[each]

            def free(target: Machine = target) -> None:
                target.voter.released(machine.id, release)
                self._persist(target)

            self.send(machine, target, free, slowness=0.5)  # the rule that is hardest to break is about these

    # ---- voters

    def _persist(self, machine: Machine) -> bool:
        machine.disk = machine.voter.held
        return True

    def _show(self, source: Machine, target: Machine) -> None:
        number = source.voters.number

        def shown() -> None:
            self._follow(target, number)

        self.send(source, target, shown)

    def _follow(self, machine: Machine, number: int) -> None:
        sets = [self._formed[each] for each in range(1, number + 1) if each in self._formed]
        machine.voter.shown(sets, self.local(machine))
        self._persist(machine)
        for each in sets:
            if each.number == machine.voters.number + 1:
                machine.voters = each
        for pod in machine.pods:
            pod.lease.follow(machine.voters)

    def _reform(self) -> None:
        """Some machine proposes some successor of the voter set that it knows."""
        draw = self.random
        machine = draw.choice(list(self.machines.values()))
        members = set(machine.voters.members)
        steps = 1 if self.rules.single_steps else draw.randint(1, 4)
        for each in draw.sample(list(self.machines), steps):
            members ^= {each}
        wanted = frozenset(members)
        if wanted and (not self.rules.single_steps or machine.voters.may_follow(wanted)):
            self._propose(machine, wanted)
        self.at(self.now + draw.expovariate(1 / 4), self._reform)

    def _propose(self, machine: Machine, wanted: frozenset[MachineId]) -> None:
        present = machine.voters
        proposal = VoterProposal(UID, present.number + 1, tuple(sorted(wanted)))
        for each in sorted(present.members):
            target = self.machines[each]

            def asked(target: Machine = target) -> None:
                refusal = target.voter.proposed(proposal, self.local(target))
                self._persist(target)
                if refusal is LeaseRefusal.NONE:
                    marks = target.voter.held.marks
                    self.send(target, machine, lambda: self._voted(machine, present, wanted, target.id, marks))
                elif refusal is LeaseRefusal.OUTDATED:
                    self._show(target, machine)
                elif refusal is LeaseRefusal.BEHIND:
                    self._show(machine, target)
                elif refusal is LeaseRefusal.SIGNED:
                    signed = target.voter.signed
                    self.send(target, machine, lambda: self._again(machine, present, signed))

            self.send(machine, target, asked)

    def _again(self, machine: Machine, present: Voters, signed: frozenset[MachineId]) -> None:
        if machine.voters is present and self.random.random() < 0.3 / len(present.members):
            self._propose(machine, signed)

    def _voted(
        self, machine: Machine, present: Voters, wanted: frozenset[MachineId], signer: MachineId, marks: Any
    ) -> None:
        number = present.number + 1
        votes = self._votes.setdefault((number, wanted), {})
        votes[signer] = marks
        counted = [each for each in votes if each in present.members]
        if len(counted) >= present.majority:
            formed = Voters(number, wanted, merged(mark for each in counted for mark in votes[each]))
            known = self._formed.get(number)
            if known is not None and known.members != wanted:
                self.counts["rival sets"] += 1
                machine.voter.shown([formed], self.local(machine))
                if formed.number == machine.voters.number + 1:
                    machine.voters = formed
                return
            if known is None:
                self.counts["voter sets"] += 1
                self._formed[number] = formed
            self._follow(machine, number)

    # ---- bad luck

    def _trouble(self) -> None:
        draw, machines = self.random, list(self.machines.values())
        machine = draw.choice(machines)
        kind = draw.random()
        if kind < 0.25:
            away = set(draw.sample(list(self.machines), draw.randint(1, 2)))
            both = draw.random() < 0.7
            for one in self.machines:
                for other in self.machines:
                    if (one in away) != (other in away) and (both or one in away):
                        self._cut.add((one, other))
            self.counts["partitions"] += 1
        elif kind < 0.55:
            self._cut.clear()
        elif kind < 0.7:
            machine.paused_until = max(machine.paused_until, self.now + draw.uniform(0.1, 20))
            self.counts["pauses"] += 1
        elif kind < 0.85:
            self._restart(machine)
        elif kind < 0.9:
            for pod in machine.pods:
                pod.gone = True
            self._restart(machine)
            self.counts["power losses"] += 1
        else:
            for pod in machine.pods:
                if pod.begun and not pod.gone and self.now >= machine.paused_until:
                    pod.lease.lengthen()
                    self.counts["announced restarts"] += 1
                    self._act(machine, pod, machine.life)
                    self.at(self.now + 0.5, partial(self._restart, machine, machine.life))
        self.at(self.now + draw.expovariate(1 / (4 + 12 * (1 - self.harsh))), self._trouble)

    def _restart(self, machine: Machine, life: int | None = None) -> None:
        """The daemon (of a certain life) begins anew with what is on its disk; its pods run on."""
        if life not in (None, machine.life):
            return
        self.counts["restarts"] += 1
        machine.life += 1
        machine.rounds, machine.paused_until = 0, self.now
        if machine.disk is not None:
            machine.voter = self.rules.restart(self.rules.voter, machine.id, machine.disk, self.local(machine))
        for pod in machine.pods:
            if pod.gone:
                continue
            if not pod.begun:
                pod.gone = True
                continue
            pod.lease = self.rules.lease(UID, 0, pod.uid, False, machine.voters, machine.next_round)
            pod.lease.runs = self.rules.adopts
            self._act(machine, pod, machine.life)


def walk(seed: int, minutes: float = WALK_MINUTES, rules: Rules = Rules()) -> Counter[str]:
    """Walk once. Raises `TwoHoldersError`; otherwise returns how often what happened."""
    one = Walk(seed, rules)
    one.run(minutes * 60)
    return one.counts


def seeds(first: int, minutes: float) -> Iterator[tuple[int, float]]:
    """Give the seeds that make up so many minutes, and the minutes of each."""
    while minutes > 0:
        yield first, min(minutes, WALK_MINUTES)
        first, minutes = first + 1, minutes - WALK_MINUTES


def main() -> None:
    """Walk for long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1000.0, help="simulated minutes in all")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    began, done = time.monotonic(), 0.0
    for seed, minutes in seeds(options.seed, options.minutes):
        try:
            counts += walk(seed, minutes)
        except TwoHoldersError as error:
            sys.exit(
                f"seed {seed}: two holders at {error}; again: python -m tests.walks.lease --seed {seed} --minutes 10"
            )
        done += minutes
        if seed % 100 == 99:
            print(f"{done:.0f} minutes, seed {seed}, {time.monotonic() - began:.0f} s", flush=True)
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    print(f"{done:.0f} simulated minutes, never two holders: {told}")


if __name__ == "__main__":
    main()
