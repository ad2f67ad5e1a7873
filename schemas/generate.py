"""Writes beemesh_node/protocol/generated/layout.py from the schemas: run it after every change of a schema.

    python schemas/generate.py

flatc (Debian: flatbuffers-compiler) parses and checks the schemas and says in its binary reflection which slot and type
every field has; that, and nothing else, is what the codec needs. The Python that flatc itself would emit is not used:
its readers trust every offset, and its text differs from one flatc to the next, while the layout is the same from all.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, TypeVar

from flatbuffers import encode, number_types, packer
from flatbuffers.table import Table

SCHEMAS = Path(__file__).parent
TARGET = SCHEMAS.parent / "beemesh_node" / "protocol" / "generated" / "layout.py"
NAMESPACE = "beemesh."

# reflection.BaseType, by number; the rest (unions, structs, arrays, 64-bit vectors) the codec does not speak.
SCALARS = {
    2: "bool", 3: "int8", 4: "uint8", 5: "int16", 6: "uint16", 7: "int32", 8: "uint32", 9: "int64", 10: "uint64",
    11: "float32", 12: "float64",
}  # fmt: skip
STRING, VECTOR, OBJECT = 13, 14, 15

# Slots of the tables of reflection.fbs that are read here.
SCHEMA_OBJECTS, SCHEMA_ENUMS = 0, 1
NAMED = 0
OBJECT_FIELDS, OBJECT_IS_STRUCT = 1, 2
FIELD_TYPE, FIELD_ID = 1, 2
TYPE_BASE, TYPE_ELEMENT, TYPE_INDEX = 0, 1, 2
ENUM_VALUES, ENUM_IS_UNION, ENUM_TYPE = 1, 2, 3
ENUM_VALUE = 1

Layout = tuple[dict[str, tuple[tuple[str, str], ...]], dict[str, tuple[str, tuple[tuple[str, int], ...]]]]


T = TypeVar("T")


class SchemaError(Exception):
    """A schema uses what the codec does not speak."""


class Node(Table):  # type: ignore[misc]  # flatbuffers has no types
    """A table of flatc's reflection. The file comes from our own flatc, so that its offsets may be trusted."""

    def text(self, slot: int) -> str:
        """Return a string field."""
        return str(self.String(self.Pos + self.Offset(4 + 2 * slot)).decode())

    def number(self, slot: int, flags: Any, default: int) -> int:
        """Return a scalar field."""
        return int(self.GetSlot(4 + 2 * slot, default, flags))

    def child(self, slot: int) -> "Node":
        """Return a table field."""
        return Node(self.Bytes, self.Indirect(self.Pos + self.Offset(4 + 2 * slot)))

    def children(self, slot: int) -> list["Node"]:
        """Return a vector of tables."""
        offset = self.Offset(4 + 2 * slot)
        if offset == 0:
            return []
        start = self.Vector(offset)
        return [Node(self.Bytes, self.Indirect(start + 4 * index)) for index in range(self.VectorLen(offset))]


def local(name: str) -> str:
    """Return a name without the namespace that all schemas share."""
    if not name.startswith(NAMESPACE):
        raise SchemaError(f"{name}: every table and enum belongs to the namespace {NAMESPACE.rstrip('.')}")
    return name.removeprefix(NAMESPACE)


def type_name(field: Node, objects: list[str], enums: list[str], where: str) -> str:
    """Return a field's type as the layout writes it: uint32, string, Table, [Table]."""
    kind = field.child(FIELD_TYPE)
    base, element = (
        kind.number(TYPE_BASE, number_types.Uint8Flags, 0),
        kind.number(TYPE_ELEMENT, number_types.Uint8Flags, 0),
    )
    index = kind.number(TYPE_INDEX, number_types.Int32Flags, -1)

    def single(code: int) -> str:
        if code in SCALARS:
            return enums[index] if index >= 0 else SCALARS[code]
        if code == STRING:
            return "string"
        if code == OBJECT:
            return objects[index]
        raise SchemaError(f"{where}: unions, structs and arrays are not supported by the codec")

    return f"[{single(element)}]" if base == VECTOR else single(base)


def read_reflection(data: bytes) -> Layout:
    """Return the tables and enums of one binary schema (.bfbs)."""
    schema = Node(data, encode.Get(packer.uoffset, data, 0))
    object_nodes, enum_nodes = schema.children(SCHEMA_OBJECTS), schema.children(SCHEMA_ENUMS)
    objects, enums = (
        [local(node.text(NAMED)) for node in object_nodes],
        [local(node.text(NAMED)) for node in enum_nodes],
    )
    tables = {}
    for name, node in zip(objects, object_nodes, strict=True):
        if node.number(OBJECT_IS_STRUCT, number_types.BoolFlags, 0):
            raise SchemaError(f"{name}: structs are not supported by the codec")
        fields = sorted(
            node.children(OBJECT_FIELDS), key=lambda field: field.number(FIELD_ID, number_types.Uint16Flags, 0)
        )
        tables[name] = tuple(
            (field.text(NAMED), type_name(field, objects, enums, f"{name}.{field.text(NAMED)}")) for field in fields
        )
    values = {}
    for name, node in zip(enums, enum_nodes, strict=True):
        if node.number(ENUM_IS_UNION, number_types.BoolFlags, 0):
            raise SchemaError(f"{name}: unions are not supported by the codec")
        base = node.child(ENUM_TYPE).number(TYPE_BASE, number_types.Uint8Flags, 0)
        values[name] = (
            SCALARS[base],
            tuple(
                (value.text(NAMED), value.number(ENUM_VALUE, number_types.Int64Flags, 0))
                for value in node.children(ENUM_VALUES)
            ),
        )
    return tables, values


def merge(known: dict[str, T], found: dict[str, T], source: str) -> None:
    """Add what a schema declares; what it includes from another one is already known, and the same."""
    for name, meaning in found.items():
        if known.setdefault(name, meaning) != meaning:
            raise SchemaError(f"{source}: {name} is declared in another schema, and differs")


def read_schemas(flatc: str = "flatc") -> Layout:
    """Run `flatc` over all schemas and return their tables and enums; a name has one meaning in all of them."""
    tables: dict[str, tuple[tuple[str, str], ...]] = {}
    enums: dict[str, tuple[str, tuple[tuple[str, int], ...]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sources = sorted(SCHEMAS.glob("*.fbs"))
        subprocess.run([flatc, "--binary", "--schema", "-o", folder, *sources], check=True)  # noqa: S603  # our own tool
        for source in sources:
            some_tables, some_enums = read_reflection((Path(folder) / f"{source.stem}.bfbs").read_bytes())
            merge(tables, some_tables, source.name)
            merge(enums, some_enums, source.name)
    return tables, enums


def render(layout: Layout) -> str:
    """Return the text of the generated module."""
    tables, enums = layout
    lines = [
        '"""Slots and types of every table of schemas/*.fbs. Written by schemas/generate.py: do not edit."""',
        "",
        "TABLES: dict[str, tuple[tuple[str, str], ...]] = {",
    ]
    for name, fields in sorted(tables.items()):
        if fields:
            lines += [f'    "{name}": (', *(f'        ("{field}", "{kind}"),' for field, kind in fields), "    ),"]
        else:
            lines.append(f'    "{name}": (),')
    lines += ["}", '"""Table -> its fields in the order of their slots."""', ""]
    lines.append("ENUMS: dict[str, tuple[str, tuple[tuple[str, int], ...]]] = {")
    for name, (kind, values) in sorted(enums.items()):
        lines += [f'    "{name}": (', f'        "{kind}",', "        ("]
        lines += [*(f'            ("{value}", {number}),' for value, number in values), "        ),", "    ),"]
    lines += ["}", '"""Enum -> its scalar type and values."""', ""]
    return "\n".join(lines)


def main() -> None:
    """Write the layout."""
    try:
        text = render(read_schemas())
    except FileNotFoundError:
        sys.exit("schemas/generate.py: flatc is missing; install it (Debian: apt-get install flatbuffers-compiler)")
    except (SchemaError, subprocess.CalledProcessError) as error:
        sys.exit(f"schemas/generate.py: {error}")
    TARGET.write_text(text)


if __name__ == "__main__":
    main()
