"""Options of the commands that sign: for how long, with which key, and whether it is needed at all."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from beemesh_node.cli.options import duration


@dataclass(frozen=True, slots=True)
class Terms:
    """What they said."""

    not_before: str | None
    not_after: str | None
    root_key: Path | None
    if_changed: bool
    compare_times: bool
    ending_within: float
    """Seconds."""
    dry_run: bool


_OPTIONS = (
    click.option("--not-before", metavar="TIME", help="When it begins: 2027-03-01T12:00:00Z, or -1h from now."),
    click.option("--not-after", metavar="TIME", help="When it ends: 2037-03-01T12:00:00Z, or +3650d from now."),
    click.option(
        "--root-key",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The root's key, if it is not in the directory.",
    ),
    click.option(
        "--if-changed", is_flag=True, help="Leave a bundle that is there if it still is what would be signed."
    ),
    click.option("--compare-times", is_flag=True, help="With --if-changed: another beginning or end is a change too."),
    click.option(
        "--ending-within",
        type=lambda text: duration(text),
        default="0s",
        metavar="TIME",
        help="With --if-changed: sign anew when it ends within this time, as 30d.",
    ),
    click.option("--dry-run", is_flag=True, help="Only say what would be done. The root's key is not opened."),
)


def terms_options(command: Callable[..., None]) -> Callable[..., None]:
    """All of them, given to the command as `terms`."""

    @functools.wraps(command)
    def collected(
        *arguments: Any,
        not_before: str | None,
        not_after: str | None,
        root_key: Path | None,
        if_changed: bool,
        compare_times: bool,
        ending_within: float,
        dry_run: bool,
        **others: Any,
    ) -> None:
        terms = Terms(not_before, not_after, root_key, if_changed, compare_times, ending_within, dry_run)
        command(*arguments, terms=terms, **others)

    decorated: Callable[..., None] = collected
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
