"""Bytes to plain data: YAML or JSON, one or many documents, read as kubectl reads them.

kubectl (sigs.k8s.io/yaml over go-yaml 2) resolves YAML 1.1 scalars its own way: `yes` and `y` are booleans, `0644` and
`0o644` are 420, `12:30` and dates are strings, keys that look like numbers or booleans become strings. Everything here
is bounded, because the bytes may come from anywhere: size, depth, and the number of values after aliases are expanded.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from beemesh_node.workloads.errors import Issue, ManifestError

MAX_MANIFEST = 4 * 1024 * 1024
"""Bytes of one input. Callers look at a file's size before they read it."""
MAX_DEPTH = 64
"""Levels of nesting; the deepest field of a Pod is at about 12."""
MAX_VALUES = 200_000
"""Values in one input, those that an alias repeats counted each time."""

Json = Any
"""None, bool, int, float, str, list or dict with string keys."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
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
_MERGE = object()


def check_size(size: int, source: str) -> None:
    """Raise `ManifestError` for an input of `size` bytes that is too large to be read."""
    if size > MAX_MANIFEST:
        raise _error(f"{size:,} bytes are too many for a manifest: give at most {MAX_MANIFEST:,} a file", source)


def read_documents(data: bytes, source: str) -> list[tuple[int, Json]]:
    """The documents of `data` with their numbers from 1; empty ones are left out.

    Raises `ManifestError`, naming `source`, for anything that kubectl would not read or that breaks a bound.
    """
    check_size(len(data), source)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _error(f"not UTF-8 text (byte {error.start}): give a YAML or JSON manifest", source) from None
    documents = _read_json(text, source) if text.lstrip()[:1] == "{" else None
    if documents is None:
        documents = _read_yaml(text, source)
    found = [(number, document) for number, document in enumerate(documents, 1) if document is not None]
    if not found:
        raise _error("no manifest in it: it is empty, or has only comments", source)
    return found


def _error(message: str, source: str, document: int = 0) -> ManifestError:
    return ManifestError((Issue(message, source=f"{source}: document {document}" if document else source),))


# ---- JSON -----------------------------------------------------------------------------------------------------------


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusedError(f'the key "{twice[:80]}" stands twice in one mapping: keep one')
    return result


class _RefusedError(Exception):
    """Read, but not acceptable; the message says why."""


def _read_json(text: str, source: str) -> list[Json] | None:
    """The JSON documents of `text`, or None when it is no JSON (a YAML flow mapping may be)."""

    def constant(word: str) -> Json:
        raise _RefusedError(f"{word} is no number that a manifest can hold: give a finite one")

    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=constant)
    documents: list[Json] = []
    position, budget = 0, MAX_VALUES
    try:
        while match := re.compile(r"\s*(\S)").match(text, position):
            document, position = decoder.raw_decode(text, match.start(1))
            budget = _spend(document, budget)
            documents.append(document)
    except _RefusedError as error:
        raise _error(str(error), source, len(documents) + 1) from None
    except RecursionError:
        raise _error(_TOO_DEEP, source, len(documents) + 1) from None
    except ValueError:
        return None
    return documents


_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels: no Kubernetes object is"
_TOO_MANY = f"more than {MAX_VALUES:,} values, with aliases expanded: split the file"


def _spend(document: Json, budget: int) -> int:
    level = [document]
    for _ in range(MAX_DEPTH + 1):
        budget -= len(level)
        if budget < 0:
            raise _RefusedError(_TOO_MANY)
        level = [
            value
            for container in level
            if isinstance(container, (dict, list))
            for value in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return budget
    raise _RefusedError(_TOO_DEEP)


# ---- YAML -----------------------------------------------------------------------------------------------------------


def _read_yaml(text: str, source: str) -> list[Json]:
    composer = _Composer()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            composer.feed(event)
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise _error(f"not YAML: {error.problem or error.context}{where}", source, composer.number) from None
    except yaml.reader.ReaderError as error:
        raise _error(f"not YAML: {error.reason} (#x{error.character:02x})", source, composer.number) from None
    except yaml.YAMLError as error:
        raise _error(f"not YAML: {error}", source, composer.number) from None
    except _RefusedError as error:
        raise _error(str(error), source, composer.number) from None
    return composer.documents


class _Open:
    """A collection whose end has not been read yet."""

    def __init__(self, anchor: str | None, spent: int, value: dict[str, Json] | list[Json]) -> None:
        self.anchor, self.spent, self.value = anchor, spent, value
        self.key: object = None
        self.has_key = False
        self.merged: list[dict[str, Json]] = []
        self.depth = 1


class _Composer:
    """Builds values from parser events, without recursion, and counts what aliases repeat."""

    def __init__(self) -> None:
        self.documents: list[Json] = []
        self.number = 1
        self._anchors: dict[str, tuple[Json, int, int]] = {}
        self._stack: list[_Open] = []
        self._spent = 0

    def feed(self, event: yaml.Event) -> None:
        """Take the next event. Raises `_RefusedError`."""
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            self.number = len(self.documents) + 1
            self._anchors.clear()
        elif isinstance(event, yaml.ScalarEvent):
            self._count(1)
            awaits_key = bool(self._stack) and isinstance(self._stack[-1].value, dict) and not self._stack[-1].has_key
            value = _scalar(event, awaits_key, line)
            if event.anchor:
                self._anchors[event.anchor] = (value, 1, 0)
            self._place(value, line)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _RefusedError(f'line {line}: "*{event.anchor}" refers to no complete value before it')
            value, size, depth = self._anchors[event.anchor]
            self._count(size)
            if len(self._stack) + depth > MAX_DEPTH:
                raise _RefusedError(_TOO_DEEP)
            self._place(value, line, depth)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._count(1)
            empty: Json = {} if isinstance(event, yaml.MappingStartEvent) else []
            self._stack.append(_Open(event.anchor, self._spent, empty))
            if len(self._stack) > MAX_DEPTH:
                raise _RefusedError(_TOO_DEEP)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._close(line)

    def _close(self, line: int) -> None:
        done = self._stack.pop()
        if isinstance(done.value, dict):
            for merged in done.merged:
                for key, value in merged.items():
                    done.value.setdefault(key, value)
        if done.anchor:
            self._anchors[done.anchor] = (done.value, self._spent - done.spent + 1, done.depth)
        self._place(done.value, line, done.depth)

    def _count(self, values: int) -> None:
        self._spent += values
        if self._spent > MAX_VALUES:
            raise _RefusedError(_TOO_MANY)

    def _place(self, value: Json, line: int, depth: int = 0) -> None:
        if not self._stack:
            self.documents.append(value)
            return
        parent = self._stack[-1]
        parent.depth = max(parent.depth, depth + 1)
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif not parent.has_key:
            parent.key, parent.has_key = value if value is _MERGE else _key(value, line), True
        elif parent.key is _MERGE:
            self._merge(parent, value, line)
        else:
            if parent.key in parent.value:
                raise _RefusedError(
                    f'line {line}: the key "{str(parent.key)[:80]}" stands twice in one mapping: keep one'
                )
            parent.value[str(parent.key)] = value
            parent.has_key = False

    def _merge(self, parent: _Open, value: Json, line: int) -> None:
        sources = value if isinstance(value, list) else [value]
        for source in sources:
            if not isinstance(source, dict):
                raise _RefusedError(f'line {line}: "<<" needs a mapping, or a list of mappings')
            parent.merged.append(source)
        parent.has_key = False


def _key(value: Json, line: int) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return format(value, "g") if isinstance(value, float) else str(value)
    raise _RefusedError(f"line {line}: a key must be a string, not {describe(value)}")


def _scalar(event: yaml.ScalarEvent, awaits_key: bool, line: int) -> Json:
    text, tag = event.value, event.tag
    if tag is None or tag == "!":
        if not event.implicit[0]:
            return text
        return _MERGE if awaits_key and text == "<<" else _plain(text, line)
    kind = tag.removeprefix(_CORE)
    if kind in ("str", "timestamp"):
        return text
    value = _plain(text, line)
    known = _TAGS.get(kind)
    if known is None or kind == tag:
        raise _RefusedError(f'line {line}: the tag "{tag[:80]}" is not supported: write the value plainly')
    if not isinstance(value, known) or (isinstance(value, bool) and kind != "bool"):
        raise _RefusedError(f'line {line}: "{text[:80]}" is no {kind}')
    return value


def _plain(text: str, line: int) -> Json:
    """A plain scalar, resolved as go-yaml 2 does."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] not in _NUMBER_START or len(text) > _MAX_DIGITS:
        return text
    if _NOT_A_NUMBER.fullmatch(text):
        raise _RefusedError(
            f"line {line}: {text} is no number that a manifest can hold: give a finite one, or quote it"
        )
    digits = text.replace("_", "")
    if match := _INTEGER.fullmatch(digits):
        sign, *groups = match.groups()
        number = next(int(group, base) for group, base in zip(groups, (16, 2, 8, 10), strict=True) if group is not None)
        number = -number if sign == "-" else number
        return number if -(2**63) <= number < 2**64 else float(number)
    if _FLOAT.fullmatch(digits):
        value = float(digits)
        if math.isfinite(value):
            return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return text


def describe(value: Json) -> str:
    """The type of a value in JSON's words, with the value itself where it is short."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"boolean {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"number {value}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if len(value) <= 60 else f"a text of {len(value)} characters"
    return "a list" if isinstance(value, list) else "a mapping"
