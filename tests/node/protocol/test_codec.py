"""The codec: everything that is written is read again, and hostile bytes are refused at a bounded price."""

import struct
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node.protocol import codec
from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.errors import MalformedError
from beemesh_node.protocol.flatreader import FlatReader
from beemesh_node.protocol.messages import (
    Ack,
    AssignmentReply,
    Bid,
    ClaimRef,
    ClaimReply,
    CommitReply,
    Failure,
    Leaving,
    ListReply,
    ListRequest,
    NoReason,
    RecordQuery,
    Refusal,
    Release,
    Requirements,
    Resource,
    SlotAttempt,
    Task,
)
from tests.node.protocol.strategies import MESSAGE_CLASSES, encodings, instances, smallest

CLAIM = ClaimRef("uid", 3, 0, 1, "machine", "revision")


@pytest.mark.parametrize("cls", MESSAGE_CLASSES, ids=lambda cls: cls.__name__)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_every_message_comes_back_as_it_was(cls: type, data: st.DataObject) -> None:
    value = data.draw(instances(cls))
    assert decode(cls, encode(value)) == value


@settings(max_examples=500, deadline=None)
@given(cls=st.sampled_from(MESSAGE_CLASSES), data=st.binary(max_size=300))
def test_random_bytes_are_malformed_or_harmless(cls: type, data: bytes) -> None:
    _decode_or_refuse(cls, data)


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_mutated_messages_are_malformed_or_harmless(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from(MESSAGE_CLASSES))
    mutated = bytearray(data.draw(encodings(cls)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        # Offsets and lengths are small numbers: other small numbers make them point at other parts.
        mutated[at] = data.draw(st.integers(0, 64) | st.integers(0, 255))
    _decode_or_refuse(cls, bytes(mutated))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_message_of_one_class_read_as_another_is_malformed_or_harmless(data: st.DataObject) -> None:
    written, read = data.draw(st.sampled_from(MESSAGE_CLASSES)), data.draw(st.sampled_from(MESSAGE_CLASSES))
    _decode_or_refuse(read, data.draw(encodings(written)))


def _decode_or_refuse(cls: type, data: bytes) -> None:
    """Whatever is read must be a value that can be written again."""
    try:
        value = decode(cls, data)
    except MalformedError:
        return
    assert decode(cls, encode(value)) == value


def test_cut_short_at_every_byte() -> None:
    data = encode(Release(CLAIM, b"record" * 20, CLAIM))
    for size in range(len(data)):
        with pytest.raises(MalformedError):
            decode(Release, data[:size])


# ---- hostile buffers, made by hand: root offset, vtables, tables and vectors where the attack needs them ------------


def _table(vtable: bytes, body: bytes) -> bytes:
    """A buffer of one table: offset to it, its vtable padded to four bytes, then the table."""
    padded = vtable.ljust(-(-len(vtable) // 4) * 4, b"\0")
    return struct.pack("<I", 4 + len(padded)) + padded + struct.pack("<i", len(padded)) + body


def test_ten_thousand_offsets_to_one_table() -> None:
    shared = struct.pack("<HH", 4, 4) + struct.pack("<i", 4)
    count = 10_000
    offsets = b"".join(struct.pack("<I", 4 * (count - i) + 4) for i in range(count))
    refused_is_slot_1 = struct.pack("<HHHH", 8, 8, 0, 4)
    data = _table(refused_is_slot_1, struct.pack("<I", 4) + struct.pack("<I", count) + offsets + shared)
    with pytest.raises(MalformedError, match="overlap"):
        decode(AssignmentReply, data)


def test_ten_thousand_offsets_to_one_string() -> None:
    text = struct.pack("<I", 1000) + b"x" * 1000 + b"\0"
    count = 10_000
    offsets = b"".join(struct.pack("<I", 4 * (count - i)) for i in range(count))
    warnings_is_slot_4 = struct.pack("<HHHHHHH", 14, 8, 0, 0, 0, 0, 4)
    data = _table(warnings_is_slot_4, struct.pack("<I", 4) + struct.pack("<I", count) + offsets + text)
    with pytest.raises(MalformedError, match="overlap"):
        decode(CommitReply, data)


def test_a_vector_that_says_it_has_four_billion_elements() -> None:
    data = _table(struct.pack("<HHH", 6, 8, 4), struct.pack("<I", 4) + struct.pack("<I", 2**32 - 1) + bytes(64))
    with pytest.raises(MalformedError, match="out of bounds"):
        decode(AssignmentReply, data)


def test_an_offset_back_to_the_table_it_is_in() -> None:
    """Offsets lead forward only (they have no sign), so that nothing contains itself."""
    one_claim = _table(struct.pack("<HHH", 6, 8, 4), struct.pack("<II", 4, 1) + struct.pack("<I", 2**32 - 16))
    with pytest.raises(MalformedError, match="leads nowhere"):
        decode(ClaimReply, one_claim)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "holds no table", id="nothing"),
        pytest.param(b"\0\0\0", "holds no table", id="three bytes"),
        pytest.param(struct.pack("<I", 0) + bytes(8), "leads nowhere", id="root at the root offset"),
        pytest.param(struct.pack("<I", 2**31) + bytes(8), "leads nowhere", id="root outside"),
        pytest.param(struct.pack("<I", 5) + bytes(12), "leads nowhere", id="unaligned root"),
        pytest.param(struct.pack("<Ii", 4, 100), "no vtable", id="vtable before the buffer"),
        pytest.param(struct.pack("<Ii", 4, -100), "no vtable", id="vtable after the buffer"),
        pytest.param(struct.pack("<Ii", 4, 1) + bytes(8), "no vtable", id="unaligned vtable"),
        pytest.param(_table(struct.pack("<HH", 2, 4), b""), "vtable at byte 4 is out", id="vtable too small"),
        pytest.param(_table(struct.pack("<HH", 5, 4), b""), "vtable at byte 4 is out", id="odd vtable"),
        pytest.param(_table(struct.pack("<HH", 2000, 4), b""), "vtable at byte 4 is out", id="vtable beyond the end"),
        pytest.param(_table(struct.pack("<HH", 4, 3), b""), "the table at byte 8 is out", id="table too small"),
        pytest.param(_table(struct.pack("<HH", 4, 2000), b""), "the table at byte 8 is out", id="table beyond the end"),
        pytest.param(
            _table(struct.pack("<HHH", 6, 5, 2), b"\1"), "field 0", id="field over the table's own vtable offset"
        ),
        pytest.param(_table(struct.pack("<HHH", 6, 5, 5), b"\1"), "field 0", id="field beyond its table"),
        pytest.param(_table(struct.pack("<HHH", 6, 5, 4), b"\2"), "neither true nor false", id="bool of 2"),
    ],
)
def test_broken_structure(data: bytes, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        decode(Leaving, data)


def test_an_unaligned_field() -> None:
    with pytest.raises(MalformedError, match="out of bounds"):
        decode(SlotAttempt, _table(struct.pack("<HHH", 6, 12, 6), bytes(8)))


def test_an_unaligned_vector() -> None:
    """Elements of eight bytes begin at multiples of eight; the length of four in front of them need not."""
    reader = FlatReader(struct.pack("<IIQ", 0, 1, 7))
    assert reader.vector(4, 8) == range(8, 16, 8)
    with pytest.raises(MalformedError, match="out of bounds"):
        FlatReader(struct.pack("<IQ", 1, 7)).vector(0, 8)


def _text_field(content: bytes) -> bytes:
    """A RecordQuery whose uid is the given bytes: length, text and terminator."""
    return _table(struct.pack("<HHH", 6, 8, 4), struct.pack("<I", 4) + content)


def test_strings_are_strictly_utf8_and_end() -> None:
    assert decode(RecordQuery, _text_field(struct.pack("<I", 2) + b"ab\0")) == RecordQuery("ab")
    for content in (b"\xff\xfe\0", b"\xed\xa0\x80\0", b"\xc0\xaf\0"):
        with pytest.raises(MalformedError, match="UTF-8"):
            decode(RecordQuery, _text_field(struct.pack("<I", len(content) - 1) + content))
    for content in (b"ab", b"abc"):
        with pytest.raises(MalformedError, match="does not end"):
            decode(RecordQuery, _text_field(struct.pack("<I", 2) + content))


def test_an_integer_beyond_63_bits() -> None:
    """No database and hardly a language holds it."""
    good = encode(ClaimRef("", 2**63 - 1, 0, 0, "", ""))
    assert decode(ClaimRef, good).sequence == 2**63 - 1
    with pytest.raises(MalformedError, match=r"ClaimRef\.sequence"):
        decode(ClaimRef, good.replace(struct.pack("<Q", 2**63 - 1), struct.pack("<Q", 2**63)))


def test_an_unknown_enum_value() -> None:
    assert decode(ListRequest, _table(struct.pack("<HHH", 6, 5, 4), b"\x03")) == ListRequest(Resource.EVENTS)
    with pytest.raises(MalformedError, match=r"ListRequest\.resource: 9 is not a Resource"):
        decode(ListRequest, _table(struct.pack("<HHH", 6, 5, 4), b"\x09"))


def test_a_missing_nested_message() -> None:
    with pytest.raises(MalformedError, match=r"Release\.claim: is missing"):
        decode(Release, encode(Ack()))


def test_absent_fields_are_empty() -> None:
    """What an earlier version of a schema did not have."""
    nothing = encode(Ack())
    assert decode(Requirements, nothing) == Requirements(0, 0)
    assert decode(Failure, nothing) == Failure("", "")
    assert decode(ListReply, nothing) == ListReply()
    assert decode(Bid, nothing) == Bid(b"", 0, 0, 0)


def test_fields_of_a_later_version_are_passed_over() -> None:
    later = encode(Failure("NotFound", "no such machine"))
    assert decode(RecordQuery, later) == RecordQuery("NotFound")


def test_a_key_that_occurs_twice_in_a_mapping() -> None:
    data = encode(Task(b"", "", 0, 0, Requirements(0, 0), "", {"aaaa": "1", "bbbb": "2"}))
    assert decode(Task, data).labels == {"aaaa": "1", "bbbb": "2"}
    with pytest.raises(MalformedError, match="'aaaa' occurs twice"):
        decode(Task, data.replace(b"bbbb", b"aaaa"))


def _tables_of(size: int, slot: int, count: int) -> bytes:
    """A table with one vector of `count` tables of `size` bytes without a field: nothing is denser."""
    vtable = struct.pack(f"<HH{slot + 1}H", 6 + 2 * slot, 8, *[0] * slot, 4)
    offsets = b"".join(struct.pack("<I", 4 * (count - i) + 4 + size * i) for i in range(count))
    tables = b"".join(struct.pack("<i", 4 + size * i) + bytes(size - 4) for i in range(count))
    head = struct.pack("<I", 4) + struct.pack("<I", count)
    return _table(vtable, head + offsets + struct.pack("<HH", 4, size) + tables)


def _peak_of_reading(cls: type, data: bytes) -> int:
    tracemalloc.start()
    try:
        decode(cls, data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [100, 10_000])
def test_reading_takes_memory_in_proportion(count: int) -> None:
    """The densest that passes: sixteen bytes a table, with the offset to it."""
    data = _tables_of(12, slot=1, count=count)
    assert len(decode(AssignmentReply, data).refused) == count
    assert _peak_of_reading(AssignmentReply, data) < 8 * len(data)
    ports = encode(Requirements(0, 0, tuple(range(1000, 1000 + count))))
    assert _peak_of_reading(Requirements, ports) < 14 * len(ports)


@pytest.mark.parametrize(("cls", "slot"), [(AssignmentReply, 1), (ListReply, 3)])
def test_tables_that_leave_out_what_they_should_hold(cls: type, slot: int) -> None:
    """Each would become an object many times as large as its eight bytes."""
    with pytest.raises(MalformedError, match="left out"):
        decode(cls, _tables_of(4, slot, count=1_000))


@pytest.mark.parametrize("cls", MESSAGE_CLASSES, ids=lambda cls: cls.__name__)
def test_the_emptiest_messages_of_our_own_pass(cls: type) -> None:
    """Hundreds of them in a row, with every field at what takes least: the budgets are none for an honest writer."""
    name = f"Many{cls.__name__}"
    many = make_dataclass(name, [("items", tuple[cls, ...])], frozen=True)  # type: ignore[valid-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(codec.TABLES, name, (("items", f"[{cls.__name__}]"),))
        value = many((smallest(cls),) * 200)
        assert decode(many, encode(value)) == value


# ---- our own mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (SlotAttempt(-1, 0), ValueError, "SlotAttempt.slot: -1 does not fit uint32"),
        (SlotAttempt(2**32, 0), ValueError, "does not fit uint32"),
        (ClaimRef("", 2**63, 0, 0, "", ""), ValueError, "does not fit uint64"),
        (SlotAttempt(True, 0), TypeError, "is not of type uint32"),
        (SlotAttempt(1.5, 0), TypeError, "is not of type uint32"),  # type: ignore[arg-type]
        (Leaving(1), TypeError, "is not a bool"),  # type: ignore[arg-type]
        (RecordQuery(b"x"), TypeError, "is not a str"),  # type: ignore[arg-type]
        (RecordQuery("\ud800"), ValueError, "surrogates not allowed"),
        (Release(CLAIM, "text"), TypeError, "is not bytes"),  # type: ignore[arg-type]
        (Release(None, b""), TypeError, "is not ClaimRef"),  # type: ignore[arg-type]
        (AssignmentReply([1], ()), TypeError, "list is not a tuple"),  # type: ignore[arg-type]
        (Refusal(99, ""), ValueError, "is not a NoReason"),  # type: ignore[arg-type]
        (Task(b"", "", 0, 0, Requirements(0, 0), "", ()), TypeError, "is not a mapping"),  # type: ignore[arg-type]
        (object(), TypeError, "is not a dataclass with a table"),
    ],
)
def test_what_does_not_fit_is_not_written(value: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        encode(value)


def test_a_class_that_differs_from_its_schema_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Probe:
        first: int
        second: tuple[bytes, ...] = ()
        third: Mapping[str, str] | None = None

    with pytest.raises(TypeError, match="is not a dataclass with a table"):
        encode(Probe(1))
    for layout, words in (
        ((("first", "uint8"),), "differ in second, third"),
        ((("first", "string"), ("second", "[Bytes]"), ("third", "[KeyValue]")), "schema says string, the class int"),
        ((("first", "float64"), ("second", "[Bytes]"), ("third", "[KeyValue]")), "schema says float64, the class int"),
        ((("first", "uint8"), ("second", "[uint8]"), ("third", "[KeyValue]")), r"schema says \[uint8\], the class"),
        ((("first", "uint8"), ("second", "[Bytes]"), ("third", "[KeyValue]")), "no kind of field"),
    ):
        monkeypatch.setitem(codec.TABLES, "Probe", layout)
        with pytest.raises(TypeError, match=words):
            encode(Probe(1))


@dataclass(frozen=True)
class Sample:
    """Kinds of fields that no message has (yet)."""

    ratio: float
    parts: tuple[bytes, ...]
    reasons: tuple[NoReason, ...]

    def __post_init__(self) -> None:
        if self.ratio > 1:
            raise ValueError("more than the whole")


def test_floats_tuples_of_bytes_and_of_enums(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = (("ratio", "float64"), ("parts", "[Bytes]"), ("reasons", "[NoReason]"))
    monkeypatch.setitem(codec.TABLES, "Sample", layout)
    sample = Sample(0.25, (b"", b"abc"), (NoReason.CPU, NoReason.TAINT))
    assert decode(Sample, encode(sample)) == sample
    with pytest.raises(ValueError, match="does not fit float64"):
        encode(Sample(float("-inf"), (), ()))
    for bad, words in ((float("nan"), "out of range"), (2.0, "Sample: more than the whole")):
        with pytest.raises(MalformedError, match=words):
            decode(Sample, encode(sample).replace(struct.pack("<d", 0.25), struct.pack("<d", bad)))
