"""Label selectors: those of manifests and those of `-l` (k8s.io/apimachinery/pkg/labels)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from beemesh_node.protocol.messages import Expression
from beemesh_node.workloads import names
from beemesh_node.workloads.errors import Problems
from beemesh_node.workloads.values import Json

MAX_SELECTOR = 4096
"""Characters of a `-l`."""

_SPLIT = re.compile(r",(?![^()]*\))")
_SET = re.compile(r"(\S+)\s+(in|notin)\s*\(([^()]*)\)")
_COMPARISON = re.compile(r"([^\s=!<>]+)\s*(==|!=|=|>|<)\s*([^\s=!<>]*)")
_EXISTS = re.compile(r"(!?)\s*([^\s=!<>()]+)")
_SYMBOLS = {"=": "In", "==": "In", "!=": "NotIn", ">": "Gt", "<": "Lt"}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


def parse_selector(text: str) -> tuple[Expression, ...]:
    """The requirements of a selector as kubectl's `-l` takes it: `a=b,c!=d,e in (x,y),!f`.

    All of them must hold; an empty text selects everything. Raises `ValueError` with the part that is wrong.
    """
    if len(text) > MAX_SELECTOR:
        raise ValueError(f"a selector of {len(text)} characters: give at most {MAX_SELECTOR}")
    if not text.strip():
        return ()
    return tuple(_requirement(part.strip()) for part in _SPLIT.split(text))


def _requirement(part: str) -> Expression:
    if match := _SET.fullmatch(part):
        key, word, listed = match.groups()
        operator, values = ("In" if word == "in" else "NotIn"), tuple(value.strip() for value in listed.split(","))
    elif match := _COMPARISON.fullmatch(part):
        key, symbol, value = match.groups()
        operator, values = _SYMBOLS[symbol], (value,)
    elif match := _EXISTS.fullmatch(part):
        key, operator, values = match[2], "DoesNotExist" if match[1] else "Exists", ()
    else:
        raise ValueError(
            f'unable to parse the selector "{part[:80]}": write a=b, a!=b, "a in (b,c)", "a notin (b)", a or !a'
        )
    expression = Expression(key, operator, values)
    try:
        check_expression(expression)
    except ValueError as error:
        raise ValueError(f'unable to parse the selector "{part[:80]}": {error}') from None
    return expression


def check_expression(expression: Expression) -> None:
    """Raise `ValueError` for a key, a value or a number of values that the operator does not take."""
    names.check_label_key(expression.key)
    count = len(expression.values)
    if expression.operator in ("In", "NotIn") and not count:
        raise ValueError(f"{expression.operator} needs values")
    if expression.operator in ("Exists", "DoesNotExist") and count:
        raise ValueError(f"{expression.operator} takes no values")
    if expression.operator in ("Gt", "Lt"):
        if count != 1 or not _INTEGER.fullmatch(expression.values[0]):
            raise ValueError(f"{expression.operator} needs one integer")
        return
    for value in expression.values:
        names.check_label_value(value)


def matches(expressions: Iterable[Expression], labels: Mapping[str, str]) -> bool:
    """Whether all requirements hold for `labels`. NotIn holds where the key is absent, Gt and Lt do not."""
    return all(_holds(expression, labels.get(expression.key)) for expression in expressions)


def _holds(expression: Expression, value: str | None) -> bool:
    match expression.operator:
        case "In":
            return value in expression.values
        case "NotIn":
            return value not in expression.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    if value is None or not _INTEGER.fullmatch(value):
        return False
    bound = int(expression.values[0])
    return int(value) > bound if expression.operator == "Gt" else int(value) < bound


def format_selector(expressions: Iterable[Expression]) -> str:
    """As kubectl prints a selector: `app=web,tier in (a,b)`."""
    return ",".join(_format(expression) for expression in expressions) or "<none>"


def _format(expression: Expression) -> str:
    key, values = expression.key, expression.values
    match expression.operator:
        case "Exists":
            return key
        case "DoesNotExist":
            return f"!{key}"
        case "Gt" | "Lt":
            return f"{key}{'>' if expression.operator == 'Gt' else '<'}{values[0]}"
    if len(values) == 1:
        return f"{key}{'=' if expression.operator == 'In' else '!='}{values[0]}"
    return f"{key} {expression.operator.lower()} ({','.join(values)})"


def label_selector(body: Mapping[str, Json], path: str, problems: Problems) -> tuple[Expression, ...]:
    """A v1.LabelSelector."""
    labels = body.get("matchLabels", {})
    equal = [(f"{path}.matchLabels[{key[:80]}]", Expression(key, "In", (labels[key],))) for key in sorted(labels)]
    found = equal + expressions_of(body, path)
    for at, expression in found:
        with problems.at(at):
            check_expression(expression)
    return tuple(expression for _, expression in found)


def expressions_of(body: Mapping[str, Json], path: str) -> list[tuple[str, Expression]]:
    """The matchExpressions of a label or node selector, each with its path."""
    return [
        (
            f"{path}.matchExpressions[{index}]",
            Expression(each["key"], each["operator"], tuple(each.get("values", ()))),
        )
        for index, each in enumerate(body.get("matchExpressions", ()))
    ]
