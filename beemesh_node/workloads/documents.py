"""Bytes to plain data: YAML or JSON, one or many documents, read as kubectl reads them.

Everything here is bounded, because the bytes may come from anywhere: size, depth, and the number of values after
aliases are expanded.
"""

from __future__ import annotations

import json
import math
import re

from beemesh_node.workloads.composer import Composer, compose
from beemesh_node.workloads.errors import Issue, ManifestError
from beemesh_node.workloads.scalars import whole
from beemesh_node.workloads.values import MAX_DEPTH, MAX_VALUES, TOO_DEEP, TOO_MANY, Json, RefusedError

MAX_MANIFEST = 4 * 1024 * 1024
"""Bytes of one input. Callers look at a file's size before they read it."""

_VISIBLE = re.compile(r"\S")


def check_size(size: int, source: str) -> None:
    """Raise `ManifestError` for an input of `size` bytes that is too large to be read."""
    if size > MAX_MANIFEST:
        raise _error(f"larger than {MAX_MANIFEST:,} bytes: no manifest is; split it into several files", source)


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
        composer = Composer()
        try:
            documents = compose(text, composer)
        except RefusedError as error:
            raise _error(str(error), source, composer.number) from None
    found = [(number, document) for number, document in enumerate(documents, 1) if document is not None]
    if not found:
        raise _error("no manifest in it: it is empty, or has only comments", source)
    return found


def _error(message: str, source: str, document: int = 0) -> ManifestError:
    return ManifestError((Issue(message, source=f"{source}: document {document}" if document else source),))


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise RefusedError(f'the key "{name[:80]}" stands twice in one mapping: keep one')
            seen.add(name)
    return result


def _number(text: str) -> int | float:
    value = float(text)
    if not math.isfinite(value):
        raise RefusedError(f"{text[:40]} is no number that a manifest can hold: give a finite one")
    return whole(value)


def _read_json(text: str, source: str) -> list[Json] | None:
    """The JSON documents of `text`, or None when it is no JSON (a YAML flow mapping may be)."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_number, parse_float=_number)
    documents: list[Json] = []
    position, budget = 0, MAX_VALUES
    try:
        while match := _VISIBLE.search(text, position):
            document, position = decoder.raw_decode(text, match.start())
            budget = _spend(document, budget)
            documents.append(document)
    except RefusedError as error:
        raise _error(str(error), source, len(documents) + 1) from None
    except RecursionError:
        raise _error(TOO_DEEP, source, len(documents) + 1) from None
    except ValueError:
        return None
    return documents


def _spend(document: Json, budget: int) -> int:
    level = [document]
    for _ in range(MAX_DEPTH + 1):
        budget -= len(level)
        if budget < 0:
            raise RefusedError(TOO_MANY)
        level = [
            value
            for container in level
            if isinstance(container, (dict, list))
            for value in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return budget
    raise RefusedError(TOO_DEEP)
