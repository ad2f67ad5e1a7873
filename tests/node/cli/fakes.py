"""A mesh without a network: machines whose registries are the daemon's own, asked in the same process.

It stands in for `messaging.client.MeshSession` where the command's side is tested: merging, deciding, rendering.
"""

import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from beemesh_node.cli.times import now_ms
from beemesh_node.crypto import generate_kem_key
from beemesh_node.crypto.identity import Identity
from beemesh_node.daemon.registry import Registry
from beemesh_node.daemon.store import Store
from beemesh_node.membership.closeness import GUARDIANS, key_of_name, position
from beemesh_node.membership.labels import LabelsRefusedError, LabelTakenError, OrderedLabels, Sources, labels_in_force
from beemesh_node.messaging.errors import MeshUnreachable, RemoteFailure, RequestTimeout
from beemesh_node.protocol.encryption import epoch_id
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.messages import (
    Ack,
    CertificateRenewal,
    ClaimRef,
    ClaimReport,
    Commit,
    ContainerReport,
    EventReport,
    LabelReply,
    LabelRequest,
    ListReply,
    ListRequest,
    MachineEntry,
    Maintenance,
    MaintenanceReply,
    MaintenanceRequest,
    MoveReply,
    MoveRequest,
    Presence,
    Resource,
    TrustNews,
    TrustReply,
    WorkloadEntry,
)
from beemesh_node.protocol.request import new_nonce, sign_request, verify_request
from beemesh_node.protocol.revocation import RevocationError, sift
from beemesh_node.protocol.root import MachineProfile
from beemesh_node.protocol.trust import TrustStore
from beemesh_node.workloads.manifest import WORKLOADS
from beemesh_node.workloads.names import pod_name

FILE_LABELS = {"class": "lab"}
"""Of every machine, by its configuration file."""


@dataclass
class FakeMachine:
    machine: str
    name: str
    certificate: bytes
    peer: str
    registry: Registry
    reachable: bool = True
    silent: bool = False
    """Its presence is heard, and no answer comes."""
    deaf_to_commits: bool = False
    forbids: bool = False
    pods: list = field(default_factory=list)
    events: list = field(default_factory=list)
    message: str = ""
    progress_failed: bool = False
    mode: Maintenance = Maintenance.NONE
    orders: list = field(default_factory=list)
    ordered: OrderedLabels = field(default_factory=OrderedLabels)
    """Labels that operators have ordered over those of its file."""
    on_label: object = None
    """Called with the machine when it is to change its labels."""
    may_not: str = ""
    """The verb that the operator lacks here."""
    forecast: object = None
    believes: TrustStore = None
    """What it believes: it takes news as a daemon does."""
    secrets: dict = field(default_factory=dict)
    looked: list = field(default_factory=list)
    """Called with the machine, one each time that its pods are asked for."""


class FakeMesh:
    """Machines of the mesh whose root lies in `context`. Time stands still unless a test moves `mesh_time_ms`."""

    def __init__(self, root, trust, directory: Path, names, now_ms: int) -> None:
        self.mesh_time_ms = now_ms
        self.trust = trust
        self.operator = None
        self.streams = []
        self.asked = []
        self.after_commit = None
        self.fakes = {}
        for name in names:
            identity = Identity.generate()
            nonce = new_nonce()
            request = sign_request(identity, generate_kem_key().public_key, root.mesh_id, nonce)
            profile = MachineProfile(name, {"site": "home"})
            certificate = root.issue(verify_request(request, root.mesh_id, nonce), profile, now_ms)
            machine = trust.verify_chain(certificate).machine_id
            store = Store(directory / f"{name}.db", secrets.token_bytes(32))
            own = TrustStore.load(trust.mesh_id, trust.dump())
            registry = Registry(store, trio.CapacityLimiter(1), own)
            self.fakes[machine] = FakeMachine(machine, name, certificate, identity.peer.peer_id, registry, believes=own)

    def named(self, name) -> FakeMachine:
        return next(fake for fake in self.fakes.values() if fake.name == name)

    @property
    def entry(self):
        return next(fake.machine for fake in self.fakes.values() if fake.reachable)

    @property
    def machines(self):
        trust = self.operator.trust if self.operator is not None else self.trust
        return {fake.machine: self._entry(fake) for fake in self.fakes.values() if _believed(trust, fake.certificate)}

    def _entry(self, fake) -> MachineEntry:
        presence = Presence(
            statement=b"",
            addresses=(f"/ip4/192.0.2.1/tcp/7400/p2p/{fake.peer}",),
            labels=fake.ordered.over(FILE_LABELS),
            taints=(),
            unschedulable=fake.mode > Maintenance.NONE,
            cpu_allocatable=2000,
            memory_allocatable=1 << 30,
            cpu_reserved=100,
            memory_reserved=64 << 20,
            host_ports=(),
            pods=len(fake.pods),
            architecture="amd64",
            operating_system="linux",
            kernel="6.1",
            runtime_version="4.3.1",
            node_version="0.1.0",
            started_at=self.mesh_time_ms - 60_000,
            sequence=1,
            period_ms=2000,
            ready=True,
            reason="",
        )
        age = 0 if fake.reachable else 60_000
        return MachineEntry(fake.machine, fake.certificate, b"", presence, age, connected=fake.reachable)

    async def refresh(self):
        pass

    def guardians(self, namespace, kind, name):
        key = position(key_of_name(namespace, kind, name))
        return tuple(sorted(self.fakes, key=lambda machine: position(machine) ^ key))[:GUARDIANS]

    def _known_pods(self, fake):
        """Its own, and those of the workloads that it guards."""
        for other in self.fakes.values():
            for pod in other.pods:
                guardians = {each for kind in WORKLOADS for each in self.guardians(pod.namespace, kind, pod.workload)}
                if other is fake or fake.machine in guardians:
                    yield pod

    async def ask(self, machine, payload, reply, *, timeout):
        fake = self.fakes[machine]
        self.asked.append((fake.name, payload))
        await trio.lowlevel.checkpoint()
        if not fake.reachable:
            raise MeshUnreachable(f"{fake.name} does not answer")
        if fake.silent:
            raise RequestTimeout(f"{fake.name} does not answer")
        if isinstance(payload, Commit):
            if fake.deaf_to_commits:
                raise RequestTimeout(f"{fake.name} does not answer")
            answer, declaration = await fake.registry.submit(payload, from_operator=True)
            if payload.dry_run and answer.accepted:
                answer = replace(answer, forecast=fake.forecast)
            if self.after_commit is not None and not payload.dry_run and declaration is not None:
                self.after_commit(fake, declaration)
            return answer
        if isinstance(payload, MaintenanceRequest):
            if fake.may_not:
                raise RemoteFailure("Forbidden", f"admin may not {fake.may_not} machines")
            fake.orders.append(payload)
            fake.mode = payload.mode
            leaving = "its machine is drained" if payload.mode >= Maintenance.DRAIN else ""
            fake.pods = [replace(pod, leaving=leaving) for pod in fake.pods]
            if payload.mode is Maintenance.EVICT:
                fake.pods = []
            return MaintenanceReply(payload.mode, len(fake.pods))
        if isinstance(payload, LabelRequest):
            return self._label(fake, payload)
        if isinstance(payload, MoveRequest):
            fake.pods = [replace(pod, leaving="moved" if pod.claim in payload.claims else "") for pod in fake.pods]
            return MoveReply(payload.claims)
        if isinstance(payload, ListRequest):
            if payload.resource is Resource.PODS and fake.looked:
                fake.looked.pop(0)(fake)
            if fake.forbids:
                raise RemoteFailure("Forbidden", f"admin may not get in namespace {payload.namespace}")
            if payload.known:  # time stands still, and so does the mesh: no news
                await trio.sleep(0.05)
            return self._list(fake, payload)
        if isinstance(payload, TrustNews):
            return self._take_news(fake, payload)
        if isinstance(payload, CertificateRenewal):
            fresh = fake.believes.verify_certificate(payload.certificate, self.mesh_time_ms + 1)
            assert fresh.machine_id == fake.machine
            fake.certificate = payload.certificate
            return Ack()
        raise RemoteFailure("Invalid", f"no handler for {payload}")

    def _label(self, fake, order) -> LabelReply:
        if fake.on_label is not None:
            fake.on_label(fake)
        if fake.may_not:
            raise RemoteFailure("Forbidden", f"admin may not {fake.may_not} machines")
        certified = self.trust.verify_chain(fake.certificate).labels
        sources = Sources(fake.name, "amd64", "linux", FILE_LABELS, certified)
        try:
            ordered = fake.ordered.after(order, sources)
        except LabelsRefusedError as error:
            raise RemoteFailure("Conflict" if isinstance(error, LabelTakenError) else "Invalid", str(error)) from error
        before, after = (labels_in_force(sources, each.over(FILE_LABELS)) for each in (fake.ordered, ordered))
        if not order.dry_run:
            fake.ordered = ordered
        return LabelReply(before, after)

    def _take_news(self, fake, news) -> TrustReply:
        refused, trust = "", fake.believes
        try:
            trust.catch_up(news.bundles)
            union = trust.revocations.merged(sift(news.lists, trust, trust.revocations)[0])
            offered = {epoch_id(secret): secret for secret in news.secrets}
            if union.top is not None and union.top.content.epoch not in {**offered, **fake.secrets}:
                raise RevocationError("the secret is missing")
            fake.secrets.update(offered)
            trust.heed(union)
        except ProtocolError as error:
            refused = str(error)
        same = news.digest == trust.digest
        lists = () if same else tuple(each.raw for each in trust.revocations.lists)
        return TrustReply(trust.digest, trust.revocations.number, () if same else trust.chain[1:], lists, (), refused)

    def _list(self, fake, request) -> ListReply:
        if request.resource is Resource.ROLLOUT:
            pods = self._list(fake, replace(request, resource=Resource.PODS)).pods
            workloads = self._list(fake, replace(request, resource=Resource.WORKLOADS)).workloads
            return ListReply(workloads=workloads, pods=pods, state=b"state")
        if request.resource is Resource.PODS:
            pods = (
                pod
                for pod in self._known_pods(fake)
                if _asked_for(request, pod.claim.uid, pod.namespace)
                and request.name in ("", pod.workload, pod.pod_name)
            )
            return ListReply(pods=tuple(pods))
        if request.resource is Resource.EVENTS:
            return ListReply(
                events=tuple(each for each in fake.events if _asked_for(request, each.uid, each.namespace))
            )
        found = []
        for holding in fake.registry:
            record = holding.attested.record
            if _asked_for(request, record.uid, record.namespace) and request.name in ("", record.name):
                blocks = tuple(holding.blocks.values()) if request.content else ()
                found.append(
                    WorkloadEntry(
                        holding.attested.raw,
                        blocks,
                        (),
                        "",
                        False,
                        fake.message,
                        fake.progress_failed,
                        record.created_at,
                    )
                )
        return ListReply(workloads=tuple(found))

    @asynccontextmanager
    async def stream(self, machine, request):
        self.streams.append((self.fakes[machine].name, request))
        yield self.duplex

    def run_pods(self, declaration, *, ready=True, **changes):
        """Have the machines run what `declaration` asks for, and tell of it."""
        for fake in self.fakes.values():
            fake.pods = [pod for pod in fake.pods if pod.claim.uid != declaration.uid]
        if declaration.deleted:
            return
        machines = list(self.fakes.values())
        for slot in range(declaration.replicas):
            fake = machines[slot % len(machines)]
            fake.pods.append(self.report(declaration, slot, fake, ready=ready, **changes))

    def report(self, declaration, slot, fake, *, ready=True, **changes) -> ClaimReport:
        name = pod_name(declaration.name, declaration.uid, declaration.revision, slot, 0)
        container = ContainerReport(
            "web", "localhost/web", "running" if ready else "waiting", ready, ready, 0, "", "", 0,
            self.mesh_time_ms, 0, "c" * 64, "", 0, "", 0,
        )  # fmt: skip
        report = ClaimReport(
            claim=ClaimRef(declaration.uid, declaration.sequence, slot, 0, fake.machine, declaration.revision),
            namespace=declaration.namespace,
            workload=declaration.name,
            pod_name=name,
            pod_uid=f"{declaration.uid}-{slot}",
            phase="Running" if ready else "Pending",
            ready=ready,
            reason="",
            message="",
            pod_ip=f"10.88.0.{slot + 2}",
            host_ip="192.0.2.1",
            created_at=self.mesh_time_ms,
            started_at=self.mesh_time_ms,
            containers=(container,),
            init_containers=(),
            gone=False,
            version=1,
        )
        return replace(report, **changes)

    def event(self, declaration, reason, message, **changes) -> EventReport:
        event = EventReport(
            declaration.uid, declaration.namespace, declaration.kind, declaration.name, "Warning", reason, message,
            self.entry, self.mesh_time_ms - 5000, self.mesh_time_ms, 1,
        )  # fmt: skip
        return replace(event, **changes)


def _believed(trust, certificate):
    try:
        trust.verify_certificate(certificate, now_ms())
    except ProtocolError:
        return False
    return True


def _asked_for(request, uid, namespace):
    return request.uid in ("", uid) and request.namespace in ("", namespace)
