"""Bursts of gossip are lost: the queues to each peer and to each subscriber hold 32 messages and drop the rest.

Guarded by longer queues. They stay bounded: a peer that reads nothing costs at most so many messages of memory.
"""

import functools

from beemesh_node.network.guards import Substitution
from beemesh_node.network.library import libp2p_parts

with libp2p_parts():
    from libp2p.pubsub import pubsub
    from libp2p.pubsub.rpc_queue import DefaultMaxMessageSize, RpcQueue

QUEUED = 512
"""Messages."""

SUBSTITUTIONS = (
    Substitution("short-queues", pubsub, "SUBSCRIPTION_CHANNEL_SIZE", QUEUED),
    Substitution(
        "short-queues",
        pubsub,
        "RpcQueue",
        functools.partial(RpcQueue, QUEUED, DefaultMaxMessageSize),
        ("libp2p.pubsub.rpc_queue.RpcQueue.__init__", "libp2p.pubsub.pubsub.Pubsub.subscribe"),
    ),
)
