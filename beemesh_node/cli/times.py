"""Times as people read them. What travels is milliseconds since the Unix epoch."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import click

from beemesh_node.cli.options import duration

_COMPACT = re.compile(r"\d{14}Z")


def date(milliseconds: int) -> str:
    """`2027-03-01 12:00 UTC`."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return "a time beyond the calendar"


def now_ms() -> int:
    """The time by this computer's clock: good enough to sign by, and to warn by."""
    return time.time_ns() // 1_000_000


def moment(text: str, now: int) -> int:
    """Read a point in time, in milliseconds: `+365d` or `-1h` from `now`, `2027-03-01T12:00:00Z` or `20270301120000Z`.

    Raises:
        click.BadParameter: it is anything else, has no time zone, or lies before 1970.
    """
    if text[:1] in ("+", "-"):
        span = round(duration(text[1:]) * 1000)
        return max(0, now + span if text[0] == "+" else now - span)
    try:
        if _COMPACT.fullmatch(text):
            read = datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
        else:
            read = datetime.fromisoformat(text)
    except ValueError:
        read = None
    if read is None or read.tzinfo is None or read.timestamp() < 0:
        raise click.BadParameter(f"{text!r} is no time: write 2027-03-01T12:00:00Z, or +365d from now")
    return round(read.timestamp() * 1000)
