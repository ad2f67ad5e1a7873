"""What happened, counted by name, so that an operator can see what was refused and which faults were contained."""

import logging
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

# The standard library's: importing structlog, with what it imports, would double what a command's host costs to start.
_log = logging.getLogger("beemesh.network")


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
        self.add(f"refused.{what}")
        _log.debug("refused %s to %s", what, peer)

    def contain(self, guard: str, error: BaseException) -> None:
        """Count a fault that `guard` kept from spreading; log the 1st, 2nd, 4th, 8th …: peers can cause it."""
        self.add(f"contained.{guard}")
        count = self._counts[f"contained.{guard}"]
        if count & (count - 1) == 0:
            _log.warning("%s contained a fault of the network library (%d so far): %r", guard, count, error)
