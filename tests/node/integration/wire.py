"""Looking for words in what was captured: in every packet, and in what the packets of a connection make together."""

from __future__ import annotations

import base64
import struct
from collections import defaultdict
from collections.abc import Iterator

_ETHERNET, _IPV4, _TCP = 14, 0x0800, 6


def encodings(word: str) -> dict[str, bytes]:
    """The byte strings by which a word would show: plain, UTF-16, hexadecimal, base64 at each of its alignments."""
    plain = word.encode()
    found = {"plain": plain, "utf-16-le": word.encode("utf-16-le"), "utf-16-be": word.encode("utf-16-be")}
    found["hexadecimal"] = plain.hex().encode()
    for shift in range(3):
        # The characters at both ends also depend on the neighbours of the word.
        encoded = base64.b64encode(bytes(shift) + plain)
        begin, end = (0, 2, 3)[shift], len(encoded) - (0, 4, 3)[(shift + len(plain)) % 3]
        found[f"base64, shift {shift}"] = encoded[begin + (2 if shift else 0) : end]
    return found


def found_in(data: bytes, words: list[str]) -> list[tuple[str, str]]:
    """Which words occur in `data`, and how."""
    return [(word, how) for word in words for how, pattern in encodings(word).items() if pattern in data]


def streams(capture: bytes) -> dict[tuple[bytes, bytes], bytes]:
    """The bytes of each direction of each TCP connection in a capture, in the order of their sequence numbers."""
    segments: dict[tuple[bytes, bytes], dict[int, bytes]] = defaultdict(dict)
    for packet in _packets(capture):
        if len(packet) < _ETHERNET + 20 or struct.unpack_from(">H", packet, 12)[0] != _IPV4:
            continue
        ip = packet[_ETHERNET:]
        header, (total,) = (ip[0] & 15) * 4, struct.unpack_from(">H", ip, 2)
        if ip[9] != _TCP:
            continue
        tcp = ip[header:total]
        (sequence,), payload = struct.unpack_from(">I", tcp, 4), tcp[(tcp[12] >> 4) * 4 :]
        if payload:
            ends = (ip[12:16] + tcp[0:2], ip[16:20] + tcp[2:4])
            segments[ends][sequence] = payload
    return {ends: b"".join(found[number] for number in sorted(found)) for ends, found in segments.items()}


def _packets(capture: bytes) -> Iterator[bytes]:
    (magic,) = struct.unpack_from("<I", capture)
    assert magic == 0xA1B2C3D4, "no pcap file of this machine's byte order"
    at = 24
    while at + 16 <= len(capture):
        (size,) = struct.unpack_from("<I", capture, at + 8)
        yield capture[at + 16 : at + 16 + size]
        at += 16 + size
