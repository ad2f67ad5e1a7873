"""Protocols and bounds of messages on the network."""

from __future__ import annotations

from beemesh_node.protocol.frames import MAX_FRAME
from beemesh_node.protocol.header import AudienceKind
from beemesh_node.protocol.policy import MAX_MESSAGE

MESSAGE = "/beemesh/message/1"
"""A stream of one question and its answer, each an envelope in a frame; frames of a sealed stream may follow."""
PRESENCE_TOPIC = "beemesh/presence/1"
"""Gossip of presence, one envelope a message."""

MAX_DIRECT = MAX_MESSAGE[AudienceKind.MEMBER]
MAX_STREAM_FRAME = MAX_FRAME
