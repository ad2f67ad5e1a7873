"""Kademlia ignores the protocol prefix that it is given, and would speak to nodes of the public IPFS network.

Guarded by putting our protocol id into each of the modules that hold a copy of theirs.
"""

from beemesh_node.network.guards import Substitution
from beemesh_node.network.library import libp2p_parts

with libp2p_parts():
    from libp2p.kad_dht import common, kad_dht, peer_routing, provider_store, value_store

KADEMLIA = "/beemesh/kad/1.0.0"

SUBSTITUTIONS = tuple(
    Substitution("kad-protocol", module, "PROTOCOL_ID", KADEMLIA)
    for module in (common, kad_dht, peer_routing, provider_store, value_store)
)
