"""Times as the Kubernetes API writes them and as kubectl tells them."""

from __future__ import annotations

from datetime import UTC, datetime

_LATEST = 253_402_300_799_000
"""The end of the year 9999 in milliseconds; later times cannot be written."""


def timestamp(milliseconds: int) -> str | None:
    """Milliseconds since the Unix epoch as RFC 3339 in whole seconds; None for 0 and for what is no such time."""
    if not 0 < milliseconds <= _LATEST:
        return None
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds(text: str) -> int:
    """The reverse of `timestamp`."""
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()) * 1000


def age(text: str | None, now: int) -> str:
    """How long ago a timestamp was at `now` (milliseconds), as kubectl's AGE."""
    return "<unknown>" if text is None else human_duration((now - milliseconds(text)) / 1000)


def human_duration(seconds: float) -> str:
    """A duration as kubectl writes it: `45s`, `5m12s`, `3h`, `2d4h` (k8s.io/apimachinery/pkg/util/duration)."""
    whole = int(seconds)
    if seconds <= -2:
        return "<invalid>"
    if whole < 120:
        return f"{max(whole, 0)}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"
