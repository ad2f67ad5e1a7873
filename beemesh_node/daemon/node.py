"""The daemon: every part made, joined and supervised. Nothing is decided here."""

from __future__ import annotations

import importlib
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import structlog
import trio

from beemesh_node import __version__
from beemesh_node.crypto import use_provider
from beemesh_node.crypto.errors import CryptoError
from beemesh_node.daemon.acquaintances import Acquaintances
from beemesh_node.daemon.ballots import Ballots
from beemesh_node.daemon.beats import Beats
from beemesh_node.daemon.config import DaemonConfig
from beemesh_node.daemon.decisions import Decisions
from beemesh_node.daemon.enrolment import EnrolmentError, load_membership
from beemesh_node.daemon.labelling import LabelDesk
from beemesh_node.daemon.lease_questions import LeaseQuestions
from beemesh_node.daemon.listing import Listing
from beemesh_node.daemon.local_socket import LocalSocketError, bind_local_socket, serve_local_socket
from beemesh_node.daemon.logs import configure_logs
from beemesh_node.daemon.maintenance import MaintenanceDesk
from beemesh_node.daemon.member import LocalMachine
from beemesh_node.daemon.metrics.http import MetricsServer
from beemesh_node.daemon.metrics.sources import Sources
from beemesh_node.daemon.notify import ServiceManager
from beemesh_node.daemon.peers import Peers
from beemesh_node.daemon.performer import Performer
from beemesh_node.daemon.pods import Pods
from beemesh_node.daemon.presence import PresenceService
from beemesh_node.daemon.providing import BlockProvider
from beemesh_node.daemon.questions import Questions
from beemesh_node.daemon.registry import Registry
from beemesh_node.daemon.self_description import SelfDescription
from beemesh_node.daemon.state_key import StateKeyError, state_key
from beemesh_node.daemon.store import CLAIMS, Store, StoreError, next_life, next_start
from beemesh_node.daemon.streams import Streams
from beemesh_node.daemon.trusting import TrustDesk
from beemesh_node.daemon.ways import Ways
from beemesh_node.healing.config import Config
from beemesh_node.healing.core import Core
from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.effects import HeldClaim
from beemesh_node.healing.events import Adopted, DeclarationStored, RecordErased, Restarting, TimeSet
from beemesh_node.membership.cadence import WATCHED_LEAST
from beemesh_node.messaging.exchange import Exchange
from beemesh_node.messaging.gatekeeper import MemberGatekeeper
from beemesh_node.network.api import Host, HostConfig, NetworkError
from beemesh_node.network.host import open_host
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import Uid
from beemesh_node.protocol.messages import ListRequest
from beemesh_node.runtime import privileges
from beemesh_node.runtime.runtime import Runtime
from beemesh_node.workloads.pod import PodStatus

log = structlog.get_logger()

_TIME_EVERY = 30.0
_LEAVE_WITHIN = 1.0
_PREPARE_WITHIN = 1.5
ALONE_SECONDS = 10.0
"""How long a machine that knows of others waits for the first of them before it starts alone what it guards."""
_LOOK_EVERY = 0.02
_EXPOSITION = "beemesh_node.daemon.metrics.exposition"
"""Loaded only where metrics are asked for, with its library."""

_FATAL = (
    CryptoError, EnrolmentError, LocalSocketError, NetworkError, OSError, ProtocolError, StateKeyError, StoreError,
)  # fmt: skip


def run(config: DaemonConfig) -> None:
    """Run the daemon until SIGTERM or SIGINT. Exits 1 with one line that says why when it cannot start."""
    configure_logs(config.log)
    try:
        privileges.rest()
        use_provider(config.provider)
        trio.run(_run, config)
    except* _FATAL as group:
        first = group.exceptions[0]
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        print(f"beemeshd: {first}", file=sys.stderr)
        sys.exit(1)


async def _run(config: DaemonConfig) -> None:
    service = ServiceManager()
    if config.metrics_address is not None:
        importlib.import_module(_EXPOSITION)  # here, where nobody waits for a beat yet
    state = config.state_path
    membership = await trio.to_thread.run_sync(load_membership, state)
    opened = Path(config.local_socket).with_name("state.key")
    key, kept_by = await trio.to_thread.run_sync(state_key, state, opened)
    with ExitStack() as stack:
        store = Store(state / "state.db", key)
        stack.callback(store.close)
        limiter = trio.CapacityLimiter(1)
        machine = LocalMachine(state, membership, store, limiter)
        registry = Registry(store, limiter, membership.trust)
        listener = bind_local_socket(Path(config.local_socket))
        stack.callback(listener.close)
        gatekeeper = MemberGatekeeper(machine.member, machine.clock, machine.time_known)
        async with open_host(_host_config(config, machine), gatekeeper) as host, trio.open_nursery() as nursery:
            node = Node(config, machine, registry, store, limiter, host, nursery, kept_by)
            await node.start(service)
            nursery.start_soon(serve_local_socket, Path(config.local_socket), listener, node.status)
            if config.metrics_address is not None:
                nursery.start_soon(node.serve_metrics, *config.metrics_address)
            await _until_stopped(machine)
            service.stopping()
            with trio.move_on_after(_PREPARE_WITHIN):
                await node.prepare_restart()
            with trio.move_on_after(_LEAVE_WITHIN):
                await node.presence.leave(restarting=True)
            nursery.cancel_scope.cancel()
    log.info("stopped; containers go on running")


async def _until_stopped(machine: LocalMachine) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number != signal.SIGHUP:
                log.info("stopping", signal=signal.Signals(number).name)
                return
            await machine.reload()


def _host_config(config: DaemonConfig, machine: LocalMachine) -> HostConfig:
    membership = machine.membership
    return HostConfig(
        identity_seed=membership.identity.peer.export_seed(),
        private_network_key=membership.network_key,
        listen=config.listen,
        announce=config.announce,
        bootstrap=tuple(
            address
            for address in dict.fromkeys((*config.bootstrap, *membership.bootstrap))
            if not address.endswith(f"/p2p/{membership.certificate.peer_id}")
        ),
    )


def read_claims(rows: Sequence[tuple[str, bytes]]) -> Iterator[HeldClaim]:
    """The stored claims, without those that another version wrote in a way that is not understood here."""
    for pod_uid, value in rows:
        try:
            yield msgspec.json.decode(value, type=HeldClaim)
        except msgspec.DecodeError as error:  # ValidationError is one of them
            log.warning("stored claim not understood, skipping it", pod=pod_uid, error=str(error))


class Node:
    """The parts of a running daemon."""

    def __init__(
        self,
        config: DaemonConfig,
        machine: LocalMachine,
        registry: Registry,
        store: Store,
        limiter: trio.CapacityLimiter,
        host: Host,
        nursery: trio.Nursery,
        state_key_kept_by: str,
    ) -> None:
        """`nursery` owns everything that goes on; `limiter` admits one thread to the `store`."""
        self._machine, self._registry, self._host = machine, registry, host
        self._store, self._limiter, self._nursery = store, limiter, nursery
        self._kept_by = state_key_kept_by
        certificate = machine.membership.certificate
        acquaintances = Acquaintances(store, limiter, machine.mesh_time)
        core_config = Config(
            seed=secrets.token_bytes(16),
            life=next_life(store),
            least_lifetime=WATCHED_LEAST,
            alone=ALONE_SECONDS if acquaintances.known or _host_config(config, machine).bootstrap else 0.0,
        )
        self._decisions = Decisions(Core(certificate.machine_id, core_config))
        self._exchange = Exchange(host, machine.member, relays=True)
        self._description = SelfDescription(
            config, machine, host, self._decisions.core, next_start(store, machine.mesh_time())
        )
        self._pods = Pods(self._description.runtime_config(), registry, self._decisions.put)
        self._description.pods = self._pods
        self._beats = Beats(certificate.machine_id, host, machine.member, self._decisions.put, nursery)
        self.presence = PresenceService(
            host,
            machine.member,
            self._exchange,
            self._description.presence,
            self._beats.put,
            self._beats,
            acquaintances,
        )
        self._beats.speak_through(self.presence)
        ways = Ways(host, self.presence.addresses_of)
        self._exchange.reach_by(ways.reach)
        machine.introduce = self._exchange.introduce
        self._maintenance = MaintenanceDesk(store, limiter, self._decisions, self._cordoned)
        self._labels = LabelDesk(store, limiter, lambda: self._description.label_sources, self._labelled)
        self._trust = TrustDesk(machine, self._exchange, host, self.presence.disown)
        self._peers = Peers(self._exchange, machine.member.contacts, host, ways)
        self._blocks = BlockProvider(host.provide, self._held_blocks)
        self._ballots = Ballots(store, limiter, registry, machine.member)
        self._performer = Performer(
            self._decisions, self._peers, self._pods, registry, store, self._ballots, limiter, nursery
        )

    async def start(self, service: ServiceManager) -> None:
        """Take up what the disk holds, then begin everything; returns when others can be answered."""
        stored = await self._registry.load()
        held, voter_sets = await self._ballots.load()
        await self._decisions.put(held)  # before anybody can ask a voter
        self._registry.announce = self._stored
        self._registry.announce_erased = self._erased
        listing = Listing(self._decisions, self._registry, self.presence, self._machine.member, self._host)
        membership = self._machine.membership
        questions = Questions(
            self._decisions, self._registry, self._peers, membership.trust, membership.certificate.machine_id
        )
        await self._tell_time()
        await self._maintenance.start()  # before anybody can order otherwise
        await self._labels.start()
        self._exchange.answer(
            {
                **questions.handlers,
                **LeaseQuestions(self._decisions, self._registry, self._ballots).handlers,
                **Streams(self._pods).handlers,
                **self._maintenance.handlers,
                **self._labels.handlers,
                **self._trust.handlers,
                ListRequest: listing.answer,
            }
        )
        self._nursery.start_soon(self._decisions.run, self._performer.perform)
        for declaration in stored:
            await self._decisions.put(DeclarationStored(declaration))
        for shown in voter_sets:
            await self._decisions.put(shown)
        for task in (self._keep_time, self._machine.keep, self.presence.run, service.watchdog, self._look_around):
            self._nursery.start_soon(task)
        self._nursery.start_soon(self._beats.run)
        self._nursery.start_soon(self._trust.run)
        self._nursery.start_soon(self._blocks.run)
        self._nursery.start_soon(self._pods.run, self._adopt)
        certificate = self._machine.membership.certificate
        service.ready(f"{certificate.name}: member of mesh {certificate.mesh_id.hex()[:16]}")
        log.info(
            "started",
            version=__version__,
            machine=certificate.machine_id,
            peer=self._host.peer_id,
            mesh=certificate.mesh_id.hex()[:16],
            declarations=len(stored),
            state_key=self._kept_by,
        )

    async def prepare_restart(self) -> None:
        """Have the leases of this machine's pods last until the daemon is back; returns once they do."""
        await self._decisions.put(Restarting())
        while not self._decisions.core.leases_last(trio.current_time()):  # noqa: ASYNC110 - the core tells nobody
            await trio.sleep(_LOOK_EVERY)

    async def serve_metrics(self, host: str, port: int) -> None:
        """Let Prometheus read what happens here, for ever."""
        sources = Sources(
            core=self._decisions.core,
            registry=self._registry,
            detection=self._beats.status,
            refused=self._machine.member.counters.snapshot,
            network=lambda: self._host.counters,
            peers=lambda: len(self._host.peers()),
            runtime_ready=lambda: self._pods.ready,
            faults=lambda: self._performer.faults,
            not_after=lambda: self._machine.membership.certificate.not_after,
        )
        exposition = importlib.import_module(_EXPOSITION).Exposition(sources)
        await MetricsServer(exposition.text).run(host, port)

    def status(self) -> Mapping[str, Any]:
        """What the local socket tells."""
        certificate = self._machine.membership.certificate
        return {
            "version": __version__,
            "machine": certificate.machine_id,
            "name": certificate.name,
            "mesh": certificate.mesh_id.hex(),
            "peer": self._host.peer_id,
            "addresses": list(self._host.addresses()),
            "certificateNotAfter": certificate.not_after,
            "trust": self._trust.status(),
            "meshTime": self._machine.mesh_time(),
            "stateKey": self._kept_by,
            "runtime": {"ready": self._pods.ready, "reason": self._pods.reason},
            "members": [member.name for member in self._decisions.core.members()],
            "peers": len(self._host.peers()),
            "declarations": len(self._registry),
            "pods": len(self._decisions.core.own_claims()),
            "maintenance": self._decisions.core.maintenance.name.lower(),
            "faults": self._performer.faults,
            "detection": dict(self._beats.status()),
            "refused": self._machine.member.counters.snapshot(),
            "network": dict(self._host.counters),
        }

    async def _cordoned(self, cordoned: bool) -> None:
        self._description.cordoned = cordoned
        await self._described_anew()

    async def _labelled(self, labels: Mapping[str, str]) -> None:
        self._description.labels = labels
        await self._described_anew()

    async def _described_anew(self) -> None:
        if self._decisions.core.adopted:  # else it is told with the rest
            await self._decisions.put(self._description.local())
        self.presence.changed()

    async def _stored(self, declaration: Declaration, fresh: bool) -> None:
        holding = self._registry.get(declaration.uid)
        if holding is not None:
            await self._decisions.put(DeclarationStored(declaration, fresh, holding.stamp))
            self._blocks.announce(holding.blocks)

    async def _erased(self, uid: Uid, stamp: int) -> None:
        await self._decisions.put(RecordErased(uid, stamp))

    def _held_blocks(self) -> Iterator[str]:
        return (cid for holding in self._registry for cid in holding.blocks)

    async def _adopt(self, runtime: Runtime, found: tuple[PodStatus, ...]) -> None:
        """Tell the core what this machine is and what runs on it. It believes the second part once only."""
        await self._decisions.put(await self._description.local_changed(runtime))
        rows = await trio.to_thread.run_sync(self._store.items, CLAIMS, limiter=self._limiter)
        claims = tuple(read_claims(rows))
        await self._decisions.put(Adopted(claims, found))
        self.presence.changed()
        log.info("adopted", pods=len(found), claims=len(claims))

    async def _look_around(self) -> None:
        """Notice what changes about this machine without an event: images, Podman's health, reserved amounts."""
        last: object = None
        while True:
            await trio.sleep(self._description.LOOK_EVERY)
            runtime = self._pods.runtime
            if runtime is not None and (fresh := await self._description.refreshed(runtime)) is not None:
                await self._decisions.put(fresh)
            now = (self._decisions.core.reserved(), self._pods.ready)
            if now != last:
                last = now
                self.presence.changed()

    async def _keep_time(self) -> None:
        while True:
            await trio.sleep(_TIME_EVERY)
            await self._tell_time()

    async def _tell_time(self) -> None:
        await self._decisions.put(TimeSet(self._machine.mesh_time() - round(trio.current_time() * 1000)))
