"""What happened, counted by name, so that an operator can see what was refused and which faults were contained."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

import structlog

_log = structlog.get_logger("beemesh.network")


class Counters:
    """Counts by name; every name is one of a fixed few, never taken from a peer."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.view: Mapping[str, int] = MappingProxyType(self._counts)

    def add(self, name: str) -> None:
        """Count one more of `name`."""
        self._counts[name] += 1

    def refuse(self, what: str, peer: object) -> None:
        """Count and log something that a peer was denied."""
        self._counts[f"refused.{what}"] += 1
        _log.debug("refused", what=what, peer=str(peer))

    def contain(self, guard: str, error: BaseException) -> None:
        """Count and log a fault that `guard` kept from spreading."""
        self._counts[f"contained.{guard}"] += 1
        _log.info("fault contained", guard=guard, error=repr(error))
