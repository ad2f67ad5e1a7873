"""What a message may be: how long, from whom, to whom."""

from collections.abc import Mapping
from typing import Final

from beemesh_node.protocol.header import AudienceKind
from beemesh_node.protocol.messages import DeathNotice, Leaving, Presence

MAX_MESSAGE: Final[Mapping[AudienceKind, int]] = {
    AudienceKind.MEMBER: 3 * 1024 * 1024,
    AudienceKind.EPOCH: 64 * 1024,
}
"""Bytes of a whole message at most, by its audience."""

BROADCAST_PAYLOADS: Final = frozenset({Presence, Leaving, DeathNotice})
"""What may be sent to all members. Everything else is meant for one, and no one may make all act on it."""
