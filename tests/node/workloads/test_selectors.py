"""Label selectors as kubectl's -l reads them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.protocol.messages import Expression
from beemesh_node.workloads.selectors import MAX_SELECTOR, check_expression, format_selector, matches, parse_selector

NAMES = st.from_regex(r"[a-z]([a-z0-9.-]{0,5}[a-z0-9])?", fullmatch=True)
KEYS = NAMES | st.builds("{}/{}".format, st.sampled_from(["example.com", "a.b"]), NAMES)
EXPRESSIONS = (
    st.builds(Expression, KEYS, st.sampled_from(["In", "NotIn"]), st.lists(NAMES, min_size=1, max_size=3).map(tuple))
    | st.builds(Expression, KEYS, st.sampled_from(["Exists", "DoesNotExist"]))
    | st.builds(Expression, KEYS, st.sampled_from(["Gt", "Lt"]), st.integers(-99, 99).map(lambda n: (str(n),)))
)


@given(st.lists(EXPRESSIONS, min_size=1, max_size=4).map(tuple))
def test_a_selector_survives_printing(expressions: tuple[Expression, ...]) -> None:
    assert parse_selector(format_selector(expressions)) == expressions


@given(st.text("ab=!<>(), in\tnot/.-01", max_size=30))
def test_any_text_is_a_selector_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(matches(parse_selector(text), {"a": "b"}), bool)


LABELS = {"app": "web", "tier": "1", "empty": "", "example.com/x": "y"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=1", True),
        ("app!=web", False),
        ("nope!=web", True),
        ("app in (web,db)", True),
        ("app in (db)", False),
        ("app notin (db, x)", True),
        ("nope notin (db)", True),
        ("nope in (db)", False),
        ("app", True),
        ("!app", False),
        ("! nope", True),
        ("nope", False),
        ("empty=", True),
        ("app=", False),
        ("nope=", False),
        ("empty in (,a)", True),
        ("tier>0", True),
        ("tier<1", False),
        ("app>0", False),
        ("nope<5", False),
        ("example.com/x=y,app", True),
        ("example.com/x=y,app in (a,b)", False),
    ],
)
def test_selectors_as_kubernetes_evaluates_them(text: str, expected: bool) -> None:
    assert matches(parse_selector(text), LABELS) is expected


@pytest.mark.parametrize(
    "text",
    [
        "a=b=c", "=b", "a in b", "a in ()b", "in (a)", "a,", ",a", "a b", "a in (b", "a)", "!", "!a=b", "a>x", "a>",
        "-a=b", "a=-b", "a in (b),", "a in (b)c", "A B/c=d",
    ],
)  # fmt: skip
def test_what_is_no_selector(text: str) -> None:
    with pytest.raises(ValueError, match="unable to parse the selector"):
        parse_selector(text)


def test_operators_take_the_values_that_they_need() -> None:
    for expression in (Expression("a", "Exists", ("b",)), Expression("a", "In"), Expression("a", "Gt", ("1", "2"))):
        with pytest.raises(ValueError, match=expression.operator):
            check_expression(expression)


def test_a_selector_is_bounded() -> None:
    with pytest.raises(ValueError, match="give at most"):
        parse_selector("a" * (MAX_SELECTOR + 1))


def test_the_empty_selector_is_printed_as_kubectl_prints_it() -> None:
    assert format_selector(()) == "<none>"
