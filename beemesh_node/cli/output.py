"""What the answer looks like: tables as kubectl's, or JSON, YAML and names for programs."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import click

from beemesh_node.cli import terminal

_GAP = 3
_NARROWEST = 8
"""A column is not cut below this many characters, whatever the terminal."""


class Format(StrEnum):
    """Values of `-o`."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under titles. Columns from `narrow` on are shown by `-o wide` alone."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    narrow: int | None = None
    status: str = "STATUS"
    """Title of the column that is coloured by its meaning."""


def echo_table(table: Table, *, wide: bool = False, headers: bool = True) -> None:
    """Print a table, cut to the terminal's width where there is one."""
    for line in format_table(table, terminal.width(), wide=wide, headers=headers):
        click.echo(line)


def format_table(table: Table, width: int | None, *, wide: bool = False, headers: bool = True) -> list[str]:
    """Lay a table out in lines of at most `width` columns (None: as wide as it is)."""
    shown = len(table.titles) if wide or table.narrow is None else table.narrow
    titles = table.titles[:shown]
    rows = [tuple(terminal.printable(cell) for cell in row[:shown]) for row in table.rows]
    lines = [titles, *rows] if headers else list(rows)
    if not lines:
        return []
    widths = [max(columns(line[index]) for line in lines) for index in range(shown)]
    if width is not None:
        _shrink(widths, width)
    painted = titles.index(table.status) if table.status in titles else -1
    laid_out = []
    for number, line in enumerate(lines):
        heading = headers and number == 0
        cells = []
        for index, cell in enumerate(line):
            text = _fit(cell, widths[index])
            padding = " " * (widths[index] - columns(text) + _GAP)
            cells.append((terminal.paint(text) if index == painted and not heading else text) + padding)
        laid_out.append("".join(cells).rstrip())
    return laid_out


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    return (
        sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
        if not text.isascii()
        else len(text)
    )


def _shrink(widths: list[int], width: int) -> None:
    excess = sum(widths) + _GAP * (len(widths) - 1) - width
    while excess > 0:
        widest = max(range(len(widths)), key=lambda index: widths[index])
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1
        excess -= 1


def _fit(text: str, width: int) -> str:
    if columns(text) <= width:
        return text
    kept, used = [], 1
    for character in text:
        used += columns(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept) + "…"


def echo_json(value: object) -> None:
    """Print as JSON."""
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def echo_yaml(value: object) -> None:
    """Print as YAML."""
    from beemesh_node.workloads.diff import to_yaml

    click.echo(to_yaml(value), nl=False)


def kubernetes_list(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several objects as v1.List, which is how kubectl shows them."""
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": list(items)}


def object_name(item: Mapping[str, Any]) -> str:
    """`deployment.apps/hello`, as `-o name` writes it."""
    group = str(item["apiVersion"]).partition("/")[0] if "/" in str(item["apiVersion"]) else ""
    kind = str(item["kind"]).lower()
    return f"{kind}.{group}/{item['metadata']['name']}" if group else f"{kind}/{item['metadata']['name']}"


def echo_objects(items: Sequence[Mapping[str, Any]], form: Format, *, single: bool) -> None:
    """Print Kubernetes objects as JSON, YAML or names; a `single` one not as a list."""
    if form is Format.NAME:
        echo_lines(object_name(item) for item in items)
        return
    value = items[0] if single and len(items) == 1 else kubernetes_list(items)
    (echo_json if form is Format.JSON else echo_yaml)(value)


def echo_facts(facts: Mapping[str, Any], form: Format, text: str) -> None:
    """Print the outcome of an action: facts for programs, or one `text` for people."""
    if form is Format.JSON:
        echo_json(facts)
    elif form is Format.YAML:
        echo_yaml(facts)
    elif text:
        click.echo(text)


def echo_lines(lines: Iterable[str]) -> None:
    """Print lines."""
    for line in lines:
        click.echo(line)


def told_lines(facts: Mapping[str, Any]) -> list[str]:
    """Who was told what is believed from now on, for people: of facts that have `told` and `untold`."""
    lines = [f"told: {', '.join(facts['told']) or 'nobody'}"]
    if facts["untold"]:
        lines.append(f"not reached: {', '.join(facts['untold'])}; whoever was told hands it on when they are back")
    return lines
