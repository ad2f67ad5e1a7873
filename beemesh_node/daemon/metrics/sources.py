"""Where the numbers come from: counters that the parts of the daemon keep anyway, read when somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from beemesh_node.daemon.registry import Holding
from beemesh_node.healing.core import Core


@dataclass(frozen=True, slots=True)
class Sources:
    """Each is asked anew for every answer."""

    core: Core
    registry: Iterable[Holding]
    """What is held here."""
    detection: Callable[[], Mapping[str, int]]
    """Of the failure detector and its beats: `daemon.beats.Beats.status`."""
    refused: Callable[[], Mapping[str, int]]
    """Refused messages by `protocol.counters.Refusal`."""
    network: Callable[[], Mapping[str, int]]
    """By name, of a fixed few: `network.api.Host.counters`."""
    peers: Callable[[], int]
    """Machines and operators that are connected."""
    runtime_ready: Callable[[], bool]
    faults: Callable[[], int]
    """Effects that failed in a way that was not foreseen."""
    not_after: Callable[[], int]
    """Mesh time in ms at which this machine's certificate ends."""
