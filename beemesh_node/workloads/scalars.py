"""YAML scalars as go-yaml 2, and so kubectl, resolves them: neither YAML 1.1 nor 1.2 to the letter.

`yes` and `y` are booleans, `0644` and `0o644` are 420, `12:30` and dates are strings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from beemesh_node.workloads.values import Json, RefusedError, describe

_BOOLEANS = {
    **{word: True for low in ("y", "yes", "true", "on") for word in (low, low.capitalize(), low.upper())},
    **{word: False for low in ("n", "no", "false", "off") for word in (low, low.capitalize(), low.upper())},
}
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NUMBER_START = frozenset("+-.0123456789")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MAX_DIGITS = 400
"""Longer than any number that is not infinite; Python's own conversion of longer ones is slow."""
_TAGS: Mapping[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (int, float), "null": (type(None),)}
_CORE = "tag:yaml.org,2002:"


def plain(text: str) -> Json:
    """A scalar without quotes and tag. Raises `RefusedError` for infinities and what is not a number."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] not in _NUMBER_START or len(text) > _MAX_DIGITS:
        return text
    if _NOT_A_NUMBER.fullmatch(text):
        raise RefusedError(f"{text} is no number that a manifest can hold: give a finite one, or quote it")
    digits = text.replace("_", "")
    if match := _INTEGER.fullmatch(digits):
        sign, *groups = match.groups()
        number = next(int(group, base) for group, base in zip(groups, (16, 2, 8, 10), strict=True) if group is not None)
        number = -number if sign == "-" else number
        return number if -(2**63) <= number < 2**64 else _float(str(number), text)
    return _float(digits, text) if _FLOAT.fullmatch(digits) else text


def _float(digits: str, text: str) -> Json:
    value = float(digits)
    return whole(value) if math.isfinite(value) else text


def whole(value: float) -> int | float:
    """`1.0` as 1, which is how Go writes it as JSON."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def tagged(text: str, tag: str) -> Json:
    """A scalar with an explicit tag, `!!str 1`. Raises `RefusedError` for other tags than JSON has types."""
    kind = tag.removeprefix(_CORE)
    if kind in ("str", "timestamp"):
        return text
    if kind not in _TAGS or kind == tag:
        raise RefusedError(f'the tag "{tag[:80]}" is not supported: write the value plainly')
    value = plain(text)
    if not isinstance(value, _TAGS[kind]) or (isinstance(value, bool) and kind != "bool"):
        raise RefusedError(f'"{text[:80]}" is no {kind}')
    return value


def check_collection_tag(tag: str | None, kind: str) -> None:
    """Refuse a tag that would make something else than a mapping (`map`) or a list (`seq`) of a collection."""
    if tag not in (None, "!", f"{_CORE}{kind}"):
        raise RefusedError(f'the tag "{tag[:80]}" is not supported: write the value plainly')


def key_text(value: Json) -> str:
    """A scalar as the key of a mapping: a number or boolean becomes text. Raises `RefusedError` for others."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return format(value, "g") if isinstance(value, float) else str(value)
    raise RefusedError(f"a key must be a string, not {describe(value)}")
