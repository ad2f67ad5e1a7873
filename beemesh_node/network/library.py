"""The one place where libp2p is imported: its core, of the one version whose faults are known here.

Importing this module takes about 0.15 s; `host` does so when a host opens. Gossipsub and Kademlia, which a command's
light host does without, are imported by `gossip` and `kademlia`.
"""

import importlib.metadata
import logging

from beemesh_node.network.slim import libp2p_parts

VERSION = "0.8.1"
"""The guards replace parts of exactly this version; `tests/node/network/test_pins.py` names them."""

if importlib.metadata.version("libp2p") != VERSION:
    raise ImportError(
        f"libp2p {importlib.metadata.version('libp2p')} is installed, the guards of this node fit {VERSION} only: "
        "install the node's locked requirements"
    )

with libp2p_parts():
    import libp2p.transport  # first: libp2p.abc and libp2p.transport import each other
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
    from libp2p.exceptions import BaseLibp2pError
    from libp2p.network import swarm as swarm_module
    from libp2p.network.config import ConnectionConfig, RetryConfig
    from libp2p.network.connection import swarm_connection
    from libp2p.network.connection.exceptions import RawConnError
    from libp2p.network.exceptions import SwarmException
    from libp2p.network.stream.exceptions import StreamEOF
    from libp2p.network.swarm import Swarm
    from libp2p.peer.id import ID
    from libp2p.peer.peerstore import PeerStore, PeerStoreError
    from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectError, ProtocolNotSupportedError
    from libp2p.protocol_muxer.multiselect import MULTISELECT_PROTOCOL_ID as MULTISTREAM
    from libp2p.protocol_muxer.multiselect import Multiselect
    from libp2p.protocol_muxer.multiselect_client import MultiselectClient
    from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
    from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
    from libp2p.security.noise.transport import Transport as NoiseTransport
    from libp2p.stream_muxer.exceptions import MuxedStreamError
    from libp2p.stream_muxer.yamux import yamux
    from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
    from libp2p.stream_muxer.yamux.yamux import Yamux
    from libp2p.tools.anyio_service.context import background_trio_service
    from libp2p.transport.exceptions import MuxerUpgradeFailure, OpenConnectionError
    from libp2p.transport.tcp import tcp as tcp_module
    from libp2p.transport.tcp.tcp import TCP
    from libp2p.transport.upgrader import TransportUpgrader
    from libp2p.utils import encode_delim
    from multiaddr import Multiaddr

# What libp2p logs is written for its own developers: an ordinary disconnection fills a screen at level WARNING.
logging.getLogger("libp2p").setLevel(logging.CRITICAL)

__all__ = [
    "ID",
    "MULTISTREAM",
    "NOISE",
    "TCP",
    "YAMUX",
    "BaseLibp2pError",
    "ConnectionConfig",
    "Multiaddr",
    "Multiselect",
    "MultiselectClient",
    "MultiselectClientError",
    "MultiselectCommunicator",
    "MultiselectError",
    "MuxedStreamError",
    "MuxerUpgradeFailure",
    "NoiseTransport",
    "OpenConnectionError",
    "PeerStore",
    "PeerStoreError",
    "ProtocolNotSupportedError",
    "RawConnError",
    "RetryConfig",
    "StreamEOF",
    "Swarm",
    "SwarmException",
    "TransportUpgrader",
    "Yamux",
    "background_trio_service",
    "create_new_key_pair",
    "create_new_x25519_key_pair",
    "encode_delim",
    "libp2p",
    "libp2p_parts",
    "swarm_connection",
    "swarm_module",
    "tcp_module",
    "yamux",
]
