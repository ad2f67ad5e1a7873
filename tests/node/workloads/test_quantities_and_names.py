"""Quantities, the window of a rollout, names."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.workloads import names
from beemesh_node.workloads.errors import ManifestError, Problems
from beemesh_node.workloads.quantity import cpu_millis, format_bytes, format_cpu, parse_quantity, whole_bytes
from beemesh_node.workloads.rollout import window

SUFFIXES = {
    "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1), "k": Fraction(1000),
    "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12), "Ki": Fraction(2**10), "Mi": Fraction(2**20),
    "Gi": Fraction(2**30), "Ti": Fraction(2**40),
}  # fmt: skip


@given(st.integers(0, 10**6), st.integers(0, 999), st.sampled_from(sorted(SUFFIXES)), st.sampled_from(["", "+", "-"]))
def test_a_quantity_is_exact(whole: int, thousandths: int, suffix: str, sign: str) -> None:
    exact = (whole + Fraction(thousandths, 1000)) * SUFFIXES[suffix]
    rounded = Fraction(math.ceil(exact * 10**9), 10**9)
    assert parse_quantity(f"{sign}{whole}.{thousandths:03}{suffix}") == (-rounded if sign == "-" else rounded)


@given(st.integers(0, 2**53))
def test_amounts_survive_printing(amount: int) -> None:
    assert whole_bytes(format_bytes(amount)) == amount
    assert cpu_millis(format_cpu(amount)) == amount


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000), ("1E3", 1000), ("12e-1", Fraction(6, 5)), (".5", Fraction(1, 2)), ("5.", 5), ("1E", 10**18),
        (0.1, Fraction(1, 10)), (1e-7, Fraction(1, 10**7)), (3, 3), ("0.1n", Fraction(1, 10**9)),
    ],
)  # fmt: skip
def test_forms_of_a_quantity(text: str | float, value: Fraction) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "-", "m", "1 Mi", "1mi", "1KI", "0x1", "1e", "1e3m", "9" * 65, "1e31", "1e9999", "8Ei", "1e999999999",
        True, "\u0661",
    ],
)  # fmt: skip
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError):
        parse_quantity(text)


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert abs(parse_quantity(text)) < 2**63


def test_amounts_are_rounded_up_and_not_negative() -> None:
    assert (cpu_millis("0.1m"), whole_bytes("1m"), cpu_millis("1500m")) == (1, 1, 1500)
    for convert in (cpu_millis, whole_bytes):
        with pytest.raises(ValueError, match="greater than or equal to 0"):
            convert("-1")


@given(st.integers(0, 10_000), st.integers(0, 200), st.integers(0, 100))
def test_the_window_is_rounded_as_kubernetes_rounds(replicas: int, surge: int, unavailable: int) -> None:
    problems = Problems()
    found = window(replicas, {"maxSurge": f"{surge}%", "maxUnavailable": f"{unavailable}%"}, "at", problems)
    up, down = math.ceil(Fraction(surge * replicas, 100)), math.floor(Fraction(unavailable * replicas, 100))
    assert found == ((up, down) if up or down else (0, 1))
    assert len(problems) == (surge == 0 and unavailable == 0)


@pytest.mark.parametrize(
    ("replicas", "body", "expected"),
    [
        (4, {}, (1, 1)),
        (1, {}, (1, 0)),
        (10, {"maxSurge": 0, "maxUnavailable": 3}, (0, 3)),
        (2, {"maxSurge": 0, "maxUnavailable": "25%"}, (0, 1)),
        (2, {"maxSurge": 5, "maxUnavailable": 9}, (5, 2)),
    ],
)
def test_windows(replicas: int, body: dict[str, int | str], expected: tuple[int, int]) -> None:
    problems = Problems()
    assert window(replicas, body, "at", problems) == expected
    assert not len(problems)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"maxSurge": 0, "maxUnavailable": 0}, "at.maxUnavailable: may not be 0 when `maxSurge` is 0"),
        ({"maxSurge": "0%", "maxUnavailable": 0}, "may not be 0"),
        ({"maxSurge": -1}, "at.maxSurge: -1 must be"),
        ({"maxSurge": "1.5%"}, "a whole number or a percentage"),
        ({"maxSurge": "9999999999%"}, "a whole number or a percentage"),
        ({"maxUnavailable": "101%"}, "must not be greater than 100%"),
    ],
)
def test_windows_that_cannot_be(body: dict[str, int | str], message: str) -> None:
    problems = Problems()
    window(3, body, "at", problems)
    with pytest.raises(ManifestError, match=re.escape(message)):
        problems.raise_if_any()


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (names.check_label, ["a", "a-1", "0" * 63], ["", "A", "-a", "a-", "a.b", "a" * 64, "a\n"]),
        (names.check_subdomain, ["a.b-c", "a" * 253], ["a..b", ".a", "a.", "A", "a" * 254, "a_b"]),
        (names.check_label_key, ["a", "A_.b", "example.com/a"], ["", "/a", "a/", "a/b/c", "Ex.com/a", "-a"]),
        (names.check_label_value, ["", "a", "A.b_c-1"], ["-", "a b", "a" * 64]),
        (names.check_config_key, ["a", ".bashrc", "a.b_C-1"], ["", ".", "..", "..a", "a/b", "a b"]),
        (names.check_env_name, ["A", "a.b-c d", "1"], ["", "a=b", "ä", "a\n"]),
        (names.check_port_name, ["http", "a-1"], ["", "1", "-a", "a-", "a--b", "HTTP", "a" * 16]),
    ],
)
def test_names(check: object, good: list[str], bad: list[str]) -> None:
    assert callable(check)
    for name in good:
        check(name)
    for name in bad:
        with pytest.raises(ValueError):
            check(name)


@given(st.from_regex(r"[a-z][-.a-z0-9]{0,251}[a-z0-9]", fullmatch=True), st.integers(0, 9999), st.integers(0, 9))
def test_pod_names_are_as_kubectl_users_know_them(workload: str, slot: int, attempt: int) -> None:
    revision = names.safe_hash(b"x", names.REVISION_LENGTH)
    name = names.pod_name(workload, "uid", revision, slot, attempt)
    assert name == names.pod_name(workload, "uid", revision, slot, attempt)
    stem, middle, suffix = name.rsplit("-", 2)
    assert workload.startswith(stem)
    assert (middle, len(suffix)) == (revision, 5)
    assert len(name) <= 63
    names.check_label(names.pod_name("hello", "uid", revision, slot, attempt))


def test_pod_names_differ() -> None:
    found = {
        names.pod_name("hello", uid, "r", slot, attempt) for uid in "ab" for slot in range(50) for attempt in range(5)
    }
    assert len(found) == 500
