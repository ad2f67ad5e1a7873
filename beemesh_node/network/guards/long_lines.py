"""A stranger makes us set aside as much memory as it likes: a line of protocol negotiation may say any length.

That is read before anybody is admitted, and noise under another network key looks like a length, too. Guarded by a
bound, as in Go's multistream-select: a line is the name of a protocol.
"""

from typing import Any

from beemesh_node.network.guards import Substitution
from beemesh_node.network.library import libp2p_parts

with libp2p_parts():
    from libp2p.exceptions import ParseError
    from libp2p.protocol_muxer import multiselect_communicator
    from libp2p.utils.varint import read_varint_prefixed_bytes_limited

MAX_LINE = 1024
"""Bytes of a line, its end included."""


async def _read_line(reader: Any) -> bytes:
    line: bytes = await read_varint_prefixed_bytes_limited(reader, MAX_LINE)
    if not line.endswith(b"\n"):
        raise ParseError("a line of protocol negotiation has no end")
    return line[:-1]


SUBSTITUTION = Substitution(
    "long-lines",
    multiselect_communicator,
    "read_delim",
    _read_line,
    (
        "libp2p.protocol_muxer.multiselect_communicator.MultiselectCommunicator.read",
        "libp2p.utils.varint.read_delim",
        "libp2p.utils.varint.read_varint_prefixed_bytes_limited",
    ),
)
