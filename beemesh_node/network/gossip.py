"""Gossipsub as this node runs it. Imports libp2p; see `library`."""

import secrets
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import trio

from beemesh_node.network.api import FrameTooLarge, Gossip, Limits, Validator, Verdict
from beemesh_node.network.backoff import TokenBucket
from beemesh_node.network.counting import Counters
from beemesh_node.network.facade import HostFacade
from beemesh_node.network.guards import (
    dead_gossip_streams,
    delivery_log,
    double_registration,
    guarded,
    pubsub_faults,
    repeated_records,
    short_queues,
    substitute,
)
from beemesh_node.network.guards.steady_clock import steady
from beemesh_node.network.library import background_trio_service, libp2p_parts
from beemesh_node.protocol.ids import PeerId

with libp2p_parts():
    from libp2p.exceptions import ValidationError
    from libp2p.pubsub import gossipsub, pubsub
    from libp2p.pubsub.gossipsub import GossipSub
    from libp2p.pubsub.pb.rpc_pb2 import RPC
    from libp2p.pubsub.pubsub import Pubsub
    from libp2p.tools.timed_cache import base_timed_cache, last_seen_cache

PUBSUB_GUARDS = (pubsub_faults.PUBSUB_GUARD, double_registration.GUARD, dead_gossip_streams.GUARD)
ROUTER_GUARDS = (pubsub_faults.ROUTER_GUARD, delivery_log.GUARD)
SUBSTITUTIONS = (
    *short_queues.SUBSTITUTIONS,
    *repeated_records.SUBSTITUTIONS,
    *steady(pubsub, gossipsub, base_timed_cache, last_seen_cache),
)

_PROTOCOL = "/meshsub/1.1.0"
_DEGREE = (4, 3, 8)
"""Peers to which a message is passed on: aimed at, least, most. (The library's six bring each message five times.)"""
_JUDGEMENT = 5.0
"""Seconds that a validator may take."""
_PARALLEL_JUDGEMENTS = 32
_TOPICS = 64
"""Topics that one peer may subscribe to."""
_RPC = 1 << 20
"""Bytes of one gossipsub frame, which may carry several messages."""

Judge = Callable[[str, bytes, PeerId], Any]


class JudgedPubsub(Pubsub):  # type: ignore[misc]
    """Pubsub whose messages are judged, and delivered, by the node.

    The library's own validation remembers every verdict by message id, so that what was only ignored once is refused
    for minutes; and it delivers a message twice that arrives again while it is judged.
    """

    def __init__(self, *args: Any, judge: Judge, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._judge = judge
        self._in_judgement: set[bytes] = set()
        self.counter = secrets.randbits(62)  # message ids must differ from those of this peer's earlier lives

    async def validate_msg(self, msg_forwarder: Any, msg: Any) -> None:
        """Judge and deliver; raises ValidationError for what must not be passed on."""
        if msg_forwarder == self.my_id:
            return
        message_id = self.get_message_id(msg)
        if message_id in self._in_judgement:
            raise ValidationError("already being judged")
        self._in_judgement.add(message_id)
        try:
            topic = msg.topicIDs[0] if len(msg.topicIDs) == 1 else ""
            accepted = msg.from_id != self.my_id.to_bytes() and await self._judge(
                topic, msg.data, PeerId(str(msg_forwarder))
            )
        finally:
            self._in_judgement.discard(message_id)
        if not accepted:
            raise ValidationError("not accepted")

    def notify_subscriptions(self, publish_message: Any) -> None:
        """Do nothing: what is accepted has been delivered."""

    def resubscribe(self, peer_id: Any, topic: str) -> None:
        """Take it that the peer still subscribes to `topic`."""
        self.handle_subscription(peer_id, RPC.SubOpts(subscribe=True, topicid=topic))


class Gossiper:
    """One life's part in gossip."""

    def __init__(
        self,
        facade: HostFacade,
        limits: Limits,
        counters: Counters,
        blame: Callable[[PeerId], None],
        without: Collection[str],
    ) -> None:
        substitute(SUBSTITUTIONS, without)
        self._limits = limits
        self._counters = counters
        self._blame = blame
        self._validators: dict[str, Validator] = {}
        self._deliver: dict[str, Callable[[Gossip], None]] = {}
        self._rejections: dict[PeerId, TokenBucket] = {}
        self._judging = trio.CapacityLimiter(_PARALLEL_JUDGEMENTS)
        self._router = guarded(GossipSub, ROUTER_GUARDS, counters, without)(
            [_PROTOCOL],
            *_DEGREE,
            heartbeat_interval=1,
            spam_protection_enabled=False,  # it counts our own messages too, and silences us at ten a second
            eclipse_protection_enabled=False,  # whoever is here is a member
            adaptive_gossip_enabled=False,
        )
        self._pubsub = guarded(JudgedPubsub, PUBSUB_GUARDS, counters, without)(
            facade,
            self._router,
            judge=self._judge,
            strict_signing=True,
            max_inbound_rpc_size=_RPC,
            max_subscriptions_per_rpc=_TOPICS,
            max_subscriptions_per_peer=_TOPICS,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Gossip for the length of the block."""
        async with background_trio_service(self._pubsub), background_trio_service(self._router):
            await self._pubsub.wait_until_ready()
            yield

    async def subscribe(self, topic: str, validate: Validator, deliver: Callable[[Gossip], None]) -> None:
        """Take part in `topic`; `deliver` gets what `validate` accepts."""
        self._validators[topic] = validate
        self._deliver[topic] = deliver
        await self._pubsub.subscribe(topic)

    async def unsubscribe(self, topic: str) -> None:
        """Leave `topic`."""
        self._validators.pop(topic, None)
        self._deliver.pop(topic, None)
        await self._pubsub.unsubscribe(topic)

    async def publish(self, topic: str, data: bytes) -> None:
        """Send a message; raises FrameTooLarge."""
        if len(data) > self._limits.gossip_message:
            raise FrameTooLarge(
                f"a gossip message has at most {self._limits.gossip_message} bytes, this one {len(data)}"
            )
        await self._pubsub.publish(topic, data)

    def connection_lost(self, peer_id: Any, connection: Any) -> None:
        """A peer's admitted connection was lost; another may live."""
        follow = getattr(self._pubsub, "connection_lost", None)
        if follow is not None:  # absent only where a test leaves the guard out
            follow(peer_id, connection)

    async def _judge(self, topic: str, data: bytes, forwarder: PeerId) -> bool:
        validate = self._validators.get(topic)
        if validate is None:
            return False
        verdict = Verdict.REJECT
        if len(data) <= self._limits.gossip_message:
            verdict = Verdict.IGNORE
            async with self._judging:
                with trio.move_on_after(_JUDGEMENT):
                    try:
                        verdict = await validate(data, forwarder)
                    except Exception as error:  # noqa: BLE001
                        self._counters.contain("gossip-validator", error)
        if verdict is Verdict.REJECT:
            self._reject(forwarder)
        if verdict is not Verdict.ACCEPT or topic not in self._deliver:
            return False
        self._deliver[topic](Gossip(data, forwarder))
        return True

    def _reject(self, forwarder: PeerId) -> None:
        self._counters.refuse("gossip", forwarder)
        now = trio.current_time()
        bucket = self._rejections.get(forwarder)
        if bucket is None:
            for known in [known for known, other in self._rejections.items() if other.full(now)]:
                del self._rejections[known]
            allowed = float(self._limits.gossip_rejections)
            bucket = self._rejections[forwarder] = TokenBucket(allowed / 60.0, allowed)
        if not bucket.take(now):
            self._blame(forwarder)
