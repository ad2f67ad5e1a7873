"""Reads FlatBuffers of which no byte is trusted. The `flatbuffers` runtime has no verifier for Python.

Every offset is checked before it is followed, alignment as the official verifier does. Content may not overlap: tables,
vectors and strings are paid for out of a budget of as many bytes as there are, so that offsets that point at the same
bytes again and again (or at a vector of millions) run dry. A second budget, a unit for every four bytes, pays two units
for a table and one for each field that the schema gives it, present or not: a writer that leaves out no field but None,
as ours does, spends more on each. Time is so proportional to the bytes, and what is read is at most about twelve times
as large in memory.
"""

from struct import Struct
from typing import Final, final

from beemesh_node.protocol.errors import MalformedError

OFFSET_SIZE: Final = 4

_UINT16: Final = Struct("<H")
_UINT32: Final = Struct("<I")
_INT32: Final = Struct("<i")

SPARE_UNITS: Final = 64
"""For fields that a message lacks: those that a later version of its schema added."""


@final
class FlatReader:
    """One buffer and what is left of its budgets. Every method raises `MalformedError` alone."""

    __slots__ = ("_bytes_left", "_data", "_units_left")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._bytes_left = len(data)
        self._units_left = len(data) // 4 + SPARE_UNITS

    def root(self) -> int:
        """Return the position of the root table."""
        if len(self._data) < OFFSET_SIZE:
            raise MalformedError(f"a buffer of {len(self._data)} bytes holds no table")
        return self.follow(0)

    def scalar(self, layout: Struct, position: int) -> bool | int | float:
        """Return the value at `position`, which `table` or `vector` has checked."""
        value: bool | int | float = layout.unpack_from(self._data, position)[0]
        return value

    def follow(self, position: int) -> int:
        """Return where the offset at `position` (already checked) points to: an aligned place with four bytes."""
        target = position + int(_UINT32.unpack_from(self._data, position)[0])
        if target == position or target % OFFSET_SIZE or target + OFFSET_SIZE > len(self._data):
            raise MalformedError(f"the offset at byte {position} leads nowhere")
        return target

    def table(self, position: int, sizes: tuple[int, ...]) -> list[int]:
        """Return the positions of the fields of the table at `position` (from `follow`); 0 for an absent one.

        `sizes` are the inline sizes of the fields in the order of their slots. Slots beyond are left alone: a later
        version of the schema added them.
        """
        data = self._data
        vtable = position - int(_INT32.unpack_from(data, position)[0])
        if vtable < 0 or vtable % 2 or vtable + 4 > len(data):
            raise MalformedError(f"the table at byte {position} has no vtable")
        vtable_size = int(_UINT16.unpack_from(data, vtable)[0])
        table_size = int(_UINT16.unpack_from(data, vtable + 2)[0])
        if vtable_size < 4 or vtable_size % 2 or vtable + vtable_size > len(data):
            raise MalformedError(f"the vtable at byte {vtable} is out of bounds")
        if table_size < OFFSET_SIZE or position + table_size > len(data):
            raise MalformedError(f"the table at byte {position} is out of bounds")
        self._spend(table_size, 2 + len(sizes))
        positions = [0] * len(sizes)
        for slot in range(min(len(sizes), (vtable_size - 4) // 2)):
            offset = int(_UINT16.unpack_from(data, vtable + 4 + 2 * slot)[0])
            if offset == 0:
                continue
            size = sizes[slot]
            if offset < OFFSET_SIZE or offset + size > table_size or (position + offset) % size:
                raise MalformedError(f"field {slot} of the table at byte {position} is out of bounds")
            positions[slot] = position + offset
        return positions

    def vector(self, position: int, size: int) -> range:
        """Return the positions of the elements, of `size` bytes each, of the vector at `position` (from `follow`)."""
        count = int(_UINT32.unpack_from(self._data, position)[0])
        start = position + OFFSET_SIZE
        end = start + count * size
        if end > len(self._data) or (count and start % size):
            raise MalformedError(f"the vector at byte {position} is out of bounds")
        self._spend(end - position)
        return range(start, end, size)

    def octets(self, position: int) -> bytes:
        """Return the vector of bytes at `position` (from `follow`)."""
        content = self.vector(position, 1)
        return self._data[content.start : content.stop]

    def text(self, position: int) -> str:
        """Return the string at `position` (from `follow`)."""
        content = self.vector(position, 1)
        if content.stop >= len(self._data) or self._data[content.stop] != 0:
            raise MalformedError(f"the string at byte {position} does not end")
        self._spend(1)
        try:
            return self._data[content.start : content.stop].decode()
        except UnicodeDecodeError:
            raise MalformedError(f"the string at byte {position} is not UTF-8") from None

    def _spend(self, size: int, units: int = 0) -> None:
        self._bytes_left -= size
        self._units_left -= units
        if self._bytes_left < 0 or self._units_left < 0:
            raise MalformedError("the buffer says more than it holds: its parts overlap, or are left out")
