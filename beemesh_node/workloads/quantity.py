"""Kubernetes quantities, exact: `100m`, `1.5`, `128Mi`, `1e3` (k8s.io/apimachinery/pkg/api/resource)."""

from __future__ import annotations

import math
import re
from fractions import Fraction

_PATTERN = re.compile(r"([+-]?)([0-9]{0,64})(?:\.([0-9]{0,64}))?(?:([numkMGTPE]?|[KMGTPE]i)|[eE]([+-]?[0-9]{1,4}))")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_MAX_EXPONENT = 30
_LIMIT = 2**63 - 1
"""The largest amount: Kubernetes caps what is larger, here it is refused."""


def parse_quantity(value: str | int | float) -> Fraction:
    """The exact amount, in the resource's base unit (cores, bytes).

    As in Kubernetes, fractions below a nano are rounded away from zero. Raises `ValueError` for what is no quantity or
    is beyond 2^63 - 1 either way.
    """
    text = str(value) if not isinstance(value, bool) else ""
    match = _PATTERN.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        raise ValueError(f'"{text[:40]}" is no quantity: write for example 250m, 0.5, 128Mi or 1Gi')
    sign, whole, part, suffix, exponent = match.groups()
    amount = Fraction(int(f"{whole}{part or ''}"), 10 ** len(part or ""))
    power = int(exponent) if exponent else _DECIMAL.get(suffix or "", 0)
    if abs(power) > _MAX_EXPONENT:
        raise ValueError(f'"{text[:40]}" is out of range: an exponent may be at most {_MAX_EXPONENT}')
    amount *= Fraction(2) ** _BINARY[suffix] if suffix in _BINARY else Fraction(10) ** power
    amount = Fraction(math.ceil(amount * 10**9), 10**9)
    if amount > _LIMIT:
        raise ValueError(f'"{text[:40]}" is out of range: at most 2^63-1')
    return -amount if sign == "-" else amount


def cpu_millis(value: str | int | float) -> int:
    """CPU as millicores, rounded up as Kubernetes does. Raises `ValueError` as `parse_quantity`, or below zero."""
    return math.ceil(_not_negative(value) * 1000)


def whole_bytes(value: str | int | float) -> int:
    """Memory as bytes, rounded up. Raises `ValueError` as `parse_quantity`, or below zero."""
    return math.ceil(_not_negative(value))


def _not_negative(value: str | int | float) -> Fraction:
    amount = parse_quantity(value)
    if amount < 0:
        raise ValueError(f'"{value}" must be greater than or equal to 0')
    return amount


def format_cpu(millis: int) -> str:
    """Millicores as Kubernetes prints them: `2`, `250m`."""
    return str(millis // 1000) if millis % 1000 == 0 else f"{millis}m"


def format_bytes(amount: int) -> str:
    """Bytes with the largest binary suffix that loses nothing: `128Mi`, `1536Ki`, `1000`."""
    for suffix, power in reversed(_BINARY.items()):
        if amount and amount % 2**power == 0:
            return f"{amount >> power}{suffix}"
    return str(amount)
