"""Every frame of gossip carries its sender's signed address record, the same for hours, and each is verified anew.

In a quiet mesh that is a fifth of what gossip costs. Guarded by remembering what was verified, by its bytes.
"""

import functools

from beemesh_node.network.guards import Substitution
from beemesh_node.network.library import libp2p_parts

with libp2p_parts():
    from libp2p.peer.envelope import consume_envelope
    from libp2p.pubsub import utils

REMEMBERED = 1024
"""Records, of some 200 bytes each."""

SUBSTITUTIONS = (
    Substitution(
        "repeated-records",
        utils,
        "consume_envelope",
        functools.lru_cache(REMEMBERED)(consume_envelope),
        ("libp2p.peer.envelope.consume_envelope", "libp2p.pubsub.utils.maybe_consume_signed_record"),
    ),
)
