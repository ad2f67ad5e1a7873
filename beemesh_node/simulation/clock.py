"""The clocks of one machine: by the monotonic one its core decides, the wall clock it only writes down."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Clock:
    """Turns world time into what the machine's clocks show, in seconds."""

    rate: float = 1.0
    """How fast the monotonic clock runs; real ones stay within 1 % of the truth."""
    wall_offset: float = 0.0
    """By how much the wall clock is ahead; may jump."""

    def monotonic(self, world: float) -> float:
        """Return what the monotonic clock shows at this world time."""
        return world * self.rate

    def world(self, monotonic: float) -> float:
        """Return the world time at which the monotonic clock shows this."""
        return monotonic / self.rate

    def wall_ms(self, world: float) -> int:
        """Return what the wall clock shows at this world time, in milliseconds."""
        return round((world + self.wall_offset) * 1000)
