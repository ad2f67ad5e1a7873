"""Which replicas to move from crowded machines to emptier ones: worked out on request, from one look at the mesh.

How full a machine is, is the greater of its shares of CPU and memory that are asked for; what asks for nothing counts
as kube-scheduler counts it. A move is worth it if the machine that takes the replica is then clearly less full than the
one that gives it was, or has clearly fewer replicas of the workload. Each replica moves once at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from beemesh_node.membership.member import Member
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Requirements
from beemesh_node.scheduling import eligibility, neighbours
from beemesh_node.scheduling.evaluation import ASSUMED_CPU, ASSUMED_MEMORY
from beemesh_node.scheduling.ledger import free_by_presence
from beemesh_node.scheduling.neighbours import Neighbour

MARGIN = 0.05
"""Share of a machine by which a move has to better things."""
MAX_MOVES = 200
"""Moves that are worked out at once; for more, ask again."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica where it runs now."""

    key: str
    """Its pod."""
    workload: str
    """Replicas of one workload are spread over the machines."""
    machine: MachineId
    needed: Requirements
    neighbour: Neighbour
    """What pods beside it have to put up with."""
    movable: bool = True


@dataclass(frozen=True, slots=True)
class Move:
    """One replica, and the machine that has room for it. Who takes it in the end, the bids of that moment decide."""

    replica: Replica
    target: MachineId


def _asked(needed: Requirements) -> tuple[int, int]:
    return needed.cpu_millis or ASSUMED_CPU, needed.memory_bytes or ASSUMED_MEMORY


@dataclass
class _Place:
    """A machine while moves are worked out."""

    member: Member
    replicas: list[Replica]
    counts: Counter[str] = field(default_factory=Counter)
    """Replicas by workload."""
    cpu: int = 0
    memory: int = 0
    came: list[Replica] = field(default_factory=list)

    def __post_init__(self) -> None:
        # What is reserved for pods that are not among the replicas counts too.
        self.cpu = max(self.member.cpu_reserved - sum(each.needed.cpu_millis for each in self.replicas), 0)
        self.memory = max(self.member.memory_reserved - sum(each.needed.memory_bytes for each in self.replicas), 0)
        for replica in self.replicas:
            self._count(replica, 1)

    def load(self, extra: Requirements | None = None) -> float:
        cpu, memory = _asked(extra) if extra is not None else (0, 0)
        of_cpu = (self.cpu + cpu) / max(self.member.cpu_allocatable, 1)
        return max(of_cpu, (self.memory + memory) / max(self.member.memory_allocatable, 1))

    def give(self, replica: Replica) -> None:
        self.replicas.remove(replica)
        self._count(replica, -1)

    def take(self, replica: Replica) -> None:
        self.replicas.append(replica)
        self.came.append(replica)
        self._count(replica, 1)

    def can_take(self, replica: Replica) -> bool:
        """Whether it could run one more, as far as its presence and its pods say."""
        needed, own = replica.needed, replica.neighbour
        present = (each.neighbour for each in self.replicas)
        if eligibility.refusals(self.member, needed) or neighbours.refusals(
            self.member, needed.pod_terms, own.namespace, own.labels, present
        ):
            return False
        free = free_by_presence(self.member)
        for each in self.came:
            free = replace(free.after(each.needed, 1), pods=1)  # presence tells no bound on pods
        return not free.shortages(needed)

    def _count(self, replica: Replica, sign: int) -> None:
        cpu, memory = _asked(replica.needed)
        self.counts[replica.workload] += sign
        self.cpu += sign * cpu
        self.memory += sign * memory


def rebalance(members: Iterable[Member], replicas: Iterable[Replica]) -> tuple[Move, ...]:
    """Return the moves that are worth it, the best first. Deterministic: the order of the arguments does not matter."""
    here: dict[MachineId, list[Replica]] = {}
    for replica in sorted(replicas, key=lambda each: each.key):
        here.setdefault(replica.machine, []).append(replica)
    places = {member.machine: _Place(member, here.get(member.machine, [])) for member in members}
    pending = {r.key: r for place in places.values() for r in place.replicas if r.movable}
    moves: list[Move] = []
    while len(moves) < MAX_MOVES and (best := _best(places, pending.values())) is not None:
        moves.append(best)
        del pending[best.replica.key]
        places[best.replica.machine].give(best.replica)
        places[best.target].take(best.replica)
    return tuple(moves)


def _best(places: Mapping[MachineId, _Place], pending: Iterable[Replica]) -> Move | None:
    loads = {machine: place.load() for machine, place in places.items()}
    best: tuple[int, float, str, MachineId] | None = None
    found: Move | None = None
    for replica in pending:
        source = places[replica.machine]
        for machine, target in places.items():
            apart = source.counts[replica.workload] - target.counts[replica.workload]
            if target is source or apart < 1:
                continue
            gain = loads[replica.machine] - target.load(replica.needed)
            if not (gain > MARGIN or (apart > 1 and gain > -MARGIN)):
                continue
            rank = (-apart, -gain, replica.key, machine)
            if (best is None or rank < best) and target.can_take(replica):
                best, found = rank, Move(replica, machine)
    return found
