"""YAML parser events to plain data, without recursion and within bounds.

PyYAML's own construction follows aliases and nesting as far as they go, keeps the last of two equal keys in silence and
resolves scalars otherwise than kubectl does.
"""

from __future__ import annotations

import yaml

from beemesh_node.workloads.scalars import check_collection_tag, key_text, plain, tagged
from beemesh_node.workloads.values import MAX_DEPTH, MAX_VALUES, TOO_DEEP, TOO_MANY, Json, RefusedError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = object()


def compose(text: str, composer: Composer) -> list[Json]:
    """The documents of `text`. Raises `RefusedError`; `composer.number` then tells in which document."""
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            composer.feed(event)
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RefusedError(f"not YAML: {error.problem or error.context}{where}") from None
    except yaml.YAMLError as error:
        what = f"{error.reason} (#x{error.character:02x})" if isinstance(error, yaml.reader.ReaderError) else error
        raise RefusedError(f"not YAML: {what}") from None
    return composer.documents


class _Open:
    """A collection whose end has not been read yet."""

    def __init__(self, anchor: str | None, spent: int, value: dict[str, Json] | list[Json]) -> None:
        self.anchor, self.spent, self.value = anchor, spent, value
        self.key: object = None
        self.has_key = False
        self.merged: list[dict[str, Json]] = []
        self.depth = 1


class Composer:
    """Builds values from parser events, without recursion, and counts what aliases repeat."""

    def __init__(self) -> None:
        self.documents: list[Json] = []
        self.number = 1
        self._anchors: dict[str, tuple[Json, int, int]] = {}
        self._stack: list[_Open] = []
        self._spent = 0

    def feed(self, event: yaml.Event) -> None:
        """Take the next event. Raises `RefusedError` with its line."""
        try:
            self._take(event)
        except RefusedError as error:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise RefusedError(f"line {line}: {error}") from None

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.number = len(self.documents) + 1
            self._anchors.clear()
        elif isinstance(event, yaml.ScalarEvent):
            self._count(1)
            awaits_key = bool(self._stack) and isinstance(self._stack[-1].value, dict) and not self._stack[-1].has_key
            value = _scalar(event, awaits_key)
            if event.anchor:
                self._anchors[event.anchor] = ("<<" if value is _MERGE else value, 1, 0)
            self._place(value)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise RefusedError(f'"*{event.anchor}" refers to no complete value before it')
            value, size, depth = self._anchors[event.anchor]
            self._count(size)
            if len(self._stack) + depth > MAX_DEPTH:
                raise RefusedError(TOO_DEEP)
            self._place(value, depth)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._count(1)
            empty: Json = {} if isinstance(event, yaml.MappingStartEvent) else []
            check_collection_tag(event.tag, "map" if isinstance(empty, dict) else "seq")
            self._stack.append(_Open(event.anchor, self._spent, empty))
            if len(self._stack) > MAX_DEPTH:
                raise RefusedError(TOO_DEEP)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._close()

    def _close(self) -> None:
        done = self._stack.pop()
        if isinstance(done.value, dict):
            for merged in done.merged:
                for key, value in merged.items():
                    done.value.setdefault(key, value)
        if done.anchor:
            self._anchors[done.anchor] = (done.value, self._spent - done.spent + 1, done.depth)
        self._place(done.value, done.depth)

    def _count(self, values: int) -> None:
        self._spent += values
        if self._spent > MAX_VALUES:
            raise RefusedError(TOO_MANY)

    def _place(self, value: Json, depth: int = 0) -> None:
        if not self._stack:
            self.documents.append(value)
            return
        parent = self._stack[-1]
        parent.depth = max(parent.depth, depth + 1)
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif not parent.has_key:
            parent.key, parent.has_key = value if value is _MERGE else key_text(value), True
        elif parent.key is _MERGE:
            self._merge(parent, value)
        else:
            if parent.key in parent.value:
                raise RefusedError(f'the key "{str(parent.key)[:80]}" stands twice in one mapping: keep one')
            parent.value[str(parent.key)] = value
            parent.has_key = False

    def _merge(self, parent: _Open, value: Json) -> None:
        sources = value if isinstance(value, list) else [value]
        for source in sources:
            if not isinstance(source, dict):
                raise RefusedError('"<<" needs a mapping, or a list of mappings')
            parent.merged.append(source)
        parent.has_key = False


def _scalar(event: yaml.ScalarEvent, awaits_key: bool) -> Json:
    text, tag = event.value, event.tag
    if tag is not None and tag != "!":
        return tagged(text, tag)
    if not event.implicit[0]:
        return text
    return _MERGE if awaits_key and text == "<<" else plain(text)
