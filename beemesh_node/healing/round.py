"""One round of placing slots: ask, close the window, assign, go on to the next bidder. A state machine of three states.

What belongs here: whom to ask, when enough bids are in, who gets what. What does not: whether a round is due, and what
becomes of a claim afterwards (`guardian`).

    ASKING --enough bids, or the window's end--> ASSIGNING --all given, or nobody left--> DONE
       ^-------------nobody left, more to ask--------|

What nobody has room for goes where the fewest pods of the lowest priority have to go for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Protocol

from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.outbox import Answer, Outbox
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import AssignmentReply, Bid, NoReason, Refusal, SlotAttempt, Task
from beemesh_node.scheduling.distribution import DomainRule, Offer, distribute, domain_rules
from beemesh_node.scheduling.sampling import Candidates, sample_size

GOOD_SCORE = 500
"""A bid is good from this score on, if the machine has no replica of the declaration yet."""
SPARE_BIDS = 2
"""The window closes early once there are so many more good bids than slots."""


class RoundState(Enum):
    """How far a round is."""

    ASKING = auto()
    ASSIGNING = auto()
    DONE = auto()


class RoundOwner(Protocol):
    """Who hears of a round."""

    def placed(self, machine: MachineId, slots: Sequence[SlotAttempt], now: float) -> None:
        """`machine` has accepted `slots`."""

    def round_over(self, now: float) -> None:
        """The round is DONE."""


@dataclass
class Round:
    """Places `wanting` on machines out of `candidates`; what it could not place is left there when it is DONE."""

    outbox: Outbox
    owner: RoundOwner
    declaration: Declaration
    wanting: list[SlotAttempt]
    candidates: Candidates
    labels: Callable[[MachineId], Mapping[str, str]]
    """Gives those of a member; none of a machine that is none (any more)."""
    present: tuple[Mapping[str, str], ...]
    """Labels of the machine of each replica that is there already."""
    task_id: bytes
    probe: bool = False
    """Only find out what could be placed, and give nothing."""
    lacking: Callable[[frozenset[int], float], Collection[int]] | None = None
    """Gives, at a time, the slots that want a claim besides some that are in hand. None: those that were wanting do."""
    state: RoundState = RoundState.ASKING
    refused: dict[MachineId, tuple[Refusal, ...]] = field(default_factory=dict)
    """Every machine that cannot take (one more) replica, and why."""
    given: dict[MachineId, int] = field(default_factory=dict)
    """How many slots each machine accepted."""
    found: dict[int, MachineId] = field(default_factory=dict)
    """The machine that a probe found for each slot."""
    _waiting: set[MachineId] = field(default_factory=set)
    _offers: dict[MachineId, Offer] = field(default_factory=dict)
    _assigned: dict[MachineId, tuple[SlotAttempt, ...]] = field(default_factory=dict)
    _costs: dict[MachineId, tuple[int, int]] = field(default_factory=dict)
    """Machines that could take one replica in the place of others: of how many, and the highest priority of these."""
    _window_over: bool = False
    _patience_over: bool = False
    _cancelled: bool = False

    def start(self, now: float) -> None:
        """Ask the first batch."""
        self._ask_more(now)

    @property
    def placing(self) -> frozenset[int]:
        """Slots that this round is busy with."""
        if self.state is RoundState.DONE or self.probe:
            return frozenset()
        return self._in_hands.union(slot.slot for slot in self.wanting)

    @property
    def _in_hands(self) -> frozenset[int]:
        """Slots whose machines have not answered yet."""
        return frozenset(slot.slot for slots in self._assigned.values() for slot in slots)

    @property
    def able(self) -> tuple[MachineId, ...]:
        """Machines that have room left; when the round is over, only rules among the replicas keep them out."""
        return tuple(offer.machine for offer in self._offers.values() if offer.slots > 0)

    def cancel(self) -> None:
        """Place nothing more. It is not DONE before the last slot that has been assigned is answered for."""
        self._cancelled, self.wanting = True, []
        self.outbox.timers.cancel(self._timer)
        self.state = RoundState.ASSIGNING if self._assigned else RoundState.DONE

    @property
    def _timer(self) -> tuple[str, bytes]:
        return ("window", self.task_id)

    @property
    def _rules(self) -> tuple[DomainRule, ...]:
        d = self.declaration
        return domain_rules(d.requirements.pod_terms, d.namespace, d.labels)

    def _ask_more(self, now: float) -> None:
        self.state, self._window_over, self._patience_over = RoundState.ASKING, False, False
        size = sample_size(len(self.wanting))
        batch = self.candidates.take(size)
        self.refused.update(self.candidates.refused)
        d = self.declaration
        compares = bool(d.requirements.pod_terms)
        task = Task(
            task_id=self.task_id,
            uid=d.uid,
            sequence=d.sequence,
            count=len(self.wanting),
            requirements=d.requirements,
            namespace=d.namespace if compares else "",
            labels=d.labels if compares else {},
        )
        self._waiting.update(batch)
        for machine in batch:
            self._ask(machine, task, now)
        self.outbox.timers.set(self._timer, now + self.outbox.config.window, self._on_window_end)
        self._consider(now)

    def _ask(self, machine: MachineId, task: Task, now: float) -> None:
        def then(answer: Answer | None, at: float) -> None:
            self._on_bid(machine, answer, at)

        self.outbox.ask(machine, task, self.outbox.config.task_timeout, then, now)

    def _on_bid(self, machine: MachineId, answer: Answer | None, now: float) -> None:
        self._waiting.discard(machine)
        if isinstance(answer, Bid) and answer.task_id == self.task_id:
            if answer.refusals:
                self.refused[machine] = answer.refusals
            if answer.slots == 0 and answer.victims > 0 and answer.victim_priority < self._priority:
                self._costs[machine] = (answer.victims, answer.victim_priority)
            if answer.slots > 0:
                labels = self.labels(machine)
                score = min(max(answer.score, 0), 1000)
                slots = min(answer.slots, len(self.wanting) + len(self.placing))
                self._offers[machine] = Offer(machine, slots, score, max(answer.running, 0), labels)
        else:
            self.refused[machine] = (Refusal(NoReason.UNANSWERED),)
        self._consider(now)

    def _on_window_end(self, now: float) -> None:
        self._window_over = True
        self.outbox.timers.set(self._timer, now + self.outbox.config.patience, self._on_patience_end)
        self._consider(now)

    def _on_patience_end(self, now: float) -> None:
        self._patience_over = True
        self._consider(now)

    @property
    def _spread(self) -> bool:
        """Whether each slot could go to a machine that has no replica yet."""
        return sum(offer.running == 0 and offer.slots > 0 for offer in self._offers.values()) >= len(self.wanting)

    def _consider(self, now: float) -> None:
        """Close the window if it is time to."""
        if self.state is not RoundState.ASKING:
            return
        good = sum(o.score >= GOOD_SCORE and o.running == 0 and o.slots > 0 for o in self._offers.values())
        enough = good >= len(self.wanting) + SPARE_BIDS
        if not self._waiting or enough:
            self._assign(now)
        elif self._window_over and self.able:
            # Better a moment later than two replicas on one machine because the others were slow to answer.
            if self._spread or self._patience_over:
                self._assign(now)
        elif self._window_over and self.candidates:
            self._ask_more(now)

    def _assign(self, now: float) -> None:
        """Give what is wanting to the best offers; if none is left ask others, and if there are none, be done."""
        self.state = RoundState.ASSIGNING
        self.outbox.timers.cancel(self._timer)
        if self.wanting and self.lacking is not None:
            # A machine that is back may have brought a claim of its own since the round began.
            lacking = frozenset(self.lacking(self._in_hands, now))
            self.wanting = [slot for slot in self.wanting if slot.slot in lacking]
        shares = distribute(self.wanting, list(self._offers.values()), self.present, self._rules, self.task_id)
        for machine, slots in shares.items():
            taken = {slot.slot for slot in slots}
            self.wanting = [slot for slot in self.wanting if slot.slot not in taken]
            offer = self._offers[machine]
            self._offers[machine] = replace(offer, slots=offer.slots - len(slots), running=offer.running + len(slots))
            self.present = (*self.present, *([offer.labels] * len(slots)))
            if self.probe:
                self.found.update((slot.slot, machine) for slot in slots)
                continue
            self._assigned[machine] = (*self._assigned.get(machine, ()), *slots)
            self._send(machine, slots, now)
        if self._assigned:
            return
        if self.wanting and self.candidates:
            self._ask_more(now)
        elif self.wanting and self._waiting and (self._costs or not self._window_over):
            # Before pods have to go for it, everyone who was asked has a say.
            self.state = RoundState.ASKING
            self.outbox.timers.set(self._timer, now + self.outbox.config.window, self._on_window_end)
        elif not self._preempt(now):
            self._finish(now)

    @property
    def _priority(self) -> int:
        return self.declaration.requirements.priority

    def _preempt(self, now: float) -> bool:
        """Give one replica to each machine that would end others for it, the cheapest first. False if none would."""
        for machine in sorted(self._costs, key=lambda machine: (*self._costs[machine], machine)):
            labels = self.labels(machine)
            share = distribute(self.wanting, [Offer(machine, 1, 0, 0, labels)], self.present, self._rules, self.task_id)
            for slot in share.get(machine, ()):
                del self._costs[machine]
                self.wanting = [other for other in self.wanting if other.slot != slot.slot]
                self.present = (*self.present, labels)
                if self.probe:
                    self.found[slot.slot] = machine
                else:
                    self._assigned[machine] = (slot,)
                    self._send(machine, (slot,), now, preempt=True)
        return bool(self._assigned)

    def _send(self, machine: MachineId, slots: tuple[SlotAttempt, ...], now: float, *, preempt: bool = False) -> None:
        def then(answer: Answer | None, at: float) -> None:
            self._on_reply(machine, slots, answer, at)

        d = self.declaration
        self.outbox.assign(machine, self.task_id, d.uid, d.sequence, slots, then, now, preempt=preempt)

    def _on_reply(self, machine: MachineId, slots: tuple[SlotAttempt, ...], answer: Answer | None, now: float) -> None:
        mine = {slot.slot for slot in slots}
        left = tuple(slot for slot in self._assigned.get(machine, ()) if slot.slot not in mine)
        if left:
            self._assigned[machine] = left
        else:
            self._assigned.pop(machine, None)
        accepted: tuple[SlotAttempt, ...] = ()
        if isinstance(answer, AssignmentReply):
            accepted = tuple(slot for slot in slots if slot.slot in answer.accepted)
            again = [slot for slot in slots if slot.slot not in answer.accepted]
            if again:
                reasons = tuple(dict.fromkeys(r for slot in answer.refused for r in slot.refusals))
                self.refused[machine] = reasons or (Refusal(NoReason.UNANSWERED),)
        else:
            # It may have accepted all the same: the next attempt yields to that one should both come up.
            again = [SlotAttempt(slot.slot, slot.attempt + 1) for slot in slots]
            self.refused[machine] = (Refusal(NoReason.UNANSWERED),)
        if again:
            offer = self._offers.pop(machine, None)
            self.present = self._without(offer.labels if offer is not None else self.labels(machine), len(again))
        if accepted:
            self.given[machine] = self.given.get(machine, 0) + len(accepted)
            self.owner.placed(machine, accepted, now)
        if self.state is RoundState.DONE:
            return
        if not self._cancelled:
            self.wanting += again
        self._assign(now)

    def _without(self, labels: Mapping[str, str], count: int) -> tuple[Mapping[str, str], ...]:
        kept = list(self.present)
        for _ in range(count):
            if labels in kept:
                kept.remove(labels)
        return tuple(kept)

    def _finish(self, now: float) -> None:
        self.state = RoundState.DONE
        self.owner.round_over(now)
