"""Selectors as Kubernetes evaluates them (k8s.io/apimachinery/pkg/labels, v1.NodeSelectorTerm)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from beemesh_node.protocol.messages import Expression, Term


def _integer(text: str) -> int | None:
    try:
        return int(text, 10)
    except ValueError:
        return None


def holds(expression: Expression, labels: Mapping[str, str]) -> bool:
    """Whether one requirement holds. NotIn holds for an absent key; Gt and Lt compare integers and fail on others."""
    value = labels.get(expression.key)
    match expression.operator:
        case "In":
            return value is not None and value in expression.values
        case "NotIn":
            return value is None or value not in expression.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            mine = None if value is None else _integer(value)
            bound = _integer(expression.values[0]) if len(expression.values) == 1 else None
            if mine is None or bound is None:
                return False
            return mine > bound if expression.operator == "Gt" else mine < bound
        case _:
            return False


def all_hold(expressions: Iterable[Expression], labels: Mapping[str, str]) -> bool:
    """Whether every requirement holds."""
    return all(holds(expression, labels) for expression in expressions)


def term_holds(term: Term, labels: Mapping[str, str]) -> bool:
    """Whether a node selector term matches. An empty one matches nothing, as in Kubernetes."""
    return bool(term.expressions) and all_hold(term.expressions, labels)
