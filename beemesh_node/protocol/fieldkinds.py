"""How one field of a message is written to and read from FlatBuffers: one class for each kind of field.

`write` puts content that stands apart (strings, vectors, tables) into the builder and returns its offset, or checks a
scalar and returns it; `slot` and `push` then place that in a table or vector. Tables and vectors do not nest while they
are built, hence the two steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import IntEnum
from struct import Struct
from types import MappingProxyType
from typing import Any, Protocol, final

from flatbuffers import Builder

from beemesh_node.protocol.errors import MalformedError
from beemesh_node.protocol.flatreader import OFFSET_SIZE, FlatReader

MAX_INTEGER = 2**63 - 1
"""The greatest integer in a message, also where the schema says uint64: databases and other languages stop there."""

_FORMATS = {
    "bool": "<B",
    "int8": "<b",
    "uint8": "<B",
    "int16": "<h",
    "uint16": "<H",
    "int32": "<i",
    "uint32": "<I",
    "int64": "<q",
    "uint64": "<Q",
    "float32": "<f",
    "float64": "<d",
}


class Kind(Protocol):
    """A kind of field. `where` names the field in errors."""

    @property
    def schema(self) -> str:
        """The type that the schema must give the field."""
        ...

    @property
    def size(self) -> int:
        """Bytes that it takes in a table or vector, which is also its alignment."""
        ...

    def write(self, builder: Builder, value: Any, where: str) -> Any:
        """Check `value` and return what `slot` and `push` place; raises ValueError or TypeError."""
        ...

    def slot(self, builder: Builder, number: int, written: Any) -> None:
        """Place what `write` returned in the table being built."""
        ...

    def push(self, builder: Builder, written: Any) -> None:
        """Place what `write` returned in front of the vector being built."""
        ...

    def read(self, reader: FlatReader, position: int, where: str) -> Any:
        """Return the value at `position`; raises MalformedError."""
        ...

    def absent(self, where: str) -> Any:
        """Return what a field that is not there means; raises MalformedError if it must be."""
        ...


@final
class Scalar:
    """`bool`, `int` or `float` of the schema's width. Floats are finite."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.layout = Struct(_FORMATS[schema])
        self.size = self.layout.size
        self._float = schema.startswith("float")
        self._slot, self._push = f"Prepend{schema.capitalize()}Slot", f"Prepend{schema.capitalize()}"
        bits = 8 * self.size
        self._range = (
            (0, min(2**bits - 1, MAX_INTEGER)) if schema[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        )

    def write(self, builder: Builder, value: Any, where: str) -> bool | int | float:
        """See `Kind.write`."""
        if self.schema == "bool":
            if not isinstance(value, bool):
                raise TypeError(f"{where}: {value!r} is not a bool")
            return value
        if isinstance(value, bool) or not isinstance(value, (int, float) if self._float else int):
            raise TypeError(f"{where}: {value!r} is not of type {self.schema}")
        if not (math.isfinite(value) if self._float else self._range[0] <= value <= self._range[1]):
            raise ValueError(f"{where}: {value} does not fit {self.schema}")
        return value

    def slot(self, builder: Builder, number: int, written: Any) -> None:
        """See `Kind.slot`. Without a default it is written whatever its value, as the reader's budget expects."""
        getattr(builder, self._slot)(number, written, None)

    def push(self, builder: Builder, written: Any) -> None:
        """See `Kind.push`."""
        getattr(builder, self._push)(written)

    def read(self, reader: FlatReader, position: int, where: str) -> bool | int | float:
        """See `Kind.read`."""
        value = reader.scalar(self.layout, position)
        if self.schema == "bool":
            if value > 1:
                raise MalformedError(f"{where}: {value} is neither true nor false")
            return bool(value)
        if value > MAX_INTEGER or (self._float and not math.isfinite(value)):
            raise MalformedError(f"{where}: {value} is out of range")
        return value

    def absent(self, where: str) -> bool | int | float:
        """See `Kind.absent`."""
        if self.schema == "bool":
            return False
        return 0.0 if self._float else 0


@final
class Enumeration:
    """An `IntEnum`: a scalar of which only the known values are values."""

    def __init__(self, enum: type[IntEnum], scalar: str) -> None:
        self.schema = enum.__name__
        self._scalar = Scalar(scalar)
        self.size = self._scalar.size
        self._members: dict[int, IntEnum] = {int(member): member for member in enum}
        self.slot, self.push = self._scalar.slot, self._scalar.push

    def write(self, builder: Builder, value: Any, where: str) -> int:
        """See `Kind.write`."""
        if value not in self._members:
            raise ValueError(f"{where}: {value!r} is not a {self.schema}")
        return int(value)

    def read(self, reader: FlatReader, position: int, where: str) -> IntEnum:
        """See `Kind.read`."""
        return self._member(int(self._scalar.read(reader, position, where)), where)

    def absent(self, where: str) -> IntEnum:
        """See `Kind.absent`."""
        return self._member(0, where)

    def _member(self, value: int, where: str) -> IntEnum:
        member = self._members.get(value)
        if member is None:
            raise MalformedError(f"{where}: {value} is not a {self.schema}")
        return member


class Reference:
    """What stands apart from its table, which holds an offset to it."""

    size = OFFSET_SIZE
    empty: Any = None
    """What it means that there is no offset."""

    def slot(self, builder: Builder, number: int, written: Any) -> None:
        """See `Kind.slot`."""
        if written is not None:
            builder.PrependUOffsetTRelativeSlot(number, written, 0)

    def push(self, builder: Builder, written: Any) -> None:
        """See `Kind.push`."""
        builder.PrependUOffsetTRelative(written)

    def absent(self, where: str) -> Any:
        """See `Kind.absent`."""
        return self.empty


@final
class Text(Reference):
    """`str`, strictly UTF-8."""

    schema = "string"
    empty = ""

    def write(self, builder: Builder, value: Any, where: str) -> Any:
        """See `Kind.write`."""
        if not isinstance(value, str):
            raise TypeError(f"{where}: {value!r} is not a str")
        return builder.CreateString(value)

    def read(self, reader: FlatReader, position: int, where: str) -> str:
        """See `Kind.read`."""
        return reader.text(reader.follow(position))


@final
class Octets(Reference):
    """`bytes`."""

    schema = "[uint8]"
    empty = b""

    def write(self, builder: Builder, value: Any, where: str) -> Any:
        """See `Kind.write`."""
        if not isinstance(value, bytes):
            raise TypeError(f"{where}: {type(value).__name__} is not bytes")
        return builder.CreateByteVector(value)

    def read(self, reader: FlatReader, position: int, where: str) -> bytes:
        """See `Kind.read`."""
        return reader.octets(reader.follow(position))


@final
class BoxedOctets(Reference):
    """An element of `tuple[bytes, ...]`: a table `Bytes` around each, since FlatBuffers does not nest vectors."""

    schema = "Bytes"
    empty = b""

    def write(self, builder: Builder, value: Any, where: str) -> Any:
        """See `Kind.write`."""
        content = Octets().write(builder, value, where)
        builder.StartObject(1)
        builder.PrependUOffsetTRelativeSlot(0, content, 0)
        return builder.EndObject()

    def read(self, reader: FlatReader, position: int, where: str) -> bytes:
        """See `Kind.read`."""
        (content,) = reader.table(reader.follow(position), (OFFSET_SIZE,))
        return reader.octets(reader.follow(content)) if content else b""


@final
class Sequence(Reference):
    """`tuple[X, ...]`."""

    empty = ()

    def __init__(self, element: Kind) -> None:
        self._element = element
        self.schema = f"[{element.schema}]"

    def write(self, builder: Builder, value: Any, where: str) -> Any:
        """See `Kind.write`."""
        if not isinstance(value, tuple):
            raise TypeError(f"{where}: {type(value).__name__} is not a tuple")
        written = [self._element.write(builder, item, where) for item in value]
        builder.StartVector(self._element.size, len(written), self._element.size)
        for item in reversed(written):
            self._element.push(builder, item)
        return builder.EndVector()

    def read(self, reader: FlatReader, position: int, where: str) -> tuple[Any, ...]:
        """See `Kind.read`."""
        places = reader.vector(reader.follow(position), self._element.size)
        return tuple([self._element.read(reader, place, where) for place in places])


@final
class Pairs(Reference):
    """`Mapping[str, str]`: a vector of tables `KeyValue` in the order of their keys, each key once."""

    schema = "[KeyValue]"
    empty: Mapping[str, str] = MappingProxyType({})

    def write(self, builder: Builder, value: Any, where: str) -> Any:
        """See `Kind.write`."""
        if not isinstance(value, Mapping):
            raise TypeError(f"{where}: {type(value).__name__} is not a mapping")
        written = []
        text = Text()
        for key in sorted(value):
            first, second = text.write(builder, key, where), text.write(builder, value[key], where)
            builder.StartObject(2)
            text.slot(builder, 0, first)
            text.slot(builder, 1, second)
            written.append(builder.EndObject())
        builder.StartVector(OFFSET_SIZE, len(written), OFFSET_SIZE)
        for item in reversed(written):
            builder.PrependUOffsetTRelative(item)
        return builder.EndVector()

    def read(self, reader: FlatReader, position: int, where: str) -> dict[str, str]:
        """See `Kind.read`."""
        found: dict[str, str] = {}
        for place in reader.vector(reader.follow(position), OFFSET_SIZE):
            key_at, value_at = reader.table(reader.follow(place), (OFFSET_SIZE, OFFSET_SIZE))
            key = reader.text(reader.follow(key_at)) if key_at else ""
            if key in found:
                raise MalformedError(f"{where}: the key {key!r} occurs twice")
            found[key] = reader.text(reader.follow(value_at)) if value_at else ""
        return found


@final
class Nested(Reference):
    """Another dataclass. `optional`: None is no table at all."""

    def __init__(
        self,
        schema: str,
        write: Callable[[Builder, Any], Any],
        read: Callable[[FlatReader, int], Any],
        *,
        optional: bool,
    ) -> None:
        self.schema = schema
        self._write, self._read, self._optional = write, read, optional

    def write(self, builder: Builder, value: Any, where: str) -> Any:
        """See `Kind.write`."""
        if value is None and self._optional:
            return None
        if type(value).__name__ != self.schema:
            raise TypeError(f"{where}: {type(value).__name__} is not {self.schema}")
        return self._write(builder, value)

    def read(self, reader: FlatReader, position: int, where: str) -> Any:
        """See `Kind.read`."""
        return self._read(reader, reader.follow(position))

    def absent(self, where: str) -> None:
        """See `Kind.absent`."""
        if not self._optional:
            raise MalformedError(f"{where}: is missing")
