"""What one call of the core produces: effects in order, questions with their tokens, timers. Shared by its parts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TypeAlias

from beemesh_node.healing.config import Config
from beemesh_node.healing.effects import Ask, Assign, Effect, OfferRelease, Token
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    AssignmentReply,
    Bid,
    ClaimQuery,
    ClaimRef,
    ClaimReply,
    ClaimsQuery,
    KeepQuery,
    KeepReply,
    LeaseReply,
    LeaseRequest,
    SlotAttempt,
    Task,
    VoterAnswer,
    VoterProposal,
)

Answer: TypeAlias = Bid | AssignmentReply | ClaimReply | KeepReply | LeaseReply | VoterAnswer
Then: TypeAlias = Callable[[Answer | None, float], None]
"""Called with the answer, or None if there was none, and the time."""
Fire: TypeAlias = Callable[[float], None]


class Timers:
    """Named moments: setting one anew moves it. Times are those of `now`."""

    def __init__(self) -> None:
        self._due: dict[Hashable, tuple[float, int, Fire]] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._count = 0

    def set(self, key: Hashable, at: float, fire: Fire) -> None:
        """Call `fire` once `at` has come; an earlier setting under `key` is dropped."""
        if key in self._due and self._due[key][0] == at:
            return
        self._count += 1
        self._due[key] = (at, self._count, fire)
        heappush(self._heap, (at, self._count, key))

    def cancel(self, key: Hashable) -> None:
        """Drop a timer; none is fine."""
        self._due.pop(key, None)

    def armed(self, key: Hashable) -> bool:
        """Whether a timer is set."""
        return key in self._due

    def next(self) -> float | None:
        """Return the earliest moment."""
        while self._heap:
            at, number, key = self._heap[0]
            if key in self._due and self._due[key][1] == number:
                return at
            heappop(self._heap)
        return None

    def fire(self, now: float) -> None:
        """Call whatever is due."""
        while (at := self.next()) is not None and at <= now:
            _, _, key = heappop(self._heap)
            _, _, callback = self._due.pop(key)
            callback(now)

    def __len__(self) -> int:
        return len(self._due)


@dataclass
class Outbox:
    """Collects effects. Questions to this machine itself are answered inside, after the present step."""

    me: MachineId
    config: Config
    timers: Timers = field(default_factory=Timers)
    effects: list[Effect] = field(default_factory=list)
    inside: deque[tuple[Ask | Assign | OfferRelease, Then]] = field(default_factory=deque)
    """What goes to this machine itself: the core sees to it before it returns."""
    _waiting: dict[Token, tuple[MachineId, Then]] = field(default_factory=dict)
    _tokens: int = 0

    def emit(self, effect: Effect) -> None:
        """Have something done."""
        self.effects.append(effect)

    def take(self) -> list[Effect]:
        """Return what is to be done, and begin anew."""
        effects, self.effects = self.effects, []
        return effects

    def ask(
        self,
        machine: MachineId,
        payload: Task | ClaimQuery | ClaimsQuery | KeepQuery | LeaseRequest | VoterProposal,
        timeout: float,
        then: Then,
        now: float,
    ) -> None:
        """Put a question; `then` gets the answer, or None at once if too many questions are out."""
        self._send(Ask(self._token(), machine, payload, timeout), then, now)

    def assign(
        self,
        machine: MachineId,
        task_id: bytes,
        uid: Uid,
        sequence: int,
        slots: tuple[SlotAttempt, ...],
        then: Then,
        now: float,
        *,
        preempt: bool = False,
    ) -> None:
        """Give slots to a machine; `then` as for `ask`."""
        timeout = self.config.assign_timeout
        self._send(Assign(self._token(), machine, task_id, uid, sequence, slots, timeout, preempt), then, now)

    def release(self, machine: MachineId, claim: ClaimRef, better: ClaimRef | None, shown: Uid) -> None:
        """Tell a runner that a claim of its own is over, and show it the record of this declaration."""
        offer = OfferRelease(machine, claim, better, shown)
        if machine == self.me:
            self.inside.append((offer, lambda answer, now: None))
        else:
            self.emit(offer)

    def answered(self, token: Token, answer: Answer | None, now: float) -> None:
        """Hand an answer to whoever waits for it. An unknown token (answered already) is ignored."""
        _, then = self._waiting.pop(token, (None, None))
        if then is not None:
            then(answer, now)

    def gone(self, machine: MachineId, now: float) -> None:
        """Wait no longer for the answers of a machine that is gone."""
        for token in [token for token, (asked, _) in self._waiting.items() if asked == machine]:
            self.answered(token, None, now)

    @property
    def asks(self) -> int:
        """How many questions are out."""
        return len(self._waiting)

    def _token(self) -> Token:
        self._tokens += 1
        return Token(self._tokens)

    def _send(self, question: Ask | Assign, then: Then, now: float) -> None:
        if question.machine == self.me:
            self.inside.append((question, then))
        elif len(self._waiting) >= self.config.max_asks:
            # Later, not now: whoever asks is still in the middle of asking.
            self.timers.set(("too many", question.token), now, lambda at: then(None, at))
        else:
            self._waiting[question.token] = (question.machine, then)
            self.emit(question)
