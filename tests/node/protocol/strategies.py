"""Hypothesis strategies for every message class, from its type hints and the widths in the schema."""

import dataclasses
import types
from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from beemesh_node.protocol.codec import encode
from beemesh_node.protocol.generated.layout import TABLES
from beemesh_node.protocol.messages import PAYLOADS
from beemesh_node.protocol.record import Record
from beemesh_node.protocol.voters import VoterVote

MESSAGE_CLASSES: tuple[type, ...] = (*(cls for cls, _ in PAYLOADS.values()), Record, VoterVote)

_TEXT = st.text(max_size=12)
_BYTES = st.binary(max_size=40)


@cache
def instances(cls: type) -> st.SearchStrategy[Any]:
    hints, widths = get_type_hints(cls), dict(TABLES[cls.__name__])
    return st.builds(
        cls, **{field.name: _values(hints[field.name], widths[field.name]) for field in dataclasses.fields(cls)}
    )


@cache
def encodings(cls: type) -> st.SearchStrategy[bytes]:
    return instances(cls).map(encode)


def smallest(cls: type) -> Any:
    """The instance that takes the fewest bytes: zeros, empty fields, None."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        hint = get_type_hints(cls)[field.name]
        origin = get_origin(hint)
        if origin is types.UnionType:
            values[field.name] = None
        elif origin is tuple:
            values[field.name] = ()
        elif origin is Mapping:
            values[field.name] = {}
        elif dataclasses.is_dataclass(hint):
            values[field.name] = smallest(hint)
        else:
            values[field.name] = min(hint) if issubclass(hint, IntEnum) else hint()
    return cls(**values)


def _values(hint: Any, width: str) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is types.UnionType:
        return st.none() | instances(arguments[0])
    if origin is tuple:
        return st.lists(_values(arguments[0], width.strip("[]")), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(_TEXT, _TEXT, max_size=3)
    if hint is str:
        return _TEXT
    if hint is bytes:
        return _BYTES
    if hint is bool:
        return st.booleans()
    if hint is int:
        return integers(width)
    if issubclass(hint, IntEnum):
        return st.sampled_from(hint)
    return instances(hint)


def integers(width: str) -> st.SearchStrategy[int]:
    bits = int(width.removeprefix("u").removeprefix("int"))
    if width.startswith("u"):
        return st.integers(0, min(2**bits, 2**63) - 1)
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
