"""Plain data, as JSON has it, and the bounds within which it is read."""

from __future__ import annotations

import json
from typing import Any

Json = Any
"""None, bool, int, float, str, list or dict with string keys."""

MAX_DEPTH = 64
"""Levels of nesting; the deepest field of a Pod is at about 12."""
MAX_VALUES = 200_000
"""Values in one input, those that an alias repeats counted each time."""

TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels: no Kubernetes object is"
TOO_MANY = f"more than {MAX_VALUES:,} values, with aliases expanded: split the file"


class RefusedError(Exception):
    """Read, but not acceptable; the message says why."""


def describe(value: Json) -> str:
    """The type of a value in JSON's words, with the value itself where it is short."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"boolean {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"number {str(value)[:40]}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if len(value) <= 60 else f"a text of {len(value)} characters"
    return "a list" if isinstance(value, list) else "a mapping"
