"""Times as people read them. What travels is milliseconds since the Unix epoch."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def date(milliseconds: int) -> str:
    """`2027-03-01 12:00 UTC`."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return "a time beyond the calendar"


def now_ms() -> int:
    """The time by this computer's clock: good enough to sign by, and to warn by."""
    return time.time_ns() // 1_000_000
