"""What a machine has promised: an assignment reserves, the end of a claim frees, and capacity is never exceeded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from beemesh_node.membership.member import Member
from beemesh_node.protocol.messages import NoReason, Refusal, Requirements
from beemesh_node.scheduling.reasons import bytes_text, cpu_text


@dataclass(frozen=True, slots=True)
class Free:
    """What is left of a machine: millicores, bytes, pods (each may be negative after an adoption), ports in use."""

    cpu: int
    memory: int
    pods: int
    ports: frozenset[int]

    def shortages(self, needed: Requirements) -> tuple[Refusal, ...]:
        """Return what is missing for one replica. What is not asked for is never missing."""
        found = []
        if needed.cpu_millis > max(self.cpu, 0) and needed.cpu_millis > 0:
            text = f"needs {cpu_text(needed.cpu_millis)} CPU, {cpu_text(max(self.cpu, 0))} free"
            found.append(Refusal(NoReason.CPU, text))
        if needed.memory_bytes > max(self.memory, 0) and needed.memory_bytes > 0:
            text = f"needs {bytes_text(needed.memory_bytes)} memory, {bytes_text(max(self.memory, 0))} free"
            found.append(Refusal(NoReason.MEMORY, text))
        if self.pods <= 0:
            found.append(Refusal(NoReason.PODS, "runs as many pods as it may"))
        if taken := sorted(self.ports.intersection(needed.host_ports)):
            found.append(Refusal(NoReason.HOST_PORT, f"port {', '.join(map(str, taken))} is in use"))
        return tuple(found)

    def after(self, needed: Requirements, count: int) -> Free:
        """Return what is left once `count` replicas have been taken."""
        return Free(
            self.cpu - count * needed.cpu_millis,
            self.memory - count * needed.memory_bytes,
            self.pods - count,
            self.ports.union(needed.host_ports) if count else self.ports,
        )

    def fitting(self, needed: Requirements) -> int:
        """Return how many replicas fit."""
        if self.shortages(needed):
            return 0
        bounds = [self.pods]
        if needed.cpu_millis > 0:
            bounds.append(self.cpu // needed.cpu_millis)
        if needed.memory_bytes > 0:
            bounds.append(self.memory // needed.memory_bytes)
        if needed.host_ports:
            bounds.append(1)
        return min(bounds)


def free_by_presence(member: Member) -> Free:
    """What is left of another machine as its last presence says: a hint, not a promise. It tells no bound on pods."""
    return Free(
        member.cpu_allocatable - member.cpu_reserved,
        member.memory_allocatable - member.memory_reserved,
        1,
        frozenset(member.host_ports),
    )


@dataclass
class Ledger:
    """Reservations by key (the uid of a pod). Amounts as in `Free`."""

    cpu: int = 0
    memory: int = 0
    pods: int = 0
    _entries: dict[str, Requirements] = field(default_factory=dict)
    _cpu_used: int = 0
    _memory_used: int = 0
    _ports: Counter[int] = field(default_factory=Counter)

    def resize(self, cpu: int, memory: int, pods: int) -> None:
        """Set the capacity. What is reserved stays reserved, also beyond it."""
        self.cpu, self.memory, self.pods = cpu, memory, pods

    def reserve(self, key: str, needed: Requirements) -> tuple[Refusal, ...]:
        """Reserve for one replica, or return what is missing. A key that is reserved stays as it is."""
        if key in self._entries:
            return ()
        missing = self.free.shortages(needed)
        if not missing:
            self.adopt(key, needed)
        return missing

    def adopt(self, key: str, needed: Requirements) -> None:
        """Write down what is there already, whether it fits or not: a pod that runs does use what it uses."""
        self.release(key)
        self._entries[key] = needed
        self._cpu_used += needed.cpu_millis
        self._memory_used += needed.memory_bytes
        self._ports.update(needed.host_ports)

    def release(self, key: str) -> None:
        """Free a reservation; none is fine."""
        needed = self._entries.pop(key, None)
        if needed is not None:
            self._cpu_used -= needed.cpu_millis
            self._memory_used -= needed.memory_bytes
            self._ports.subtract(needed.host_ports)
            self._ports += Counter()

    @property
    def free(self) -> Free:
        """What is left."""
        return Free(
            self.cpu - self._cpu_used,
            self.memory - self._memory_used,
            self.pods - len(self._entries),
            frozenset(self._ports),
        )

    @property
    def cpu_used(self) -> int:
        """Millicores reserved."""
        return self._cpu_used

    @property
    def memory_used(self) -> int:
        """Bytes reserved."""
        return self._memory_used

    def __len__(self) -> int:
        return len(self._entries)
