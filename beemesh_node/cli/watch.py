"""`get -w`: what changed since it was last shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import click

from beemesh_node.cli.listing import table_of
from beemesh_node.cli.output import Format, echo_json, echo_yaml, format_table, object_name
from beemesh_node.cli.shapes import Shape
from beemesh_node.cli.targets import ResourceType
from beemesh_node.cli.terminal import width

_TIMES: Final = ("lastHeartbeatTime", "lastUpdateTime")
_AGES: Final = ("AGE", "LAST SEEN", "FIRST SEEN")


class Watch:
    """Prints objects when they are new, different or gone. What was shown is kept by name in `shown`."""

    PERIOD: Final = 1.0
    """Seconds between two looks."""

    def __init__(
        self, resource: ResourceType, form: Format, shown: dict[str, str], *, namespaces: bool, headers: bool
    ) -> None:
        self._resource, self._form, self._shown = resource, form, shown
        self._namespaces = namespaces
        self._headers = headers and not shown

    def show(self, objects: Sequence[Shape], now: int) -> None:
        """Print what is news; `now` is mesh time in milliseconds."""
        present = {self._key(shape): shape for shape in objects}
        states = {key: self._state(shape, now) for key, shape in present.items()}
        changed = [present[key] for key, state in states.items() if self._shown.get(key) != state]
        gone = [key for key in self._shown if key not in present]
        self._shown.update(states)
        for key in gone:
            del self._shown[key]
        self._print(changed, now)
        if self._form in (Format.TABLE, Format.WIDE) and self._resource is not ResourceType.EVENTS:
            for key in gone:
                click.echo(f"{key} is gone")

    def _key(self, shape: Shape) -> str:
        namespace = shape["metadata"].get("namespace", "")
        return f"{namespace}/{object_name(shape)}" if self._namespaces and namespace else object_name(shape)

    def _state(self, shape: Shape, now: int) -> str:
        """What must differ for an object to be shown again: for tables its row, but for the passing of time."""
        if self._form in (Format.JSON, Format.YAML):
            return json.dumps(_without_times(shape), sort_keys=True)
        table = table_of(self._resource, [shape], now, namespaces=self._namespaces)
        shown = len(table.titles) if self._form is Format.WIDE or table.narrow is None else table.narrow
        cells = zip(table.titles[:shown], table.rows[0], strict=False)
        return json.dumps([cell.partition(" (")[0] for title, cell in cells if title not in _AGES])

    def _print(self, changed: Sequence[Shape], now: int) -> None:
        if self._form is Format.NAME:
            for shape in changed:
                click.echo(object_name(shape))
        elif self._form in (Format.JSON, Format.YAML):
            for shape in changed:
                if self._form is Format.YAML:
                    click.echo("---")
                (echo_json if self._form is Format.JSON else echo_yaml)(shape)
        elif changed:
            table = table_of(self._resource, changed, now, namespaces=self._namespaces)
            for line in format_table(table, width(), wide=self._form is Format.WIDE, headers=self._headers):
                click.echo(line)
            self._headers = False


def _without_times(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_times(each) for key, each in value.items() if key not in _TIMES}
    return [_without_times(each) for each in value] if isinstance(value, list) else value
