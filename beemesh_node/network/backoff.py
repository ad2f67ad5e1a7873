"""Waiting longer after each failure, and bounding how often something may happen."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Delays that double from `minimum` to `maximum` seconds, each spread by a quarter either way.

    The spread keeps machines that lost each other at one moment from redialling at one moment.
    """

    minimum: float
    maximum: float
    _failures: int = 0

    def next_delay(self) -> float:
        """Seconds to wait after one more failure."""
        delay = min(self.minimum * 2.0 ** min(self._failures, 32), self.maximum)
        self._failures += 1
        return delay * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, guards nothing

    def reset(self) -> None:
        """Begin again from `minimum`, after a success."""
        self._failures = 0


@dataclass(slots=True)
class TokenBucket:
    """Lets `rate` things a second happen, in bursts of `burst` at most."""

    rate: float
    burst: float
    _tokens: float = field(init=False)
    _updated: float | None = None

    def __post_init__(self) -> None:
        self._tokens = self.burst

    def take(self, now: float) -> bool:
        """Whether one more may happen at `now` (seconds of any clock that does not go back)."""
        if self._updated is not None:
            self._tokens = min(self.burst, self._tokens + (now - self._updated) * self.rate)
        self._updated = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def full(self, now: float) -> bool:
        """Whether nothing would be remembered by forgetting this bucket."""
        return self._updated is None or self._tokens + (now - self._updated) * self.rate >= self.burst
