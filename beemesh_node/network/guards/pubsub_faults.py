"""One bad gossip message, or a peer that vanishes at the wrong moment, ends gossip and with it the process.

A message whose key cannot be read, a frame that is not protobuf, a validator that raises: each exception travels to the
nursery of the whole service. Guarded by dropping the one message, stream or peer that caused it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from beemesh_node.network.guards import Guard

_PAUSE = 1.0
"""Seconds before the router's heart beats again after a fault."""


class ContainedPubsub:
    """Overrides `Pubsub`."""

    contained: Any
    my_id: Any

    async def stream_handler(self, stream: Any) -> None:
        """Read a peer's messages; forget the peer's stream if that fails."""
        try:
            await super().stream_handler(stream)  # type: ignore[misc]
        except Exception:
            self._handle_dead_peer(stream.muxed_conn.peer_id)  # type: ignore[attr-defined]
            raise  # the facade contains it, and resets the stream

    async def push_msg(self, msg_forwarder: Any, msg: Any) -> None:
        """Judge, deliver and pass on a message; drop a peer's that fails."""
        try:
            await super().push_msg(msg_forwarder, msg)  # type: ignore[misc]
        except Exception as error:
            if msg_forwarder == self.my_id:
                raise  # our own message: who publishes must see it
            self.contained("pubsub-faults", error)

    async def _replay_recent_messages(self, peer_id: Any, topic: str) -> None:
        await self._contain(super()._replay_recent_messages, peer_id, topic)  # type: ignore[misc]

    async def _run_announce_retry(self, peer_id: Any, topic_id: str, subscribe: bool) -> None:
        await self._contain(super()._run_announce_retry, peer_id, topic_id, subscribe)  # type: ignore[misc]

    async def handle_sending_messages(self, peer_id: Any, stream: Any, queue: Any) -> None:
        """Send what is queued for a peer until the stream ends."""
        await self._contain(super().handle_sending_messages, peer_id, stream, queue)  # type: ignore[misc]

    async def _contain(self, call: Callable[..., Awaitable[None]], *args: Any) -> None:
        try:
            await call(*args)
        except Exception as error:  # noqa: BLE001
            self.contained("pubsub-faults", error)


class ContainedRouter:
    """Overrides `GossipSub`."""

    contained: Any

    async def flush_pending_messages(self, peer_id: Any) -> None:
        """Send what waited for the peer's stream."""
        try:
            await super().flush_pending_messages(peer_id)  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001
            self.contained("pubsub-faults", error)

    async def on_peer_subscribed(self, peer_id: Any, topic: str) -> None:
        """Take the peer into the topic's mesh."""
        try:
            await super().on_peer_subscribed(peer_id, topic)  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001
            self.contained("pubsub-faults", error)

    async def heartbeat(self) -> None:
        """Tend the topics' meshes for ever."""
        while True:
            try:
                await super().heartbeat()  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001
                self.contained("pubsub-faults", error)
                await trio.sleep(_PAUSE)


PUBSUB_GUARD = Guard(
    "pubsub-faults",
    ContainedPubsub,
    (
        "libp2p.pubsub.pubsub.Pubsub.stream_handler",
        "libp2p.pubsub.pubsub.Pubsub.continuously_read_stream",
        "libp2p.pubsub.pubsub.Pubsub.push_msg",
        "libp2p.pubsub.pubsub.Pubsub._replay_recent_messages",
        "libp2p.pubsub.pubsub.Pubsub._run_announce_retry",
        "libp2p.pubsub.pubsub.Pubsub.handle_sending_messages",
    ),
)
ROUTER_GUARD = Guard(
    "pubsub-faults",
    ContainedRouter,
    (
        "libp2p.pubsub.gossipsub.GossipSub.flush_pending_messages",
        "libp2p.pubsub.gossipsub.GossipSub.on_peer_subscribed",
        "libp2p.pubsub.gossipsub.GossipSub.heartbeat",
    ),
)
