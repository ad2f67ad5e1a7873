"""The library measures durations with the system's clock: when that is set, back-offs last for years or caches forget.

A mesh neighbour pruned a moment before the clock went back a year is not grafted again for a year. Guarded by giving
the modules that measure durations a clock that only goes forward.
"""

import time
from types import ModuleType
from typing import Any

from beemesh_node.network.guards import Substitution


class SteadyClock:
    """Stands for the module `time`: the time of day at which the process started, plus what has passed since."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def time(self) -> float:
        """Seconds since the epoch, as far as was known when the process started; never goes back."""
        return self._offset + time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


_CLOCK = SteadyClock()


def steady(*modules: ModuleType) -> tuple[Substitution, ...]:
    """Give each of the library's modules, which import `time`, the steady clock."""
    return tuple(Substitution("steady-clock", module, "time", _CLOCK) for module in modules)
