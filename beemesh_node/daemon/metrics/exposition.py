"""Every metric of beemeshd, in Prometheus' text format.

A label is one of a fixed few words. No workload, namespace, machine or address is ever in it: what runs is told to
operators alone, over the mesh, and who may read this port is anybody on the machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from beemesh_node import __version__
from beemesh_node.crypto.operations import performed
from beemesh_node.daemon.metrics.sources import Sources
from beemesh_node.healing.standing import Standing
from beemesh_node.healing.tallies import BOUNDS, Durations, Tallies
from beemesh_node.protocol.counters import Refusal
from beemesh_node.protocol.messages import LeaseRefusal, NoReason

_REASONS = tuple(reason.name.lower() for reason in NoReason)
_ANSWERS = ("granted", "unanswered", *(r.name.lower() for r in LeaseRefusal if r is not LeaseRefusal.NONE))
_DETECTION = {
    "beats.heard": ("beats_heard", "Beats that arrived from watched machines."),
    "questions": ("member_questions", "Questions to other watchers whether they hear a silent machine."),
    "redials": ("redials", "Looks whether anybody listens where a machine was that closed its connection."),
    "suspicions": ("suspicions", "Watched machines that fell silent for too long."),
    "suspicions.false": ("false_suspicions", "Suspected machines that were heard again."),
    "accusations": ("accusations", "Death notices that this machine sent."),
    "accusations.ignored": ("ignored_accusations", "Accusations that were not believed, whoever sent them."),
    "deaths": ("deaths", "Machines that were found dead, by two watchers."),
    "refutations": ("refutations", "Times that this machine was held dead, or may have been, and contradicted."),
    "late": ("late_wakeups", "Times that this daemon was asleep itself when it had to judge others."),
}


class Exposition(Collector):
    """All of it. The format is 0.0.4, which every version of Prometheus reads."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return the numbers of now."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give every metric; called by the registry."""
        core = self._sources.core
        yield from self._machine()
        yield from _standing(core.standing())
        yield from _scheduling(core.tallies)
        yield from _leases(core.tallies)
        yield from self._detection()
        yield from self._messages()

    def _machine(self) -> Iterator[Metric]:
        sources = self._sources
        held = Counter(holding.attested.record.deleted for holding in sources.registry)
        yield _by("gauge", "info", "Always 1.", "version", {__version__: 1})
        yield _gauge("runtime_ready", "Whether pods can be started here now.", sources.runtime_ready())
        yield _gauge(
            "certificate_not_after_seconds",
            "When this machine's certificate ends, in seconds since 1970.",
            sources.not_after() / 1000,
        )
        records = {"declared": held[False], "deleted": held[True]}
        text = "Records kept here; of a deleted workload the content is erased and a tombstone stays."
        yield _by("gauge", "records", text, "state", records)
        yield _counter("faults", "Faults of the daemon that nobody foresaw: see its log.", sources.faults())
        yield _by("counter", "pq_operations", "Post-quantum operations of this process.", "operation", performed.copy())

    def _detection(self) -> Iterator[Metric]:
        found = self._sources.detection()
        yield _gauge("connected_peers", "Machines and operators that are connected.", self._sources.peers())
        yield _gauge("watched_members", "Machines whose death this one would notice.", found["watched"])
        yield _gauge("heard_members", "Those of them whose beats arrive.", found["heard"])
        sent = {way: found.get(f"beats.sent.{way}", 0) for way in ("datagram", "stream")}
        yield _by("counter", "beats_sent", "Beats sent to those who watch this machine.", "way", sent)
        for key, (name, text) in _DETECTION.items():
            yield _counter(name, text, found.get(key, 0))

    def _messages(self) -> Iterator[Metric]:
        refused, network = self._sources.refused(), self._sources.network()
        counts = {reason.value: refused.get(reason.value, 0) for reason in Refusal}
        yield _by("counter", "refused_messages", "Messages that were not accepted, by reason.", "reason", counts)
        denied = _under("refused.", network)
        yield _by("counter", "network_refusals", "What peers were denied before any message.", "reason", denied)
        contained = _under("contained.", network)
        yield _by(
            "counter", "network_contained_faults", "Faults of the network library kept apart.", "guard", contained
        )
        others = {name: count for name, count in network.items() if not name.startswith(("refused.", "contained."))}
        yield _by("counter", "network_events", "Dials, connections and what else happened to them.", "event", others)


def _standing(now: Standing) -> Iterator[Metric]:
    yield _by("gauge", "members", "Machines of the mesh as this one knows them.", "state", now.members)
    text = "Workloads that this machine sees to first: over all machines, each is counted once."
    yield _by("gauge", "workloads_coordinated", text, "state", now.coordinated)
    yield _gauge("workloads_stood_by", "Workloads for which this machine would step in.", now.stood_by)
    yield _by("gauge", "claims", "Replicas that this machine has taken, by phase.", "phase", now.claims)
    yield _gauge("claims_ready", "Replicas of this machine that serve.", now.ready)


def _scheduling(tallies: Tallies) -> Iterator[Metric]:
    text = "From the moment that a replica was lacking (commit, loss) until one was ready, as its coordinator saw it."
    yield _histogram("placement_duration_seconds", text, tallies.placements)
    rounds = {outcome: tallies.rounds[outcome] for outcome in ("placed", "short", "probe")}
    text = "Rounds of placing: all placed, short of room for some, or only looking for room."
    yield _by("counter", "placement_rounds", text, "outcome", rounds)
    yield _counter("bids", "Questions for room that this machine answered with room.", tallies.bids)
    text = "Why this machine answered with none; an answer may have several reasons."
    yield _by("counter", "bid_refusals", text, "reason", _all(_REASONS, tallies.bid_refusals))
    yield _counter("slots_accepted", "Replicas that this machine was given and took.", tallies.accepted)
    text = "Why replicas that this machine was given were not taken."
    yield _by("counter", "slot_refusals", text, "reason", _all(_REASONS, tallies.slot_refusals))
    yield _counter("container_restarts", "Containers that ended and were begun again here.", tallies.restarts)
    yield _counter("failed_pods", "Pods that failed here for good, or could not be made.", tallies.failed_pods)


def _leases(tallies: Tallies) -> Iterator[Metric]:
    answers = _all(_ANSWERS, tallies.lease_answers)
    yield _by("counter", "lease_answers", "What voters answered to this machine's requests.", "answer", answers)
    yield _counter("leases_taken", "Leases with which pods began here.", tallies.leases_taken)
    yield _counter("lease_renewals", "Renewals of leases by a majority.", tallies.lease_renewals)
    yield _counter("leases_lost", "Pods ended because their lease was not renewed.", tallies.leases_lost)


def _all(names: Iterable[str], counts: Mapping[str, int]) -> Mapping[str, int]:
    """Every name with its count: what has not happened yet is 0, so that its first time shows as a rise."""
    return {name: counts.get(name, 0) for name in names}


def _under(prefix: str, counts: Mapping[str, int]) -> Mapping[str, int]:
    return {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"beemesh_{name}", text, value=float(value))


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(f"beemesh_{name}", text, value=value)


def _by(kind: str, name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    make = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    family = make(f"beemesh_{name}", text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _histogram(name: str, text: str, durations: Durations) -> Metric:
    buckets, count = [], 0
    for bound, more in zip((*map(str, BOUNDS), "+Inf"), durations.buckets, strict=True):
        count += more
        buckets.append((bound, count))
    return HistogramMetricFamily(f"beemesh_{name}", text, buckets=buckets, sum_value=durations.total)
