"""Checks an object against the packaged Kubernetes schema and the list of what is supported, in one walk.

Not a general JSON-schema validator: it knows the few keywords that the packaged schema uses (its extraction refuses
others), collects every problem with its path in Kubernetes' notation, knows which definition it is in, and starts in
milliseconds. The tests compare its verdicts with those of the jsonschema package.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from beemesh_node.workloads.errors import MAX_ISSUES, Problems, child
from beemesh_node.workloads.support import HINTS, ONLY, SERVER_SIDE, SUPPORTED, VALUES
from beemesh_node.workloads.values import Json, describe

Node = Mapping[str, Any]

_RANGES = {"int32": 2**31, "int64": 2**63}
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "object": dict,
    "string": str,
}


@cache
def _schema() -> Mapping[str, Any]:
    text = files(__package__).joinpath("kubernetes.json").read_text("utf-8")
    schema: Mapping[str, Any] = json.loads(text)
    return schema


def kinds() -> Mapping[str, str]:
    """`apps/v1 Deployment` -> the name of its definition."""
    known: Mapping[str, str] = _schema()["kinds"]
    return known


def validate(definition: str, value: Json, problems: Problems) -> dict[str, Json]:
    """A copy of `value` without nulls and without what only a server writes.

    Whatever is not as the definition says, or not supported, is added to `problems`; the copy is then of use only for
    finding more of them. Values of a Secret are never repeated in a message.
    """
    walk = _Walk(problems, show_values=definition != "Secret")
    result = walk.object(definition, definition, value, "")
    return result if isinstance(result, dict) else {}


class _Walk:
    def __init__(self, problems: Problems, show_values: bool) -> None:
        self.problems = problems
        self.show_values = show_values
        self.definitions: Mapping[str, Node] = _schema()["$defs"]

    def value(self, node: Node, value: Json, path: str, place: str) -> Json:
        """`value` checked against a schema node; `place` is the `Definition.field` that it stands in."""
        if "$ref" in node:
            definition = node["$ref"].rpartition("/")[2]
            node = self.definitions[definition]
            if "properties" in node:
                return self.object(definition, place, value, path)
        types = [node["type"]] if isinstance(node["type"], str) else node["type"]
        names = [name for name in types if name != "null"]
        if not any(_is(value, name) for name in names):
            self.problems.add(path, f"expected {' or '.join(names)}, got {self.shown(value)}{_advice(names, value)}")
        elif isinstance(value, dict):
            return self.mapping(node, value, path, place)
        elif isinstance(value, list):
            items = node.get("items", {})
            return [self.value(items, item, f"{path}[{index}]", place) for index, item in enumerate(value)]
        else:
            self.scalar(node, value, path, place)
        return value

    def object(self, definition: str, place: str, value: Json, path: str) -> Json:
        """`value` checked against a definition with named fields."""
        if not isinstance(value, dict):
            self.problems.add(path, f"expected object, got {self.shown(value)}")
            return {}
        rules = place if place in SUPPORTED else definition
        fields, supported = self.definitions[definition]["properties"], SUPPORTED.get(rules, frozenset())
        result: dict[str, Json] = {}
        for key, item in value.items():
            at, field = child(path, key), f"{definition}.{key}"
            if key not in fields:
                # A suggestion is dear, and nobody reads it after the first problems.
                hint = _suggest(key, fields) if len(self.problems) < MAX_ISSUES else ""
                self.problems.add(at, f"unknown field{hint}")
            elif item is None or key in SERVER_SIDE.get(rules, ()):
                continue
            elif key not in supported:
                self.problems.add(at, f"not supported{_hint(field)}")
            elif field in ONLY and item not in ONLY[field]:
                choice = " or ".join(json.dumps(word) for word in ONLY[field])
                self.problems.add(at, f"{self.shown(item)} is not supported, only {choice}{_hint(field)}")
            else:
                result[key] = self.value(fields[key], item, at, field)
        for key in self.definitions[definition].get("required", ()):
            if value.get(key) is None:
                self.problems.add(child(path, key), "required, but missing")
        return result

    def mapping(self, node: Node, value: dict[str, Json], path: str, place: str) -> dict[str, Json]:
        """`value` with keys of the user's own; a null is an empty text there, as in Kubernetes."""
        items = node["additionalProperties"]
        return {
            key: self.value(items, "" if item is None else item, f"{path}[{key[:80]}]", place)
            for key, item in value.items()
        }

    def scalar(self, node: Node, value: Json, path: str, place: str) -> None:
        """Bounds, words and encodings, of which the schema knows only some."""
        form = node.get("format")
        words = VALUES.get(place) or node.get("enum")
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            self.problems.add(path, "has half of a surrogate pair, which is no character")
        elif words and value not in words:
            supported = ", ".join(json.dumps(word) for word in words if word != "")
            self.problems.add(path, f"unsupported value {self.shown(value)}: supported values: {supported}")
        elif form in _RANGES and not -_RANGES[form] <= value < _RANGES[form]:
            self.problems.add(path, f"{value} is out of the range of {form}")
        elif form == "byte" and isinstance(value, str):
            try:
                base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
            except (binascii.Error, ValueError):
                self.problems.add(path, "illegal base64 data: encode the value, or give it under stringData")

    def shown(self, value: Json) -> str:
        """The value for a message, or only its type where it may be secret."""
        if self.show_values or not isinstance(value, (str, int, float)):
            return describe(value)
        return "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"


def _is(value: Json, name: str) -> bool:
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _advice(names: list[str], value: Json) -> str:
    if "string" in names and isinstance(value, (bool, int, float)):
        return ": put it in quotes"
    return ""


def _hint(field: str) -> str:
    return f": {HINTS[field]}" if field in HINTS else ""


def _suggest(key: str, fields: Mapping[str, Node]) -> str:
    folded = {name.lower(): name for name in fields}
    close = difflib.get_close_matches(key[:80].lower(), folded, n=1, cutoff=0.75)
    return f' (did you mean "{folded[close[0]]}"?)' if close else ""
