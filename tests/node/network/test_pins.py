"""The library's functions that are replaced or relied on are those that were read: an upgrade fails here, loudly."""

import hashlib
import importlib
import inspect
import json
from pathlib import Path
from typing import Any

from beemesh_node.network import gossip, kademlia, life
from beemesh_node.network.guards import Guard, Substitution
from beemesh_node.network.guards.receive_window import window_limit

PINS = Path(__file__).with_name("pins.json")
OVERRIDDEN = (
    "libp2p.network.swarm.Swarm.__init__",
    "libp2p.network.swarm.Swarm._schedule_auto_connect",
    "libp2p.network.swarm.Swarm._schedule_prune",
    "libp2p.network.swarm.Swarm.dial_addr",
    "libp2p.network.swarm.Swarm.dial_peer",
    "libp2p.network.swarm.Swarm.notify_connected",
    "libp2p.network.swarm.Swarm.remove_conn",
    "libp2p.network.swarm.Swarm.run",
    "libp2p.pubsub.pubsub.Pubsub.__init__",
    "libp2p.pubsub.pubsub.Pubsub.notify_subscriptions",
    "libp2p.pubsub.pubsub.Pubsub.validate_msg",
    "libp2p.security.pnet.psk_conn.PskConn",
    "libp2p.stream_muxer.muxer_multistream.MuxerMultistream.new_conn",
    "libp2p.transport.tcp.tcp.TCP.create_listener",
    "libp2p.transport.upgrader.TransportUpgrader.upgrade_connection",
    "libp2p.kad_dht.peer_routing.PeerRouting._query_peer_for_closest",
    "libp2p.kad_dht.provider_store.ProviderStore._get_providers_from_peer_with_closers",
)
"""Overridden by the node's own classes, or private and called by them."""


def all_guards() -> list[Guard | Substitution]:
    return [
        *life.MUXER_GUARDS,
        *life.SWARM_GUARDS,
        *life.FACADE_GUARDS,
        *life.STORE_GUARDS,
        *life.SUBSTITUTIONS,
        window_limit(1),
        *gossip.PUBSUB_GUARDS,
        *gossip.ROUTER_GUARDS,
        *gossip.SUBSTITUTIONS,
        *kademlia.SUBSTITUTIONS,
    ]


def named(dotted: str) -> Any:
    parts = dotted.split(".")
    for split in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for part in parts[split:]:
            found = vars(found)[part]
        return found
    raise AssertionError(f"{dotted} does not exist any more")


def pins() -> dict[str, str]:
    for guard in all_guards():
        if isinstance(guard, Substitution):
            guard.undo()  # hosts of other tests put them in place; the next host does so again
    names = {name for guard in all_guards() for name in guard.replaces} | set(OVERRIDDEN)
    return {name: hashlib.sha256(inspect.getsource(named(name)).encode()).hexdigest() for name in sorted(names)}


def test_the_library_is_the_one_that_was_read() -> None:
    assert pins() == json.loads(PINS.read_text())


def test_every_overridden_method_is_pinned() -> None:
    pinned = set(json.loads(PINS.read_text()))
    bases = {
        **dict.fromkeys(life.MUXER_GUARDS, "libp2p.stream_muxer.yamux.yamux.Yamux"),
        **dict.fromkeys(life.STORE_GUARDS, "libp2p.peer.peerstore.PeerStore"),
        **dict.fromkeys(gossip.PUBSUB_GUARDS, "libp2p.pubsub.pubsub.Pubsub"),
        **dict.fromkeys(gossip.ROUTER_GUARDS, "libp2p.pubsub.gossipsub.GossipSub"),
        **dict.fromkeys(life.SWARM_GUARDS, "libp2p.network.swarm.Swarm"),
    }
    for guard, base in bases.items():
        for method in vars(guard.mixin):
            if inspect.isfunction(vars(guard.mixin)[method]) and method in vars(named(base)):
                assert f"{base}.{method}" in pinned, f"{guard.name} overrides {base}.{method}, which is not pinned"


def test_every_guard_has_a_test_that_leaves_it_out() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for guard in all_guards():
        assert f'"{guard.name}"' in tests, f"no test shows the fault that {guard.name} guards against"
