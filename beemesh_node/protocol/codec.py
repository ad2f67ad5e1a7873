"""Frozen dataclasses to FlatBuffers and back.

A class is written as the table of its name in `schemas/`; fields belong together by name. A field may be `str`,
`bytes`, `bool`, an `int` or `float` of the schema's width, an `IntEnum`, another such dataclass or None, a
`tuple[X, ...]` of any of these but None, or `Mapping[str, str]`. That class and schema agree is checked when a class is
first used.

Reading is bounded (see `flatreader`). Writing is not canonical, because FlatBuffers is not: signed bytes are kept as
they are and never written again.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import IntEnum
from typing import Any, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

from flatbuffers import Builder

from beemesh_node.protocol.errors import MalformedError
from beemesh_node.protocol.fieldkinds import (
    BoxedOctets,
    Enumeration,
    Kind,
    Nested,
    Octets,
    Pairs,
    Scalar,
    Sequence,
    Text,
)
from beemesh_node.protocol.flatreader import FlatReader
from beemesh_node.protocol.generated.layout import ENUMS, TABLES

T = TypeVar("T")


def encode(value: object) -> bytes:
    """Return `value`, an instance of a message class, as FlatBuffers.

    Raises:
        TypeError: a field holds another type than it is declared with, or the class has no table.
        ValueError: a number does not fit its width in the schema, or a string is not valid Unicode.
    """
    builder = Builder(256)
    builder.Finish(_codec(type(value)).write(builder, value))
    return bytes(builder.Output())


def decode(cls: type[T], data: bytes) -> T:
    """Read an instance of `cls` from FlatBuffers, whatever the bytes are.

    Time and memory are proportional to `len(data)`, which the caller bounds. A ValueError that the class raises for
    the values it is made of counts as malformed.

    Raises:
        MalformedError: the bytes are not a table of this class.
    """
    reader = FlatReader(data)
    value: T = _codec(cls).read(reader, reader.root())
    return value


class _Codec:
    """Writes and reads the instances of one dataclass."""

    def __init__(self, cls: type[Any]) -> None:
        self._cls = cls
        layout = TABLES.get(cls.__name__)
        if layout is None or not is_dataclass(cls):
            raise TypeError(f"{cls.__name__} is not a dataclass with a table in schemas/*.fbs")
        hints = get_type_hints(cls)
        declared, known = {field.name for field in fields(cls)}, {name for name, _ in layout}
        if declared != known:
            raise TypeError(f"{cls.__name__}: class and schema differ in {', '.join(sorted(declared ^ known))}")
        self._fields: list[tuple[str, str, Kind]] = []
        for name, schema in layout:
            where = f"{cls.__name__}.{name}"
            kind = _kind(hints[name], schema, where)
            if kind.schema != schema:
                raise TypeError(f"{where}: the schema says {schema}, the class {kind.schema}")
            self._fields.append((name, where, kind))
        self._sizes = tuple(kind.size for _, _, kind in self._fields)
        # Wide fields first, as flatc does: no byte is lost to alignment.
        self._order = sorted(range(len(self._sizes)), key=lambda slot: -self._sizes[slot])

    def write(self, builder: Builder, value: Any) -> Any:
        """Write `value` and return its offset."""
        written = [kind.write(builder, getattr(value, name), where) for name, where, kind in self._fields]
        builder.StartObject(len(self._fields))
        for slot in self._order:
            self._fields[slot][2].slot(builder, slot, written[slot])
        return builder.EndObject()

    def read(self, reader: FlatReader, position: int) -> Any:
        """Read the table at `position`."""
        values = {}
        for (name, where, kind), place in zip(self._fields, reader.table(position, self._sizes), strict=True):
            values[name] = kind.read(reader, place, where) if place else kind.absent(where)
        try:
            return self._cls(**values)
        except ValueError as error:
            raise MalformedError(f"{self._cls.__name__}: {error}") from None


_codecs: dict[type[Any], _Codec] = {}


def _codec(cls: type[Any]) -> _Codec:
    codec = _codecs.get(cls)
    if codec is None:
        codec = _codecs[cls] = _Codec(cls)
    return codec


def _kind(hint: Any, schema: str, where: str) -> Kind:
    """Return the kind of field for a type hint; `schema` decides the width of a number."""
    if isinstance(hint, NewType):
        hint = hint.__supertype__
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType) and len(arguments) == 2 and arguments[1] is types.NoneType:
        return _nested(arguments[0], where, optional=True)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        element = BoxedOctets() if arguments[0] is bytes else _kind(arguments[0], schema.strip("[]"), where)
        return Sequence(element)
    if origin is Mapping and arguments == (str, str):
        return Pairs()
    if hint is str:
        return Text()
    if hint is bytes:
        return Octets()
    if hint in (bool, int, float):
        return _scalar(hint, schema, where)
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return _enumeration(hint, where)
    return _nested(hint, where, optional=False)


def _scalar(hint: type, schema: str, where: str) -> Scalar:
    expected = {"b": bool, "f": float}.get(schema[0], int)
    if hint is not expected or (expected is int and "int" not in schema):
        raise TypeError(f"{where}: the schema says {schema}, the class {hint.__name__}")
    return Scalar(schema)


def _enumeration(enum: type[IntEnum], where: str) -> Enumeration:
    scalar, values = ENUMS.get(enum.__name__, ("", ()))
    if dict(values) != {member.name: member.value for member in enum}:
        raise TypeError(f"{where}: class and schema differ in the values of {enum.__name__}")
    return Enumeration(enum, scalar)


def _nested(cls: Any, where: str, *, optional: bool) -> Nested:
    if not (isinstance(cls, type) and is_dataclass(cls)):
        raise TypeError(f"{where}: the codec has no kind of field for {cls}")
    codec = _codec(cls)
    return Nested(cls.__name__, codec.write, codec.read, optional=optional)
