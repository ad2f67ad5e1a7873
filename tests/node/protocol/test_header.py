"""The header is what its table says, byte for byte."""

import pytest

from beemesh_node.protocol.errors import MalformedError
from beemesh_node.protocol.header import HEADER_SIZE, NO_SESSION, AudienceKind, Header, parse_header
from beemesh_node.protocol.ids import Fingerprint, MeshId, SessionId

HEADER = Header(
    0x0102,
    MeshId(b"M" * 32),
    Fingerprint(b"S" * 32),
    AudienceKind.MEMBER,
    b"A" * 32,
    SessionId(b"s" * 16),
    0x0102030405060708,
    b"i" * 16,
    0x0A0B0C0D,
)
PACKED = (
    b"BEEM\x01\x01\x01\x02" + b"M" * 32 + b"S" * 32 + b"\x01" + b"A" * 32 + b"s" * 16
    + bytes(range(1, 9)) + b"i" * 16 + b"\x0a\x0b\x0c\x0d"
)  # fmt: skip


def test_the_layout() -> None:
    assert len(PACKED) == HEADER_SIZE == 149
    assert HEADER.pack() == PACKED
    assert parse_header(PACKED + b"what follows") == HEADER


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (b"", "has no header"),
        (PACKED[:-1], "has no header"),
        (b"BEES" + PACKED[4:], "no message of version"),
        (PACKED[:4] + b"\x02" + PACKED[5:], "no message of version"),
        (PACKED[:5] + b"\x00" + PACKED[6:], "no message of version"),
        (PACKED[:72] + b"\x00" + PACKED[73:], "audience kind 0"),
        (PACKED[:72] + b"\x03" + PACKED[73:], "audience kind 3"),
        (PACKED[:72] + b"\x02" + PACKED[73:], "names a session and an epoch"),
    ],
)
def test_what_is_no_header(packed: bytes, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        parse_header(packed)


def test_an_epoch_has_no_session() -> None:
    packed = PACKED[:72] + b"\x02" + PACKED[73:105] + NO_SESSION + PACKED[121:]
    assert parse_header(packed).audience is AudienceKind.EPOCH
