"""Virtual time, and processes in it that get their processor late or are stopped altogether."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import TypeAlias

Happen: TypeAlias = Callable[[], None]

UNNOTICED = 0.0005
"""Seconds: who gets the processor so soon, has it at once."""


class Timeline:
    """What happens when. One seed decides everything."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Happen, ...]]] = []
        self._number = 0

    def at(self, moment: float, happen: Callable[..., None], *arguments: Happen) -> None:
        """Let something happen at a moment, or now if that is past."""
        self._number += 1
        heappush(self._heap, (moment if moment > self.now else self.now, self._number, happen, arguments))

    def run(self, until: float) -> None:
        """Let time pass."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, happen, arguments = heappop(heap)
            happen(*arguments)
        self.now = until


class Lateness:
    """Draws how late a process gets its processor, from measured quantiles, straight lines between them."""

    def __init__(self, at: Sequence[float], milliseconds: Sequence[float], draw: random.Random) -> None:
        self._at = at
        self._values = [each / 1000 for each in milliseconds]
        self._draw = draw.random
        first = next(n for n, value in enumerate(self._values) if value >= UNNOTICED)
        self._at_once = at[first - 1] if first else 0.0

    def __call__(self) -> float:
        """Return seconds; 0 for what is not noticed."""
        where = self._draw()
        if where < self._at_once:
            return 0.0
        place = min(bisect_right(self._at, where), len(self._at) - 1)
        low, high = self._at[place - 1], self._at[place]
        part = (where - low) / (high - low)
        return self._values[place - 1] * (1 - part) + self._values[place] * part


class Process:
    """One daemon's turn at its processor. What comes while it waits for it, or is stopped, is done together then."""

    def __init__(self, timeline: Timeline, lateness: Callable[[], float]) -> None:
        self._timeline = timeline
        self._lateness = lateness
        self._messages: list[Happen] = []
        self._timers: list[Happen] = []
        self._waits = False
        self._life = 0
        self.up = False
        self.stopped_until = 0.0

    def take(self, happen: Happen) -> None:
        """Do something that a message asks for, once this process has its turn."""
        if self.up and not self._at_once(happen):
            self._messages.append(happen)

    def fire(self, happen: Happen) -> None:
        """Do something that is due now, once this process has its turn."""
        if self.up and not self._at_once(happen):
            self._timers.append(happen)

    def stop(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT so much later."""
        self.stopped_until = max(self.stopped_until, self._timeline.now + seconds)

    def end(self) -> None:
        """SIGKILL: what it had still to do is lost."""
        self.up, self._life, self._waits = False, self._life + 1, False
        self._messages, self._timers = [], []

    def begin(self) -> None:
        """Start anew."""
        self.up, self.stopped_until = True, 0.0

    def _at_once(self, happen: Happen) -> bool:
        """Do something if this process has the processor now; otherwise see that it gets its turn."""
        if not self._waits:
            late, now = self._lateness(), self._timeline.now
            if late < UNNOTICED and now >= self.stopped_until:
                happen()
                return True
            self._waits = True
            self._again(max(now, self.stopped_until) + late)
        return False

    def _again(self, moment: float) -> None:
        life = self._life
        self._timeline.at(moment, lambda: self._turn(life))

    def _turn(self, life: int) -> None:
        if life != self._life:
            return
        if self._timeline.now < self.stopped_until:
            self._again(self.stopped_until + self._lateness())
            return
        self._waits = False
        self._work()

    def _work(self) -> None:
        """Do everything; timers before messages or after them, as chance has it (Trio does so, too)."""
        messages, timers = self._messages, self._timers
        self._messages, self._timers = [], []
        batches = (timers, messages) if self._timeline.random.random() < 0.5 else (messages, timers)
        for batch in batches:
            for happen in batch:
                happen()
